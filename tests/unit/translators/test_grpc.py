"""Shapes for proxyless gRPC: what a real gRPC client does with them, and the fields that decide."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent import futures
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from tests.unit.translators.decoding import decoded
from xdscp.mesh.destination import (
    CircuitBreaker,
    Connection,
    Destination,
    Endpoint,
    Hash,
    LoadBalancer,
    Locality,
    LocalityEndpoints,
    OutlierDetection,
)
from xdscp.mesh.routing import (
    Backend,
    DirectResponse,
    Fault,
    Forward,
    HeaderEdits,
    Mirror,
    PathMatch,
    RequestMatch,
    Retry,
    Rewrite,
    Route,
    ValueMatch,
    VirtualHost,
)
from xdscp.translators import eds
from xdscp.translators import grpc as translator
from xdscp.translators.encode import encode

SECOND = timedelta(seconds=1)
TARGET = "echo.shop:80"
TABLE = "grpc/shop/echo/80"
TYPE = "type.googleapis.com/envoy.config."

CLIENT = """
import grpc, json, sys
def call(channel, method, metadata):
    try:
        return channel.unary_unary(method)(b"", timeout=10, metadata=metadata).decode()
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"
with grpc.insecure_channel(sys.argv[1]) as channel:
    print(json.dumps([call(channel, method, [tuple(pair) for pair in metadata]) for method, metadata in json.load(sys.stdin)]))
"""

SERVER = """
import grpc, sys
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(2), xds=True)
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"served")
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Plain": handler}),))
server.add_insecure_port(sys.argv[1])
server.start()
sys.stdin.read()
server.stop(0).wait()
"""


def match(path, kind="PathPrefix", **fields):
    return RequestMatch(PathMatch(kind, path), **fields)


def to(destination, **fields):
    return Forward((Backend(destination),), **fields)


HOST = VirtualHost(
    "",
    (),
    (
        Route("redirected", (match("/echo.Echo/Direct", "Exact"),), DirectResponse(200)),
        Route("deleted", (match("/", method="DELETE"),), DirectResponse(200)),
        Route("queried", (match("/", query=(ValueMatch("q", "Present"),)),), DirectResponse(200)),
        Route("deep", (match("/echo.Echo/Deep"),), to("ring")),
        Route("regex", (match("/echo.Echo/Re[0-9]", "RegularExpression"),), to("maglev")),
        Route(
            "unless",
            (match("/echo.Echo/Unless", headers=(ValueMatch("x-a", "Exact", "1", invert=True),)),),
            to("ring"),
        ),
        Route("abort", (match("/echo.Echo/Abort"),), to("ring"), fault=Fault(abort_grpc=9, abort_percent=100.0)),
        Route("slow", (match("/echo.Echo/Slow"),), to("plain", timeout=timedelta(milliseconds=100))),
        Route("nothing", (match("/echo.Echo/Nothing"),), Forward((Backend("plain", 0),))),
        Route(
            "split",
            (match("/echo.Echo"),),
            Forward(
                (Backend("plain", 1, HeaderEdits(set=(("x", "1"),))), Backend("plain", 2)),
                30 * SECOND,
                retry=Retry(3, ("5xx", "unavailable", "retriable-headers"), (409,), SECOND, SECOND),
                rewrite=Rewrite("host", "/x"),
                mirrors=(Mirror("ring"),),
                hashes=(Hash("header", "x-user"), Hash("sourceIP")),
            ),
        ),
    ),
)


def destinations():
    every = Connection(
        load_balancer=LoadBalancer("LeastRequest", slow_start=SECOND),
        circuit_breaker=CircuitBreaker(1, 2, 300),
        outlier_detection=OutlierDetection(5, failure_percentage_threshold=50, max_ejection=SECOND),
    )
    return (
        Destination("plain", "eds", "http2", every),
        Destination("ring", "eds", "http2", Connection(load_balancer=LoadBalancer("RingHash", maximum_ring_size=64))),
        Destination("maglev", "eds", "http2", Connection(load_balancer=LoadBalancer("Maglev", table_size=65537))),
    )


class Discovery:
    """A SotW ADS server that gives each client what it names, and keeps what it refuses."""

    def __init__(self, resources):
        self.resources = resources
        self.refused = []

    def stream(self, requests, _context):
        for body in requests:
            request = discovery_pb2.DiscoveryRequest.FromString(body)
            if request.error_detail.message:
                self.refused.append(request.error_detail.message)
            known = self.resources.get(request.type_url, {})
            names = [name for name in request.resource_names if name in known]
            if request.version_info == f"{sorted(names)}" or request.error_detail.message:
                continue  # an acknowledgement
            answer = discovery_pb2.DiscoveryResponse(
                type_url=request.type_url, version_info=f"{sorted(names)}", nonce=f"{sorted(names)}"
            )
            for name in names:
                answer.resources.add(type_url=request.type_url, value=encode(known[name]))
            yield answer.SerializeToString()


@contextmanager
def serving(service, handlers):
    """A gRPC server on loopback while the block runs; gives its port."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def environment(port):
    """The environment of a process whose gRPC asks the ADS server on that port."""
    bootstrap = {
        "xds_servers": [
            {
                "server_uri": f"127.0.0.1:{port}",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "shop/client"},
        "server_listener_resource_name_template": "grpc/server?xds.resource.listening_address=%s",
    }
    return os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}


@contextmanager
def discovering(discovery):
    """The ADS server while the block runs; gives its port."""
    handler = grpc.stream_stream_rpc_method_handler(discovery.stream)
    service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    with serving(service, {"StreamAggregatedResources": handler}) as port:
        yield port


def echo(name):
    return grpc.unary_unary_rpc_method_handler(lambda _request, _context: name.encode())


def slow(_request, context):
    return b"late" if context.time_remaining() > 1 else context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "short")


METHODS = ("Plain", "Deep", "Re1", "Unless", "Abort", "Direct", "Nothing")
ECHO = {name: echo(name) for name in METHODS} | {"Slow": grpc.unary_unary_rpc_method_handler(slow)}


def asked(calls, target=TARGET):
    """The answers of a real proxyless client to calls, and what it refused of its configuration."""
    with serving("echo.Echo", ECHO) as backend:
        group = LocalityEndpoints(Locality(), 0, 0, (Endpoint("127.0.0.1", backend, weight=0),))
        discovery = Discovery(
            {
                TYPE + "listener.v3.Listener": {TARGET: translator.listener(TARGET, TABLE)},
                TYPE + "route.v3.RouteConfiguration": {TABLE: translator.route_table(TABLE, HOST, (TARGET,))},
                TYPE + "cluster.v3.Cluster": {each.name: translator.cluster(each) for each in destinations()},
                TYPE + "endpoint.v3.ClusterLoadAssignment": {
                    each.name: eds.load_assignment(each.name, (group,)) for each in destinations()
                },
            }
        )
        with discovering(discovery) as port:
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, f"xds:///{target}"],
                input=json.dumps(calls),
                env=environment(port),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            return json.loads(done.stdout), discovery.refused


def test_real_client_follows_the_routes():
    """A gRPC client accepts all shapes, and each call goes where the model says."""
    calls = {
        "/echo.Echo/Plain": ([], "Plain"),
        "/echo.Echo/Deep": ([], "Deep"),
        "/echo.Echo/Re1": ([], "Re1"),
        "/echo.Echo/Unless": ([], "Unless"),
        "/echo.Echo/Abort": ([], "FAILED_PRECONDITION"),
        "/echo.Echo/Direct": ([], "UNAVAILABLE"),
        "/echo.Echo/Nothing": ([], "UNAVAILABLE"),
        "/echo.Echo/Slow": ([], "DEADLINE_EXCEEDED"),
        "/other.Service/Method": ([], "UNAVAILABLE"),
    }
    answers, refused = asked([(method, metadata) for method, (metadata, _) in calls.items()])
    assert refused == []
    assert {method: answer.split()[0] for method, answer in zip(calls, answers, strict=True)} == {
        method: expected for method, (_, expected) in calls.items()
    }


def test_listener_is_an_api_listener():
    """A client's listener has one API listener whose filters end with the router, its routes come over ADS."""
    listener = decoded(translator.listener(TARGET, TABLE))
    assert set(listener) == {"name", "api_listener"}
    manager = listener["api_listener"]["api_listener"]
    assert manager["rds"] == {
        "config_source": {"ads": {}, "resource_api_version": "V3"},
        "route_config_name": TABLE,
    }
    assert [each["name"] for each in manager["http_filters"]] == [
        "envoy.filters.http.fault",
        "envoy.filters.http.router",
    ]


def routes():
    (host,) = decoded(translator.route_table(TABLE, HOST, (TARGET, "echo.shop.svc:80")))["virtual_hosts"]
    assert host["domains"] == [TARGET, "echo.shop.svc:80"]
    return host["routes"]


def test_default_route_is_last_and_impossible_matches_are_left_out():
    """What no gRPC call can match is not written; what nothing matches ends the list."""
    found = routes()
    assert not {"deleted", "queried"} & {each["name"] for each in found}
    assert found[-1] == {"name": "unmatched", "match": {"prefix": ""}, "non_forwarding_action": {}}


def test_negated_header_is_two_matches():
    """gRPC does not match a missing header by negation, so its absence is a match of its own."""
    unless = [each["match"]["headers"] for each in routes() if each["name"] == "unless"]
    assert unless == [
        [{"name": "x-a", "string_match": {"exact": "1"}, "invert_match": True}],
        [{"name": "x-a", "present_match": True, "invert_match": True}],
    ]


def test_action_uses_words_that_grpc_knows():
    """Timeouts, retries and hashes are in gRPC's terms; header edits, rewrites and mirrors are left out."""
    (split,) = (each["route"] for each in routes() if each["name"] == "split")
    assert split == {
        "weighted_clusters": {"clusters": [{"name": "plain", "weight": 1}, {"name": "plain", "weight": 2}]},
        "max_stream_duration": {"max_stream_duration": "30s"},
        "retry_policy": {
            "retry_on": "unavailable",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "1s"},
        },
        "hash_policy": [{"header": {"header_name": "x-user"}}],
    }


def test_cluster_policies_are_known_ones():
    """Consistent hashes become ring hash, the rest round robin; failures in a row are not gRPC's."""
    plain, ring, maglev = (decoded(translator.cluster(each)) for each in destinations())
    assert "lb_policy" not in plain
    assert (ring["lb_policy"], maglev["lb_policy"]) == ("RING_HASH", "RING_HASH")
    assert plain["circuit_breakers"] == {"thresholds": [{"max_requests": 300}]}
    assert plain["outlier_detection"]["enforcing_failure_percentage"] == 100
    assert plain["outlier_detection"]["enforcing_success_rate"] == 0
    assert plain["eds_cluster_config"]["service_name"] == "plain"


def test_cluster_by_dns_has_one_endpoint():
    """A name is resolved by gRPC itself, as the one endpoint of a logical cluster."""
    cluster = decoded(translator.cluster(Destination("ext", "dns", "http2", dns_name="example.com", dns_port=443)))
    assert cluster["type"] == "LOGICAL_DNS"
    (group,) = cluster["load_assignment"]["endpoints"]
    assert len(group["lb_endpoints"]) == 1


def test_original_destination_is_an_error():
    """There is no dialled address without a proxy."""
    with pytest.raises(ValueError, match="original"):
        translator.cluster(Destination("original", "original", "tcp"))


@pytest.mark.parametrize(("host", "name"), [("0.0.0.0", "0.0.0.0:8080"), ("::", "[::]:8080")])
def test_server_listener(host, name):
    """A server's listener has its address in its name, one connection manager, and nothing of a sidecar's."""
    listener = decoded(translator.server_listener(host, 8080))
    assert listener["name"] == f"grpc/server?xds.resource.listening_address={name}"
    assert listener["address"]["socket_address"] == {"address": host, "port_value": 8080}
    assert not {"listener_filters", "use_original_dst", "default_filter_chain"} & set(listener)
    (chain,) = listener["filter_chains"]
    (only,) = chain["filters"]
    manager = only["typed_config"]
    assert [each["name"] for each in manager["http_filters"]] == ["envoy.filters.http.router"]
    assert manager["route_config"]["virtual_hosts"][0]["routes"][0]["non_forwarding_action"] == {}


def test_real_server_serves():
    """A gRPC server that asks for its listener accepts it, and serves its own methods."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = translator.server_listener("127.0.0.1", port)
    discovery = Discovery({TYPE + "listener.v3.Listener": {listener.name: listener}})
    with (
        discovering(discovery) as ads,
        subprocess.Popen(
            [sys.executable, "-c", SERVER, f"127.0.0.1:{port}"], env=environment(ads), stdin=subprocess.PIPE
        ) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        try:
            answer = channel.unary_unary("/echo.Echo/Plain")(b"", wait_for_ready=True, timeout=20)
        finally:
            server.communicate()
    assert (answer, discovery.refused) == (b"served", [])
