"""Destinations that are no Service, and what is not carried at all."""

from __future__ import annotations

import pytest

from tests.namespaces.world import EXTERNAL_TCP, IP, VIP


async def test_unknown_destinations_are_passed_through(mesh):
    """Under egress Allow what no Service has arrives where it was sent: on ports with and without Services, HTTP and TCP."""
    for port in (80, 8080, 8090):
        outcome = await mesh.call("client", IP["outside"], port, host="unknown.example.com")
        assert (outcome.status, outcome.instance) == (200, f"outside:{port}"), outcome
    for port in (5432, 7777):
        assert await mesh.line("client", IP["outside"], port) == f"outside:{port} hello"


async def test_unknown_destinations_are_refused(mesh):
    """Under egress Registered unknown hosts get 502, and other connections are closed; nothing reaches the destination."""
    before = len(mesh.seen["outside"])
    for port in (80, 8080):
        assert (await mesh.call("strict", IP["outside"], port, host="unknown.example.com")).status == 502
        assert (await mesh.call("strict", IP["outside"], port)).status == 502
    assert (await mesh.call("strict", IP["outside"], 8090)).status == 0
    for port in (5432, 7777):
        assert await mesh.line("strict", IP["outside"], port) == ""
    assert len(mesh.seen["outside"]) == before


async def test_services_under_egress_registered(mesh):
    """Under egress Registered the Services of all namespaces are reached as ever, but for names of other namespaces."""
    assert (await mesh.call("strict", VIP["web"])).instance == "web:8080"
    assert (await mesh.call("strict", VIP["web"], host="web.other")).instance == "web-other:8080"
    assert (await mesh.call("strict", VIP["web"], host="web")).status == 502
    assert await mesh.line("strict", VIP["db-b"], 5432) == "db-b:5432 hello"


async def test_external_service(mesh):
    """A registered host outside of the mesh is reached by its name, its TCP port by its virtual address."""
    outcome = await mesh.call("strict", "192.0.2.1", 80, host="api.example.com")
    assert (outcome.status, outcome.instance) == (200, "outside:80"), outcome
    assert await mesh.line("strict", EXTERNAL_TCP, 7777) == "outside:7777 hello"


@pytest.mark.parametrize("client", ["client", "strict"])
async def test_udp_is_untouched(mesh, client):
    """Datagrams go past Envoy, with the pod's own address, whatever the egress mode."""
    peers = await mesh.datagram_echo("outside", {"client": 5353, "strict": 5354}[client])
    assert await mesh.datagram(client, IP["outside"], {"client": 5353, "strict": 5354}[client]) == "hello"
    assert peers == [IP[client]]


@pytest.mark.parametrize("address", ["127.0.0.1", IP["client"]])
@pytest.mark.parametrize("port", [15001, 15006])
async def test_loop_guard_from_within(mesh, address, port):
    """An application that dials Envoy's own ports is closed at once: Envoy does not connect to itself without end."""
    await _closes(mesh, "client", address, port, "client")


@pytest.mark.parametrize("port", [15001, 15006])
async def test_loop_guard_from_outside(mesh, port):
    """So is a peer that dials them at the pod's address."""
    await _closes(mesh, "outside", IP["client"], port, "client")


async def _closes(mesh, place, address, port, pod):
    envoy = mesh.envoys[pod]

    async def connections():
        stats = await envoy.stats(r"^listener\..*downstream_cx_total$")
        return sum(count for name, count in stats.items() if "1500" in name)

    before = await connections()
    assert await mesh.line(place, address, port) == ""
    assert await connections() - before <= 4
