"""Connections to a pod, and those from outside of the mesh."""

from __future__ import annotations

import pytest

from tests.namespaces.world import IP, VIP


@pytest.mark.parametrize("client", ["client", "outside"])
async def test_inbound_goes_through_envoy(mesh, client):
    """A request to a pod of a Service is seen by the pod's Envoy, whether the client has a sidecar or not."""
    envoy = mesh.envoys["web"]
    before = await envoy.stat("http.in/8080.downstream_rq_total"), await envoy.stat("cluster.in/8080.upstream_rq_total")
    address, port = (VIP["web"], 80) if client == "client" else (IP["web"], 8080)
    for _ in range(3):
        assert (await mesh.call(client, address, port)).instance == "web:8080"
    after = await envoy.stat("http.in/8080.downstream_rq_total"), await envoy.stat("cluster.in/8080.upstream_rq_total")
    assert after == (before[0] + 3, before[1] + 3)


async def test_inbound_tcp_goes_through_envoy(mesh):
    """So is a connection to its TCP port; the application sees its own pod as the peer."""
    envoy = mesh.envoys["multi"]
    before = await envoy.stat("tcp.in/9001.downstream_cx_total")
    assert await mesh.line("client", VIP["multi"], 9000) == "multi:9001 hello"
    assert await envoy.stat("tcp.in/9001.downstream_cx_total") == before + 1
    assert set(mesh.seen["multi"]) == {IP["multi"]}


@pytest.mark.parametrize("client", ["client", "outside"])
async def test_port_of_no_service_passes_through(mesh, client):
    """A port that no Service names is reached as without a mesh, through the inbound passthrough."""
    before = await mesh.envoys["web"].stat("tcp.passthrough.downstream_cx_total")
    outcome = await mesh.call(client, IP["web"], 9999)
    assert (outcome.status, outcome.instance) == (200, "web:9999"), outcome
    assert await mesh.envoys["web"].stat("tcp.passthrough.downstream_cx_total") == before + 1


async def test_closed_port_is_closed(mesh):
    """A port on which nothing listens closes the connection."""
    assert await mesh.line("outside", IP["web"], 9998) == ""


async def test_readiness_and_prometheus_from_outside(mesh):
    """The kubelet and Prometheus reach Envoy's own ports at the pod's address, past the interception."""
    await mesh.until(lambda: _ready(mesh))  # Envoy checks itself twice a second until it is ready
    assert (await mesh.call("outside", IP["web"], 15090, path="/stats/prometheus")).status == 200
    assert await mesh.line("outside", IP["web"], 15000) == ""


@pytest.mark.parametrize(
    ("host", "instance"),
    [
        ("web.shop", "web:8080"),
        ("web.other.svc.cluster.local", "web-other:8080"),
        ("web.shop:80", "web:8080"),
        ("multi.shop:81", "multi:8082"),
    ],
)
async def test_gateway_routes_by_host(mesh, host, instance):
    """A gateway routes the requests of clients outside of the mesh by their hosts, to sidecars and others."""
    outcome = await mesh.call("outside", IP["gateway"], 8080, host=host)
    assert (outcome.status, outcome.instance) == (200, instance), outcome


async def test_gateway_passes_nothing_through(mesh):
    """A gateway refuses hosts that no Service has, and serves no other ports."""
    assert (await mesh.call("outside", IP["gateway"], 8080, host=IP["outside"])).status == 502
    assert (await mesh.call("outside", IP["gateway"], 8080, host="unknown.example.com")).status == 502
    for port in (15001, 15006):
        with pytest.raises(ConnectionRefusedError):
            await mesh.dialled("outside", IP["gateway"], port)


async def _ready(mesh):
    return (await mesh.call("outside", IP["web"], 15021, path="/healthz/ready")).status == 200
