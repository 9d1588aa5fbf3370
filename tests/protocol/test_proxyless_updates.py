"""gRPC's own xDS client while the mesh changes: no RPC fails, and the change is seen."""

from __future__ import annotations

import grpc
import pytest_asyncio

from tests.envoy.manifests import policy, route, service, subsets
from tests.protocol.proxyless import PORT, world

PORTS = (80, PORT, "grpc")


@pytest_asyncio.fixture
async def shop(tmp_path):
    """Services cart and pay, each with the servers v1 and v2."""
    async with world(tmp_path) as made:
        made.put("v1", made.pod("v1", 21, "app", version="v1"))
        made.put("v2", made.pod("v2", 22, "app", version="v2"))
        made.put("services", *(service(name, PORTS, selector={"app": "app"}) for name in ("cart", "pay")))
        for number, name in enumerate(("v1", "v2", "v3")):
            await made.backend(name, 21 + number)
        await made.start()
        yield made


def split(first, second, **spec):
    """A policy of cart that shares its RPCs out."""
    backends = [{"subset": name, "weight": weight} for name, weight in (("v1", first), ("v2", second)) if weight]
    return policy("cart", "cart", subsets=subsets(v1="v1", v2="v2"), routes=[route(*backends)], **spec)


async def test_endpoint_is_replaced(shop):
    """A server that leaves and one that comes lose no RPC of those under way."""
    client = await shop.client()
    async with client.load("cart:80", "pay:80") as outcomes:
        await shop.until(lambda: _served(shop, "v1", 10))
        shop.put("v3", shop.pod("v3", 23, "app", version="v3"))
        await shop.until(lambda: _served(shop, "v3", 5))
        shop.put("v1", shop.pod("v1", 21, "app", version="v1", terminating=True))
        await shop.settled()
        shop.drop("v1")
        await shop.settled()
        await shop.backends["v1"].server.stop(0)
        await shop.until(lambda: _served(shop, "v3", 30))
    assert {each["instance"] for each in outcomes} == {"v1", "v2", "v3"}
    assert {each["instance"] for each in outcomes[-10:]} == {"v2", "v3"}


async def test_weights_change(shop):
    """A canary from nothing to all, step by step, loses no RPC, and each step is what the client does."""
    client, other = await shop.client(), await shop.client("shop/other")
    async with client.load("cart:80", "pay:80"):
        for first, second, low, high in ((1, 0, 0, 0), (9, 1, 4, 50), (1, 1, 60, 140), (0, 1, 200, 200)):
            shop.put("policy", split(first, second))
            await shop.settled(quiet=0.2)
            await shop.until(lambda: _shares(other, low, high))  # noqa: B023  # awaited within the iteration


async def test_sw_04_subscribed_names_stay(shop):
    """A change of one of two clusters keeps the other: a response holds all that is subscribed to, and nothing else."""
    client = await shop.client()
    async with client.load("cart:80", "pay:80") as outcomes:
        for requests in (100, 200, 300):
            shop.put("policy", policy("cart", "cart", circuitBreaker={"maxRequests": requests}))
            await shop.settled()
            shop.put("third", service(f"third-{requests}", PORTS, selector={"app": "app"}))
            await shop.settled()
        shop.put("policy", policy("cart", "cart", loadBalancer={"type": "RingHash", "hash": [{"header": "x-user"}]}))
        await shop.settled()
        sticky = await shop.client("shop/sticky")
        assert len(await sticky.spread("cart:80", 10, metadata={"x-user": "7"})) == 1
        assert len(await sticky.spread("pay:80", 10, metadata={"x-user": "7"})) == 2
    assert {each["target"] for each in outcomes} == {"xds:///cart:80", "xds:///pay:80"}


async def test_service_is_removed_and_comes_back(shop):
    """RPCs to a removed Service fail as UNAVAILABLE, those to others go on; it is found again when it is back."""
    client = await shop.client()
    other = await shop.client("shop/other")
    assert await client.one("cart:80") in {"v1", "v2"}
    async with other.load("pay:80"):
        shop.put("services", service("pay", PORTS, selector={"app": "app"}))
        await shop.until(lambda: _answers(client, "UNAVAILABLE"))
        before = _count(shop, "v1")
        await shop.until(lambda: _served(shop, "v1", 10, before))
        shop.put("services", *(service(name, PORTS, selector={"app": "app"}) for name in ("cart", "pay")))
        await shop.until(lambda: _answers(client, "v1", "v2"))


async def test_control_plane_is_restarted(shop):
    """RPCs go on while the control plane is away; what changed meanwhile is seen when it is back."""
    client = await shop.client()
    async with client.load("cart:80", "pay:80"):
        await shop.until(lambda: _served(shop, "v1", 10))
        await shop.end()
        shop.drop("v1")
        before = _count(shop, "v1")
        await shop.until(lambda: _served(shop, "v1", 10, before))
        await shop.start()
        await shop.until(lambda: _reconnected(shop), timeout=30)
        await shop.settled()
        count = _count(shop, "v1")
        other = _count(shop, "v2")
        await shop.until(lambda: _served(shop, "v2", 20, other))
        assert _count(shop, "v1") <= count + 1


async def test_policy_that_fails_is_seen_and_ends(shop):
    """An injected fault comes and goes with its policy."""
    client = await shop.client()
    fault = {"abort": {"grpcStatus": grpc.StatusCode.ABORTED.value[0], "percent": 100}}
    shop.put("policy", policy("cart", "cart", routes=[{"name": "all", "fault": fault}]))
    await shop.until(lambda: _answers(client, "ABORTED"))
    shop.drop("policy")
    await shop.until(lambda: _answers(client, "v1", "v2"))


async def _shares(client, low, high):
    spread = await client.spread("cart:80", 200)
    assert spread.total() == spread["v1"] + spread["v2"] == 200
    return low <= spread["v2"] <= high


def _count(shop, name):
    return len(shop.backends[name].seen)


async def _served(shop, name, more, before=0):
    return _count(shop, name) >= before + more


async def _answers(client, *answers):
    return await client.one("cart:80") in answers


async def _reconnected(shop):
    return "shop/client" in await shop.control_plane.syncz()
