"""Pods and Services with two address families."""

from __future__ import annotations

import pytest

from tests.namespaces.world import IP6, VIP6


@pytest.fixture(autouse=True)
def _ipv6(without_ipv6):
    if without_ipv6:
        pytest.skip(without_ipv6)


@pytest.mark.parametrize("host", ["", "web", "web.shop.svc.cluster.local"])
async def test_http_by_ipv6_virtual_address(mesh, host):
    """A Service is reached by its IPv6 virtual address, with that address or a name as host."""
    outcome = await mesh.call("client", VIP6["web"], host=host)
    assert (outcome.status, outcome.instance) == (200, "web:8080"), outcome


async def test_tcp_by_ipv6_virtual_address(mesh):
    """So is a TCP Service."""
    assert await mesh.line("client", VIP6["db-a"], 5432) == "db-a:5432 hello"


async def test_headless_pod_by_ipv6_address(mesh):
    """A pod of a headless Service is reached by its IPv6 address."""
    for peer in ("peers-0", "peers-1"):
        assert (await mesh.call("client", IP6[peer], 8080, host=f"{peer}.peers.shop")).instance == f"{peer}:8080"
        assert await mesh.line("client", IP6[peer], 7001) == f"{peer}:7001 hello"


async def test_inbound_by_ipv6_address(mesh):
    """Connections to a pod's IPv6 address go through its Envoy."""
    before = await mesh.envoys["web"].stat("http.in/8080.downstream_rq_total")
    assert (await mesh.call("outside", IP6["web"], 8080)).instance == "web:8080"
    assert await mesh.envoys["web"].stat("http.in/8080.downstream_rq_total") == before + 1


async def test_unknown_ipv6_destinations(mesh):
    """Unknown destinations meet the egress mode by IPv6 as well."""
    assert await mesh.line("client", IP6["outside"], 7777) == "outside:7777 hello"
    assert await mesh.line("strict", IP6["outside"], 7777) == ""
    assert (await mesh.call("client", IP6["outside"], 80, host="unknown.example.com")).instance == "outside:80"
    assert (await mesh.call("strict", IP6["outside"], 80, host="unknown.example.com")).status == 502


@pytest.mark.parametrize("port", [15001, 15006])
async def test_loop_guard_by_ipv6(mesh, port):
    """Envoy's own ports close by IPv6 as well."""
    for place, address in (("client", "::1"), ("outside", IP6["client"])):
        assert await mesh.line(place, address, port) == ""


async def test_gateway_by_ipv6_address(mesh):
    """A gateway serves clients outside of the mesh by its IPv6 address too."""
    outcome = await mesh.call("outside", IP6["gateway"], 8080, host="web.shop")
    assert (outcome.status, outcome.instance) == (200, "web:8080"), outcome
