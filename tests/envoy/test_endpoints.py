"""Endpoints as Kubernetes tells them, seen in a live Envoy: who gets requests, and what each load assignment held."""

from __future__ import annotations

import asyncio
import time

from tests.envoy.manifests import endpoint, endpoint_slice, pod, service
from tests.envoy.mesh import PORT
from tests.envoy.messages import endpoints_of

CLUSTER = "out/shop/app/80"


async def instances(mesh, host="app.shop"):
    """Who answers how many of some requests; all must be answered."""
    report = await mesh.ask(host)
    assert not report.failures, report.reasons()
    return report.instances


async def statuses(mesh, host="app.shop"):
    """Which statuses some requests get."""
    return set((await mesh.ask(host)).statuses)


def assignments(tap, since=0.0, cluster=CLUSTER):
    """The endpoints in each load assignment of a cluster that was pushed."""
    return [endpoints_of(one.bodies[cluster]) for one in tap.responses("eds", since) if cluster in one.bodies]


async def test_sw_14_endpoints_disappear(mesh):
    """When all slices of a service go, an empty assignment comes, Envoy has no host within a second, requests get 503."""
    a = await mesh.application("a", 21)
    mesh.put("app", service("app"))
    mesh.put("slices", endpoint_slice("app-1", "app", a))
    await mesh.start()
    envoy = await mesh.envoy()
    assert set(await instances(mesh)) == {"a"}
    began = time.monotonic()
    mesh.drop("slices")

    async def empty():
        return not await envoy.hosts(CLUSTER)

    assert await mesh.until(empty) < 1.0
    assert assignments(envoy.tap, began) == [[]]
    assert await statuses(mesh) == {503}
    mesh.put("slices", endpoint_slice("app-1", "app", a))
    await mesh.settled()
    assert await instances(mesh)


async def test_ep_02_slices_are_shuffled(mesh):
    """Endpoints move between slices in both orders while requests run: none is missed while a slice has it."""
    a, b = await asyncio.gather(mesh.application("a", 21), mesh.application("b", 22))
    first, second = f"{a}:{PORT}", f"{b}:{PORT}"
    mesh.put("app", service("app"))
    mesh.put("one", endpoint_slice("app-1", "app", a, b))
    await mesh.start()
    envoy = await mesh.envoy()
    began = time.monotonic()
    async with mesh.load("app.shop", rate=500) as load:
        mesh.put("two", endpoint_slice("app-2", "app", b))  # added, then deleted
        await mesh.settled(quiet=0.05)
        mesh.put("one", endpoint_slice("app-1", "app", a))
        await mesh.settled(quiet=0.05)
        mesh.put("one", endpoint_slice("app-1", "app", a, b))  # both orders within one write
        await mesh.settled(quiet=0.05)
        mesh.drop("two")
        mesh.put("one", endpoint_slice("app-1", "app"), endpoint_slice("app-2", "app", a, b))
        await mesh.settled(quiet=0.05)
        mesh.put("one", endpoint_slice("app-3", "app", b), endpoint_slice("app-4", "app", a))  # both renamed
        await mesh.settled(quiet=0.05)
        seen = assignments(envoy.tap, began)
        mesh.put("one", endpoint_slice("app-4", "app", a))  # one deleted: its endpoint goes
        await mesh.settled(quiet=0.05)
        await load.last(500, 500)
    load.report.require_none_lost(400)
    assert all(sorted(each) == sorted([first, second]) for each in seen), seen
    assert assignments(envoy.tap, began)[-1] == [first]
    assert list(await envoy.hosts(CLUSTER)) == [first]


async def test_ep_03_conditions(mesh):
    """Ready and unknown endpoints get requests; terminating ones that serve only when no other is left; others never."""
    a, b = await asyncio.gather(mesh.application("a", 21), mesh.application("b", 22))
    gone = mesh.address(29)  # nothing listens there: a request to it would fail
    mesh.put("app", service("app"))
    serving = {"ready": False, "serving": True, "terminating": True}
    mesh.put("slice", endpoint_slice("app-1", "app", endpoint(a), endpoint(b, **serving)))
    await mesh.start()
    await mesh.envoy()
    assert set(await instances(mesh)) == {"a"}, "a terminating endpoint got new requests beside a ready one"

    ended = {"ready": False, "serving": False, "terminating": True}
    mesh.put("slice", endpoint_slice("app-1", "app", endpoint(gone, **ended), endpoint(b, **serving)))
    await mesh.settled()
    assert set(await instances(mesh)) == {"b"}, "all that is left is terminating, and serves"

    mesh.put("slice", endpoint_slice("app-1", "app", endpoint(gone, **ended), endpoint(a), endpoint(b, ready=True)))
    await mesh.settled()
    assert set(await instances(mesh)) == {"a", "b"}


async def test_ep_03_terminating_keeps_its_connections(mesh):
    """A request under way to an endpoint that becomes terminating is answered by it."""
    a, b = await asyncio.gather(mesh.application("a", 21, control=True), mesh.application("b", 22))
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", a))
    await mesh.start()
    await mesh.envoy()
    await mesh.behave(21, delay=1.0)
    async with mesh.load("app.shop", rate=50) as load:
        await load.last(10, 50)
        serving = {"ready": False, "serving": True, "terminating": True}
        mesh.put("app", service("app"), endpoint_slice("app-1", "app", endpoint(a, **serving), endpoint(b)))
        await mesh.settled()
        mesh.put("app", service("app"), endpoint_slice("app-1", "app", endpoint(b)))
        await mesh.settled()
    load.report.require_none_lost(30)
    assert load.report.instances["a"][0] > 20


async def test_ep_05_headless_scales_from_zero(mesh):
    """A headless service from no pods to three and back to one; a pod that is not ready gets nothing."""
    names = ["db-0", "db-1", "db-2"]
    addresses = await asyncio.gather(*(mesh.application(name, 21 + n) for n, name in enumerate(names)))
    mesh.put("app", service("app", clusterIP="None"))
    mesh.put("slice", endpoint_slice("app-1", "app"))
    await mesh.start()
    envoy = await mesh.envoy()
    assert await statuses(mesh) == {503}
    members = [endpoint(each, hostname=name) for each, name in zip(addresses, names, strict=True)]
    mesh.put("slice", endpoint_slice("app-1", "app", *members))
    await mesh.settled()
    assert set(await instances(mesh)) == set(names)
    members[2] = endpoint(addresses[2], ready=False, hostname="db-2")
    mesh.put("slice", endpoint_slice("app-1", "app", *members))
    await mesh.settled()
    assert set(await instances(mesh)) == {"db-0", "db-1"}
    mesh.put("slice", endpoint_slice("app-1", "app", members[0]))
    await mesh.settled()
    assert set(await instances(mesh)) == {"db-0"}
    assert list(await envoy.hosts(CLUSTER)) == [f"{addresses[0]}:{PORT}"]


async def test_ep_06_discovery_flips(mesh):
    """ClusterIP, an alias in the mesh, an address, a DNS name that resolves to nothing, headless, and back."""
    a, b = await asyncio.gather(mesh.application("a", 21), mesh.application("b", 22))
    mesh.put("pods", pod("a", a, {"app": "app"}))
    mesh.put("other", service("other", (PORT, PORT)), endpoint_slice("other-1", "other", b, port_name="http-8080"))
    cluster_ip = service("app", (PORT, PORT), selector={"app": "app"}, clusterIP="10.96.0.7")
    mesh.put("app", cluster_ip)
    await mesh.start()
    envoy = await mesh.envoy()
    name = f"out/shop/app/{PORT}"

    async def flipped(**spec):
        mesh.put("app", service("app", (PORT, PORT), **spec))
        await mesh.settled()

    async def hosts():
        return list(await envoy.hosts(name))

    assert set(await instances(mesh)) == {"a"}
    await flipped(type="ExternalName", externalName="other.shop.svc.cluster.local")
    assert set(await instances(mesh)) == {"b"}
    assert await hosts() == [f"{b}:{PORT}"]
    await flipped(type="ExternalName", externalName=a)
    assert set(await instances(mesh)) == {"a"}
    assert await hosts() == [f"{a}:{PORT}"]
    await flipped(type="ExternalName", externalName="nothing.invalid")
    assert await statuses(mesh) == {503}
    assert await hosts() == []
    await flipped(type="ExternalName", externalName="localhost")
    assert await statuses(mesh) == {503}
    await flipped(clusterIP="None", selector={"app": "app"})
    assert set(await instances(mesh)) == {"a"}
    mesh.put("app", cluster_ip)
    await mesh.settled()
    assert set(await instances(mesh)) == {"a"}
    assert await hosts() == [f"{a}:{PORT}"]
    assert not envoy.tap.rejections()


async def test_ep_06_alias_loop(mesh):
    """Two ExternalNames that name each other stop being followed; the other services do not notice."""
    a = await mesh.application("a", 21)
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", a))
    mesh.put(
        "loop",
        service("ping", type="ExternalName", externalName="pong.shop.svc.cluster.local"),
        service("pong", type="ExternalName", externalName="ping.shop.svc.cluster.local"),
    )
    await mesh.start()
    envoy = await mesh.envoy()
    assert set(await instances(mesh)) == {"a"}
    assert await statuses(mesh, "ping.shop") == {503}
    assert not envoy.tap.rejections()
