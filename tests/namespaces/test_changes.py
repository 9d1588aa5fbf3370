"""What changes while requests flow: listeners and routes of new port numbers come without a lost request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial

from tests.envoy.manifests import pod, service
from tests.namespaces.world import IP, VIP

RATE = 60


@asynccontextmanager
async def driven(mesh, place, address, port, *, kept=False):
    """Load within the block, of which no request may fail; `kept`: on connections that stay, else on one each."""
    stop, seen = asyncio.Event(), []

    async def single():
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                tasks.create_task(once())
                await asyncio.sleep(1 / RATE)

    async def once():
        seen.append(await mesh.call(place, address, port))

    async with mesh.caller(place, address, port) as caller:
        driving = asyncio.create_task(caller.drive(RATE, stop, seen.append) if kept else single())
        try:
            yield seen
        finally:
            stop.set()
            await driving
    failures = [outcome for outcome in seen if outcome.status != 200]
    assert not failures, f"{len(failures)} of {len(seen)} lost: {failures[:3]}"
    assert len(seen) > 10


async def test_service_on_a_new_port_number(mesh):
    """A Service on a new port number is served from one request to the next, and so is its end; no request is lost.

    The Service's virtual address is that of a machine which answers on the port: before and after, it is this one.
    """
    await mesh.http("db-a", 8091)
    named = service("fresh", (8090, 8091, "http"), selector={"app": "db-a"}, clusterIP=IP["outside"])
    async with (
        driven(mesh, "client", VIP["web"], 80, kept=True) as other,
        driven(mesh, "client", IP["outside"], 8090) as fresh,
    ):
        await mesh.until(lambda: _last(fresh, "outside:8090"))
        mesh.put("fresh", named)
        await mesh.until(lambda: _last(fresh, "db-a:8091"))
        mesh.drop("fresh")
        await mesh.until(lambda: _last(fresh, "outside:8090"))
        await mesh.settled()
    order = [outcome.instance for outcome in sorted(fresh, key=lambda outcome: outcome.sent)]
    assert {outcome.instance for outcome in other} == {"web:8080"}
    assert set(order) == {"outside:8090", "db-a:8091"}


async def test_tcp_service_joins_a_port_number(mesh):
    """A TCP Service that joins a port number in use leaves connections of the others open; its own work at once."""
    reader, writer = await mesh.dialled("client", VIP["db-a"], 5432)
    writer.write(b"before\n")
    assert await reader.readline() == b"db-a:5432 before\n"
    await mesh.echo("db-b", 5433)
    mesh.put("late", service("late", (5432, 5433, "tcp"), selector={"app": "db-b"}, clusterIP="10.96.0.77"))

    async def joined():
        try:
            return await mesh.line("client", "10.96.0.77", 5432, timeout=0.3) == "db-b:5433 hello"
        except TimeoutError:
            return False  # passed through to an address that nobody has

    await mesh.until(joined)
    writer.write(b"after\n")
    assert await reader.readline() == b"db-a:5432 after\n"
    writer.close()
    mesh.drop("late")
    await mesh.settled()
    assert await mesh.line("client", VIP["db-a"], 5432) == "db-a:5432 hello"


async def test_new_pod_of_a_headless_service(mesh):
    """A pod that joins a headless Service is reached by its address, under egress Registered too."""
    mesh.put("joined", pod("joined", IP["db-b"], {"app": "peers"}))
    await mesh.echo("db-b", 7001)
    await mesh.until(lambda: _answers(mesh, "strict", IP["db-b"], 7001, "db-b:7001 hello"))
    mesh.drop("joined")
    await mesh.until(lambda: _answers(mesh, "strict", IP["db-b"], 7001, ""))


async def test_inbound_port_of_a_new_service(mesh):
    """A Service that names a port of a running pod makes its Envoy route it; requests meanwhile are not lost."""
    async with driven(mesh, "outside", IP["web"], 9999) as seen:
        await mesh.until(lambda: _last(seen, "web:9999"))
        mesh.put("named", service("named", (80, 9999, "http"), selector={"app": "web"}, clusterIP="10.96.0.78"))
        await mesh.until(lambda: _routed(mesh, "web", "http.in/9999.downstream_rq_total"))
        mesh.drop("named")
        await mesh.settled()


async def test_egress_mode_changes(mesh):
    """A namespace that becomes Registered refuses what it passed through; back again it passes."""
    policy = {"apiVersion": "xdscp.io/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "e", "namespace": "shop"}}
    assert await mesh.line("client", IP["outside"], 7777) == "outside:7777 hello"
    mesh.put("egress", policy | {"spec": {"egress": "Registered"}})
    await mesh.until(lambda: _answers(mesh, "client", IP["outside"], 7777, ""))
    await mesh.settled()
    assert (await mesh.call("client", IP["outside"], 80, host="unknown.example.com")).status == 502
    assert (await mesh.call("client", VIP["web"])).instance == "web:8080"
    mesh.drop("egress")
    await mesh.until(lambda: _answers(mesh, "client", IP["outside"], 7777, "outside:7777 hello"))
    await mesh.settled()
    assert (await mesh.call("client", IP["outside"], 80, host="unknown.example.com")).instance == "outside:80"


def _more(seen, count):
    return len(seen) >= count


def _last(seen, instance):
    return bool(seen) and seen[-1].instance == instance


async def _answers(mesh, place, address, port, text):
    return await mesh.line(place, address, port) == text


async def _routed(mesh, pod, stat):
    return await mesh.envoys[pod].stat(stat) > 3


async def test_kept_connections_outlive_the_services_of_a_port_number(mesh):
    """Requests to the outside on connections that stay are not lost when Services on their port number come and go."""
    named = service("fresh", (8090, 8091, "http"), selector={"app": "db-a"}, clusterIP="10.96.0.79")
    for _ in range(2):
        mesh.put("fresh", named)
        await mesh.settled()
        async with driven(mesh, "client", IP["outside"], 8090, kept=True) as seen:
            await mesh.until(lambda seen=seen: _last(seen, "outside:8090"))
            mesh.drop("fresh")
            await mesh.settled()
            await mesh.until(partial(_more, seen, len(seen) + 10))
