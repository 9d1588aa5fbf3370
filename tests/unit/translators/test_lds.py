"""Listeners: the fields that decide, and Envoy's judgement of every shape."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.unit.translators.decoding import decoded
from tests.unit.translators.envoy_validation import ROOT, ask, bootstrap, echo_server, envoy_binary, refusal, running
from xdscp.mesh.listening import Downstream, InboundPort, OutboundPort, TcpListener, TcpService
from xdscp.mesh.routing import Backend, TcpRoute
from xdscp.translators import cds, lds
from xdscp.translators.encode import encode

SHARED = TcpRoute("out/shop/db/5432", (Backend("passthrough", 2), Backend("blackhole", 3)), None, hash_source_ip=True)
ALL = Downstream("/dev/stdout", accept_http_10=True, preserve_header_case=True, ipv6=True)


def listeners(downstream: Downstream):
    """One listener of each shape."""
    service = TcpService(("10.0.0.1", "fd00::1"), SHARED)
    return {
        "outbound": lds.outbound("allow", "interception", downstream),
        "outbound registered": lds.outbound("registered", "interception", downstream),
        "http and tcp": lds.outbound_port(OutboundPort(80, True, (service,), "allow"), downstream),
        "tcp": lds.outbound_port(OutboundPort(5432, False, (service,), "registered"), downstream),
        "explicit": lds.explicit(0, "127.0.0.1", downstream),
        "tcp listener": lds.tcp(TcpListener("tcp/db", "127.0.0.1", 0, SHARED), downstream),
        "inbound": lds.inbound(
            (InboundPort(8080, "http"), InboundPort(9090, "http2"), InboundPort(5432, "tcp")),
            "interception",
            downstream,
        )[0],
        "inbound explicit": lds.inbound((InboundPort(8080, "http", "127.0.0.1", "127.0.0.1", 8081),), "explicit")[0],
        "inbound explicit tcp": lds.inbound((InboundPort(8080, "tcp", "127.0.0.1", "127.0.0.1", 8081),), "explicit")[0],
        "gateway": lds.gateway(8080, "0.0.0.0", downstream=downstream),
    }


NAMES = sorted(listeners(Downstream()))


@pytest.mark.envoy
@pytest.mark.parametrize("downstream", [Downstream(), ALL], ids=["default", "all options"])
@pytest.mark.parametrize("name", NAMES)
def test_envoy_takes_every_listener(name, downstream):
    """Envoy accepts each shape of listener, with no options and with all."""
    config = bootstrap([cds.passthrough(), cds.blackhole()], [listeners(downstream)[name]])
    assert refusal(config) == ""


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_deterministic(name):
    """The same model gives the same bytes: any other byte would drain connections."""
    assert encode(listeners(ALL)[name]) == encode(listeners(ALL)[name])


def manager_of(listener, chain=None):
    """The HTTP connection manager of the default chain, or of the named one."""
    chains = {each["name"]: each for each in listener.get("filter_chains", [])}
    found = chains[chain] if chain else listener["default_filter_chain"]
    return found["filters"][0]["typed_config"]


def test_outbound_hands_over_and_guards_against_loops():
    """The outbound listener restores the dialled address, and closes connections to its own port."""
    found = decoded(lds.outbound("allow", "interception"))
    assert found["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 15001}
    assert found["use_original_dst"] is True
    assert [each["name"] for each in found["listener_filters"]] == ["envoy.filters.listener.original_dst"]
    assert found["default_filter_chain"]["filters"][0]["typed_config"]["cluster"] == "passthrough"
    (guard,) = found["filter_chains"]
    assert guard["filter_chain_match"] == {"destination_port": 15001}
    assert guard["filters"][0]["typed_config"]["cluster"] == "blackhole"
    refused = decoded(lds.outbound("registered", "interception"))
    assert refused["default_filter_chain"]["filters"][0]["typed_config"]["cluster"] == "blackhole"


def test_outbound_does_not_exist_in_explicit_mode():
    """Applications dial the explicit listeners there."""
    with pytest.raises(ValueError, match="explicit"):
        lds.outbound("allow", "explicit")


def test_outbound_port_binds_nothing():
    """A port's listener has a chain for each TCP service and routes all else as HTTP by the port's table."""
    service = TcpService(("10.0.0.1", "fd00::1"), TcpRoute("db", (Backend("out/shop/db/80"),)))
    found = decoded(lds.outbound_port(OutboundPort(80, True, (service,), "allow")))
    assert (found["name"], found["bind_to_port"]) == ("out/80", False)
    (chain,) = found["filter_chains"]
    assert chain["filter_chain_match"] == {
        "prefix_ranges": [
            {"address_prefix": "10.0.0.1", "prefix_len": 32},
            {"address_prefix": "fd00::1", "prefix_len": 128},
        ]
    }
    assert chain["filters"][0]["typed_config"]["cluster"] == "out/shop/db/80"
    rds = manager_of(found)["rds"]
    assert rds["route_config_name"] == "out/80"
    assert rds["config_source"] == {"ads": {}, "resource_api_version": "V3"}


def test_tcp_connections_are_not_idled_out_and_follow_weights():
    """A TCP route without an idle timeout has none; weights are shared, and a backend without one is left out."""
    backends = (Backend("a", 1), Backend("b", 3), Backend("c", 0))
    found = decoded(lds.tcp(TcpListener("tcp/x", "127.0.0.1", 5432, TcpRoute("x", backends))))
    proxy = found["filter_chains"][0]["filters"][0]["typed_config"]
    assert proxy["idle_timeout"] == "0s"
    assert [(each["name"], each["weight"]) for each in proxy["weighted_clusters"]["clusters"]] == [("a", 1), ("b", 3)]


def test_tcp_route_without_backends_is_closed():
    """Connections of a route in which nothing has a weight are closed."""
    found = decoded(lds.tcp(TcpListener("tcp/x", "127.0.0.1", 5432, TcpRoute("x", (Backend("a", 0),)))))
    assert found["filter_chains"][0]["filters"][0]["typed_config"]["cluster"] == "blackhole"


def test_inbound_has_a_chain_a_port():
    """Inbound ports are told apart by the dialled port; what is no service's goes where it was going."""
    ports = (InboundPort(8080, "http"), InboundPort(5432, "tcp"))
    (found,) = (decoded(each) for each in lds.inbound(ports, "interception"))
    assert found["address"]["socket_address"]["port_value"] == 15006
    matches = {each["name"]: each["filter_chain_match"]["destination_port"] for each in found["filter_chains"]}
    assert matches == {"loop": 15006, "in/8080": 8080, "in/5432": 5432}
    assert found["default_filter_chain"]["filters"][0]["typed_config"]["cluster"] == "passthrough"


def test_inbound_normalises_paths_and_leaves_the_rest():
    """Inbound requests reach the application without timeout, retry or filter; their paths are normalised."""
    (found,) = (decoded(each) for each in lds.inbound((InboundPort(8080, "http"),), "interception"))
    manager = manager_of(found, "in/8080")
    assert manager["normalize_path"] is True
    assert manager["merge_slashes"] is True
    assert manager["path_with_escaped_slashes_action"] == "KEEP_UNCHANGED"
    assert manager["server_header_transformation"] == "PASS_THROUGH"
    assert manager["stream_idle_timeout"] == "0s"
    assert [each["name"] for each in manager["http_filters"]] == ["envoy.filters.http.router"]
    (host,) = manager["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    assert route["route"] == {"cluster": "in/8080", "timeout": "0s"}


def test_outbound_paths_stay_as_written():
    """What leaves the mesh is not rewritten, a signed URL would break."""
    manager = manager_of(decoded(lds.outbound_port(OutboundPort(80, True, (), "allow"))))
    assert manager["normalize_path"] is False
    assert "merge_slashes" not in manager
    assert "access_log" not in manager


def test_gateway_trusts_no_client():
    """A gateway takes the peer's address for the client's, and has Envoy's limits for an edge proxy."""
    found = decoded(lds.gateway(8080, "0.0.0.0"))
    manager = manager_of(found, "http")
    assert found["name"] == "gateway/8080"
    assert manager["use_remote_address"] is True
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "REJECT_REQUEST"
    assert manager["rds"]["route_config_name"] == "out/explicit"
    assert "envoy.filters.http.dynamic_forward_proxy" not in {each["name"] for each in manager["http_filters"]}


@pytest.mark.envoy
def test_inbound_explicit_carries_requests_and_upgrades():
    """A request to the workload's own address reaches its application, path normalised and request id kept."""
    with echo_server() as application:
        port = InboundPort(0, "http", "127.0.0.1", "127.0.0.1", application)
        config = bootstrap([cds.inbound_cluster(port)], lds.inbound((port,), "explicit"))
        with running(config) as ports:
            answer = ask(ports["in/0"], "//a/../b%2Fc", x_request_id="mine", x_forwarded_for="9.9.9.9")
    assert answer.status == 200
    assert answer.echoed["path"] == "/b%2Fc"
    assert answer.echoed["headers"]["x-request-id"] == "mine"
    assert answer.headers["server"].startswith("BaseHTTP")


@pytest.mark.envoy
@pytest.mark.namespaces
def test_interception_of_both_families():
    """An unbound listener takes connections dialled to IPv4 and IPv6; what no service has is closed."""
    need_namespaces()
    script = [sys.executable, "-m", "tests.unit.translators.intercepted"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDSCP_ENVOY": envoy_binary()}
    done = subprocess.run(
        ["unshare", "--net", *script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {address: found[address] for address in ("10.9.9.7", "fd09::7")} == {"10.9.9.7": "200", "fd09::7": "200"}
    assert all("Dis" in found[address] or "Reset" in found[address] for address in ("10.9.9.8", "fd09::8")), found


def need_namespaces():
    """Root, iproute2 and iptables; without them the test is skipped."""
    tools = ("unshare", "ip", "iptables", "ip6tables")
    if os.geteuid() == 0 and all(map(shutil.which, tools)):
        return
    if "namespaces" in os.environ.get("XDSCP_REQUIRE", ""):
        pytest.fail("no network namespaces")
    pytest.skip("network namespaces need root, iproute2 and iptables")
