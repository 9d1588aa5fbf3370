"""Services reached from an intercepted pod: by virtual address, by host, by pod."""

from __future__ import annotations

import pytest

from tests.namespaces.world import IP, VIP


@pytest.mark.parametrize("host", ["", "web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop:80"])
async def test_http_by_virtual_address(mesh, host):
    """A request to a Service's virtual address reaches its pod, by every name that a client may give the Service."""
    outcome = await mesh.call("client", VIP["web"], host=host)
    assert (outcome.status, outcome.instance) == (200, "web:8080"), outcome


@pytest.mark.parametrize("host", ["web", "web.shop", "web.shop.svc.cluster.local"])
async def test_http_by_host(mesh, host):
    """The host of a request decides, not the address that was dialled: no DNS of the cluster is needed."""
    for dialled in (VIP["multi"], IP["outside"]):
        assert (await mesh.call("client", dialled, host=host)).instance == "web:8080"


async def test_same_service_name_in_two_namespaces(mesh):
    """Two Services of one name and port are told apart by namespace and by address; the short name is the own one's."""
    for address, host, instance in [
        (VIP["web"], "", "web:8080"),
        (VIP["web-other"], "", "web-other:8080"),
        (VIP["web"], "web.other", "web-other:8080"),
        (VIP["web-other"], "web.shop", "web:8080"),
        (VIP["web-other"], "web", "web:8080"),
    ]:
        outcome = await mesh.call("client", address, host=host)
        assert (outcome.status, outcome.instance) == (200, instance), (address, host, outcome)


async def test_ports_with_target_ports(mesh):
    """Each port of a Service reaches its own target port, a named one too."""
    assert (await mesh.call("client", VIP["multi"], 80)).instance == "multi:8081"
    assert (await mesh.call("client", VIP["multi"], 81)).instance == "multi:8082"
    assert await mesh.line("client", VIP["multi"], 9000) == "multi:9001 hello"


async def test_tcp_services_on_one_port_number(mesh):
    """Two TCP Services on the same port number are told apart by their virtual addresses."""
    for _ in range(5):
        assert await mesh.line("client", VIP["db-a"], 5432) == "db-a:5432 hello"
        assert await mesh.line("client", VIP["db-b"], 5432) == "db-b:5432 hello"
    assert set(mesh.seen["db-a"]) == {IP["client"]}


@pytest.mark.parametrize("client", ["client", "strict"])
@pytest.mark.parametrize("peer", ["peers-0", "peers-1"])
async def test_headless_service_by_pod(mesh, client, peer):
    """A client of a headless Service that dials a pod reaches this pod, by HTTP and by TCP, in both egress modes."""
    for host in (f"{peer}.peers.shop", "peers.shop.svc.cluster.local"):
        for _ in range(3):
            outcome = await mesh.call(client, IP[peer], 8080, host=host)
            assert (outcome.status, outcome.instance) == (200, f"{peer}:8080"), outcome
    assert await mesh.line(client, IP[peer], 7001) == f"{peer}:7001 hello"


async def test_headless_pod_without_a_host(mesh):
    """A pod that is dialled by its address, with that address as host, answers where unknown hosts are allowed."""
    assert (await mesh.call("client", IP["peers-1"], 8080)).instance == "peers-1:8080"
