"""Make before break: under constant load a change loses no request, whatever moves, in both variants.

In each test at least 5,000 requests go through one Envoy with two workers, and the change comes in their midst.
"""

from __future__ import annotations

import asyncio
import socket

import pytest

from examples.demo.control_plane import free_port
from tests.envoy.manifests import endpoint_slice, pod, policy, route, service, subsets
from tests.envoy.messages import endpoints_of

RATE = 1500
BEFORE = 1500
ENOUGH = 5000
MARGIN = 5300


def resolved(name):
    """Whether a name has an IPv4 address."""
    try:
        return bool(socket.gethostbyname(name))
    except OSError:
        return False


async def running(mesh, *names):
    """Applications by name, with their pods' addresses; the version is the name."""
    hosts = range(21, 21 + len(names))
    return await asyncio.gather(
        *(mesh.application(name, host, version=name) for name, host in zip(names, hosts, strict=True))
    )


def only(report, since, allowed):
    """Instances beside the allowed ones that got requests sent after a moment, and how long after it."""
    return {
        name: round(last - since, 3)
        for name, (_, _, last) in report.instances.items()
        if last > since and name not in allowed
    }


async def changed_under_load(mesh, change, *, hosts=("app.shop",)):
    """Put load on, make the change in its midst, wait until it is acknowledged; the report and that moment."""
    async with mesh.load(*hosts, rate=RATE) as load:
        await load.last(BEFORE, RATE)
        await change()
        await mesh.settled()
        moment = asyncio.get_running_loop().time()
        await load.last(MARGIN, RATE)
    load.report.require_none_lost(ENOUGH)
    return load.report, moment


def moved(old, new, target):
    """Service app whose route goes to a service, beside those of the two that exist."""
    objects = [
        service("app", selector={"app": "none"}),
        policy("app", "app", routes=[route({"name": target, "port": 80})]),
    ]
    for name, address in (("old", old), ("new", new)):
        if address:
            objects += [service(name), endpoint_slice(f"{name}-1", name, address)]
    return objects


async def test_or_11_route_moves_to_a_new_service_and_the_old_is_deleted(mesh):
    """A route moves to a service that is created in the write that deletes the one it went to."""
    old, new = await running(mesh, "old", "new")
    mesh.put("app", *moved(old, None, "old"))
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        mesh.put("app", *moved(None, new, "new"))

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment + 0.05, {"new"}) == {}
    assert report.instances["new"][0] > 1000
    await mesh.until(lambda: gone(envoy, "out/shop/old/80"))


async def test_or_11_route_moves_in_an_order_that_tempts(mesh):
    """The old service's file goes first, the new policy's comes a moment later, and the new service's between."""
    old, new = await running(mesh, "old", "new")
    everything = moved(old, None, "old")
    mesh.put("app", *everything[:1])
    mesh.put("policy", everything[1])
    mesh.put("old", *everything[2:])
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        after = moved(None, new, "new")
        mesh.put("new", *after[2:])
        mesh.put("policy", after[1])
        mesh.drop("old")

    await changed_under_load(mesh, change)
    await mesh.until(lambda: gone(envoy, "out/shop/old/80"))


async def test_or_11_route_moves_to_and_fro(mesh):
    """A route that moves twenty times between two services, one of which always exists only while it is used."""
    old, new = await running(mesh, "old", "new")
    mesh.put("app", *moved(old, None, "old"))
    await mesh.start()
    await mesh.envoy()

    async def change():
        for turn in range(20):
            mesh.put("app", *(moved(old, None, "old") if turn % 2 else moved(None, new, "new")))
            await asyncio.sleep(0.01 * (turn % 5))

    await changed_under_load(mesh, change)


async def test_or_11_service_port_is_renamed(mesh):
    """The only port of a service gets another name and another number."""
    (address,) = await running(mesh, "a")
    mesh.put("app", service("app", (80, 8080, "http")), endpoint_slice("app-1", "app", address, port_name="http"))
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        mesh.put(
            "app",
            service("app", (8081, 8080, "http-web")),
            endpoint_slice("app-1", "app", address, port_name="http-web"),
        )

    await changed_under_load(mesh, change)
    await mesh.until(lambda: gone(envoy, "out/shop/app/80"))


async def test_or_11_service_port_name_only(mesh):
    """A port keeps its number and gets another name, in the Service first and in its slice a moment later."""
    (address,) = await running(mesh, "a")
    mesh.put("app", service("app", (80, 8080, "http")), endpoint_slice("app-1", "app", address, port_name="http"))
    await mesh.start()
    await mesh.envoy()

    async def change():
        mesh.put(
            "app", service("app", (80, 8080, "http-web")), endpoint_slice("app-1", "app", address, port_name="http-web")
        )

    await changed_under_load(mesh, change)


async def test_or_11_every_endpoint_is_replaced(mesh):
    """All endpoints are replaced by others; the old processes end once that is acknowledged."""
    a, b, c, d = await running(mesh, "a", "b", "c", "d")
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", a, b))
    await mesh.start()
    await mesh.envoy()

    async def change():
        mesh.put("app", service("app"), endpoint_slice("app-2", "app", c, d))
        await mesh.settled(quiet=0.05)
        await mesh.retire("a", "b")

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment, {"c", "d"}) == {}


async def test_or_11_subsets_are_renamed_and_moved(mesh):
    """Subsets get other names and other labels in the write that uses them, and move to another policy's service."""
    a, b = await running(mesh, "a", "b")
    pods = pods_of(mesh, a, b)
    split = [route({"subset": "v1", "weight": 50}, {"subset": "v2", "weight": 50})]
    mesh.put("app", service("app", selector={"app": "app"}), *pods)
    mesh.put("policy", policy("app", "app", subsets=subsets(v1="a", v2="b"), routes=split))
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        renamed = [route({"subset": "stable", "weight": 50}, {"subset": "canary", "weight": 50})]
        mesh.put("policy", policy("app", "app", subsets=subsets(stable="a", canary="b"), routes=renamed))
        await mesh.settled()
        swapped = [route({"subset": "canary"})]
        mesh.put("policy", policy("app", "app", subsets=subsets(canary="a"), routes=swapped))

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment + 0.05, {"a"}) == {}
    await mesh.until(lambda: gone(envoy, "out/shop/app/80/stable"))


def pods_of(mesh, a, b):
    """Two pods of the versions a and b."""
    return [
        pod(f"app-{version}", address, {"app": "app", "version": version}) for version, address in (("a", a), ("b", b))
    ]


async def test_dx_10_service_is_deleted_and_created_in_one_moment(mesh):
    """A Service is deleted and created anew with another selector, within one window: old endpoints are gone."""
    a, b = await running(mesh, "a", "b")
    mesh.put("pods", *pods_of(mesh, a, b))
    mesh.put("app", service("app", selector={"version": "a"}, clusterIP="10.96.0.1"))
    await mesh.start()
    await mesh.envoy()

    async def change():
        mesh.recreate("app", service("app", selector={"version": "b"}, clusterIP="10.96.0.2"))

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment + 0.05, {"b"}) == {}


async def test_dx_10_service_is_deleted_and_created_after_a_while(mesh):
    """The same with half a second between: requests in between are refused, then only the new one gets them."""
    a, b = await running(mesh, "a", "b")
    mesh.put("pods", *pods_of(mesh, a, b))
    mesh.put("app", service("app", selector={"version": "a"}))
    await mesh.start()
    envoy = await mesh.envoy()
    mesh.drop("app")
    await mesh.settled()
    await mesh.until(lambda: gone(envoy, "out/shop/app/80"))
    mesh.put("app", service("app", selector={"version": "b"}))
    await mesh.settled()
    async with mesh.load("app.shop", rate=300) as load:
        await load.last(300, 300)
    load.report.require_none_lost(300)
    assert set(load.report.instances) == {"b"}


@pytest.mark.skipif(not resolved(socket.gethostname()), reason="this machine's own name is not resolved")
async def test_ep_06_service_becomes_an_external_name_and_comes_back(mesh):
    """A ClusterIP service becomes a DNS name: its endpoints serve until the name is resolved, and so on the way back."""
    port = free_port()  # the same everywhere, since an ExternalName is called on the service's own port
    a = await mesh.application("a", 21, port=port)
    name = socket.gethostname()
    await mesh.application("b", socket.gethostbyname(name), port=port)
    slice_ = endpoint_slice("app-1", "app", a, port=port, port_name=f"http-{port}")
    mesh.put("app", service("app", (port, port)), slice_)
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        mesh.put("app", service("app", (port, port), type="ExternalName", externalName=name))
        await mesh.settled()
        await asyncio.sleep(0.3)
        mesh.put("app", service("app", (port, port)), slice_)

    report, moment = await changed_under_load(mesh, change)
    assert report.instances["b"][0] > 100
    pushed = [one.bodies.get(f"out/shop/app/{port}") for one in envoy.tap.responses("eds")]
    assert all(endpoints_of(body) for body in pushed if body), "emptied while the name was being resolved"
    assert only(report, moment + 0.05, {"a"}) == {}


async def test_or_11_requests_under_way_to_what_is_removed(mesh):
    """Requests that take half a second are under way when their cluster goes, and to another's endpoint: all are answered."""
    old, new, third = await asyncio.gather(
        mesh.application("old", 21, control=True),
        mesh.application("new", 22),
        mesh.application("third", 23, control=True),
    )
    await mesh.behave(21, delay=0.5)
    await mesh.behave(23, delay=0.5)
    mesh.put("third", service("third"), endpoint_slice("third-1", "third", third))
    mesh.put("app", *moved(old, None, "old"))
    await mesh.start()
    envoy = await mesh.envoy()
    async with mesh.load("app.shop", "third.shop", rate=400) as load:
        await load.last(400, 400)
        mesh.put("app", *moved(None, new, "new"))
        mesh.put("third", service("third"), endpoint_slice("third-1", "third", new))
        await mesh.until(lambda: gone(envoy, "out/shop/old/80"))
        await load.last(1000, 400)
    load.report.require_none_lost(1000)
    assert load.report.instances["new"][0] > 300


@pytest.mark.parametrize("kill", [False, True], ids=["sigterm", "sigkill"])
async def test_or_11_changes_while_the_control_plane_is_down(mesh, kill):
    """While it is down all endpoints are replaced, the route changes, one service comes and another goes."""
    a, b = await running(mesh, "a", "b")
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", a), service("unused"))
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        await mesh.end(kill=kill)
        timeouts = policy("app", "app", routes=[route(timeouts={"request": "5s"})], connection={"connectTimeout": "2s"})
        mesh.put("app", service("app"), endpoint_slice("app-2", "app", b), service("more"), timeouts)
        await mesh.start()
        await mesh.until(lambda: gone(envoy, "out/shop/unused/80"), 10.0)
        await mesh.settled(quiet=0.05)
        await mesh.retire("a")

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment, {"b"}) == {}


@pytest.mark.parametrize("kill", [False, True], ids=["sigterm", "sigkill"])
async def test_or_11_route_moves_while_the_control_plane_is_down(delta_mesh, kill):
    """While it is down a route moves to a new service and the old one is deleted: delta tells what Envoy still has."""
    mesh = delta_mesh
    old, new = await running(mesh, "old", "new")
    mesh.put("app", *moved(old, None, "old"))
    await mesh.start()
    envoy = await mesh.envoy()

    async def change():
        await mesh.end(kill=kill)
        mesh.put("app", *moved(None, new, "new"))
        await mesh.start()
        await mesh.until(lambda: gone(envoy, "out/shop/old/80"), 10.0)

    report, moment = await changed_under_load(mesh, change)
    assert only(report, moment + 0.05, {"new"}) == {}


async def test_or_11_route_moves_while_the_control_plane_is_down_sotw(sotw_mesh):
    """SotW does not tell what Envoy has, so the old cluster goes with the first response: a gap of one round trip."""
    mesh = sotw_mesh
    old, new = await running(mesh, "old", "new")
    mesh.put("app", *moved(old, None, "old"))
    await mesh.start()
    envoy = await mesh.envoy()
    async with mesh.load("app.shop", rate=RATE) as load:
        await load.last(BEFORE, RATE)
        await mesh.end(kill=True)
        mesh.put("app", *moved(None, new, "new"))
        await mesh.start()
        await mesh.until(lambda: gone(envoy, "out/shop/old/80"), 10.0)
        await mesh.settled()
    moments = [answered for _, _, answered, _ in load.report.failures]
    assert not moments or max(moments) - min(moments) < 0.25


async def gone(envoy, cluster):
    """Whether Envoy has no such cluster."""
    return f"{cluster}::" not in await envoy.get("/clusters")
