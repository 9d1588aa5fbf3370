"""The bootstraps as values: what they say of the proxy, and that Envoy's own schema accepts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.unit.injector.envoys import refusal
from xdscp.address import Address, parsed
from xdscp.injector.bootstrap import REGEX_PROGRAM, Ports, Proxy, envoy_bootstrap, grpc_bootstrap
from xdscp.resources.core import Key
from xdscp.resources.mesh_api.fields import LARGEST_PROGRAM
from xdscp.translators.names import grpc_server

EXTENSIONS = (
    health_check_pb2, router_pb2, http_connection_manager_pb2, downstream_connections_pb2, http_protocol_options_pb2,
)  # fmt: skip
"""Imported, so that the parser knows them."""

WEB = Proxy(Key("shop", "web-0"))
LOCAL = Address("127.0.0.1", 15010)


def cluster(bootstrap: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in bootstrap["static_resources"]["clusters"] if each["name"] == name)


def test_node() -> None:
    """the node says who the proxy is, in the words of the contract and no others."""
    proxy = Proxy(Key("shop", "web-0"), "gateway", "explicit")
    node = {
        "id": "shop/web-0",
        "cluster": "shop",
        "metadata": {"xdscp": {"role": "gateway", "mode": "explicit"}},
    }

    assert node == envoy_bootstrap(proxy, LOCAL, Ports())["node"]
    assert node == grpc_bootstrap(proxy, LOCAL)["node"]


@pytest.mark.parametrize(
    ("xds", "type", "address"),
    [
        ("127.0.0.1:1", "STATIC", {"socket_address": {"address": "127.0.0.1", "port_value": 1}}),
        ("[::1]:1", "STATIC", {"socket_address": {"address": "::1", "port_value": 1}}),
        ("xds.mesh:1", "STRICT_DNS", {"socket_address": {"address": "xds.mesh", "port_value": 1}}),
        ("unix:/run/xds.sock", "STATIC", {"pipe": {"path": "/run/xds.sock"}}),
    ],
)
def test_control_plane(xds: str, type: str, address: object) -> None:
    """the control plane is reached by IP, DNS name or unix socket."""
    found = cluster(envoy_bootstrap(WEB, parsed(xds), Ports()), "xds")

    assert found["type"] == type
    assert found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] == address


def test_admin_on_loopback() -> None:
    """Envoy's admin interface listens on loopback only."""
    assert envoy_bootstrap(WEB, LOCAL, Ports())["admin"]["address"] == {
        "socket_address": {"address": "127.0.0.1", "port_value": 15000}
    }


def test_ports_left_out() -> None:
    """without readiness and Prometheus there are no listeners and nothing that names the admin port."""
    bootstrap = envoy_bootstrap(WEB, LOCAL, Ports(0, None, None))

    assert bootstrap["static_resources"]["listeners"] == []
    assert [each["name"] for each in bootstrap["static_resources"]["clusters"]] == ["xds"]
    with pytest.raises(ValueError, match="need one that is not 0"):
        Ports(0)


def test_regex_limit() -> None:
    """Envoy accepts the regular expressions that validation accepts."""
    assert REGEX_PROGRAM == LARGEST_PROGRAM


def test_grpc_server_listener() -> None:
    """a gRPC server asks for its listener by the name that it is served under."""
    template = grpc_bootstrap(WEB, LOCAL)["server_listener_resource_name_template"]

    assert template.replace("%s", "10.0.0.1:50051") == grpc_server("10.0.0.1", 50051)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)
addresses = st.builds(Address, st.sampled_from(["127.0.0.1", "::1", "xds.mesh"]), ports) | st.builds(
    Address, path=st.from_regex(r"/[a-z]{1,90}", fullmatch=True)
)


@profile(deadline=None)  # the machine may be busy
@given(
    st.builds(Proxy, st.builds(Key, names, names), st.sampled_from(["sidecar", "gateway"])),
    addresses,
    st.builds(Ports, ports, st.none() | ports, st.none() | ports, st.sampled_from(["127.0.0.1", "0.0.0.0"])),
    st.sampled_from(["delta", "sotw"]),
)
def test_schema(proxy: Proxy, xds: Address, own: Ports, variant: Any) -> None:
    """any bootstrap is JSON in Envoy's schema, and the same arguments give the same bytes."""
    text = json.dumps(envoy_bootstrap(proxy, xds, own, variant))

    json_format.Parse(text, bootstrap_pb2.Bootstrap())
    assert text == json.dumps(envoy_bootstrap(proxy, xds, own, variant))


@pytest.mark.envoy
@pytest.mark.parametrize(
    ("xds", "own", "variant"),
    [
        ("127.0.0.1:15010", Ports(), "delta"),
        ("127.0.0.1:15010", Ports(), "sotw"),
        ("xds.mesh:15010", Ports(address="127.0.0.1"), "delta"),
        ("unix:/run/xds.sock", Ports(0, None, None), "delta"),
        ("[::1]:15010", Ports(readiness=None), "delta"),
    ],
)
def test_validated(xds: str, own: Ports, variant: Any, tmp_path: Path) -> None:
    """a real Envoy accepts the bootstrap."""
    assert refusal(envoy_bootstrap(WEB, parsed(xds), own, variant), tmp_path) == ""
