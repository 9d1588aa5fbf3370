"""Clusters and listeners that warm: what Envoy asks for, and does not ask for, in the meantime."""

from __future__ import annotations

import time

import aiohttp
import pytest

from tests.envoy.manifests import endpoint_slice, pod, policy, service

CLUSTER = "out/shop/app/80"


@pytest.fixture
async def booted(mesh):
    """A mesh with one service, whose Envoy is ready."""
    address = await mesh.application("a", 21)
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", address))
    await mesh.start()
    await mesh.envoy()
    return mesh


def envoy_of(mesh):
    """The only Envoy."""
    (found,) = mesh.envoys.values()
    return found


async def warmed(envoy):
    """Whether no cluster is warming."""
    return await envoy.stat("cluster_manager.warming_clusters") == 0


async def test_or_03_changed_cluster_is_warm_at_once(booted):
    """A changed cluster gets its endpoints though Envoy says nothing, or what looks like an ACK; then there is silence."""
    envoy = envoy_of(booted)
    began = time.monotonic()
    async with booted.load("app.shop", rate=300) as load:
        booted.put("policy", policy("app", "app", connection={"connectTimeout": "3s"}))
        await booted.settled(quiet=0.05)
        assert time.monotonic() - began < 2.0
        assert await warmed(envoy)
        await load.last(200, 300)
    load.report.require_none_lost(200)
    assert await envoy.stat("cluster_manager.cluster_modified") == 1
    await envoy.tap.quiet(0.5)
    pushed = [one for one in envoy.tap.responses("eds", began) if CLUSTER in one.names]
    assert len(pushed) <= 2, "endpoints went round in a loop"


async def test_or_08_endpoints_are_asked_first_on_a_new_stream(booted):
    """Envoy reconnects while a cluster warms and so asks for endpoints first: all is answered, nothing waits for CDS."""
    envoy = envoy_of(booted)
    tap = envoy.tap
    tap.swallowed = lambda response: response.type == "eds"
    booted.put("new", service("new"), endpoint_slice("new-1", "new", booted.address(21)))
    await booted.until(lambda: starved(envoy))
    tap.swallowed = lambda response: False
    streams = tap.streams
    tap.cut()
    began = time.monotonic()
    await booted.until(lambda: warmed(envoy))
    assert time.monotonic() - began < 5.0
    first = [one.type for one in tap.requests if one.stream == streams + 1]
    assert first[0] != "cds", "the premise: Envoy does not ask for clusters while one is warming"
    await booted.settled()
    report = await booted.ask("new.shop")
    assert set(report.statuses) == {200}


async def starved(envoy):
    """Whether a cluster is warming whose endpoints were lost on the way."""
    return bool(envoy.tap.lost) and not await warmed(envoy)


async def test_or_09_cluster_vanished_across_a_restart(booted):
    """A cluster that warms when the control plane dies, and is deleted before it is back, is gone in two seconds."""
    envoy = envoy_of(booted)
    tap = envoy.tap
    tap.swallowed = lambda response: response.type == "eds"
    booted.put("ghost", service("ghost"), endpoint_slice("ghost-1", "ghost", booted.address(21)))
    await booted.until(lambda: starved(envoy))
    await booted.end(kill=True)
    tap.swallowed = lambda response: False
    booted.drop("ghost")
    await booted.start()
    await booted.until(lambda: answered(tap), 8.0)
    began = time.monotonic()
    await booted.until(lambda: warmed(envoy))

    async def vanished():
        return "out/shop/ghost/80::" not in await envoy.get("/clusters")

    await booted.until(vanished)
    assert time.monotonic() - began < 2.0
    report = await booted.ask("app.shop")
    assert set(report.statuses) == {200}


async def answered(tap):
    """Whether the last stream got an answer."""
    return any(one.stream == tap.streams for one in tap.responses())


async def test_or_01_a_new_listener_comes_with_its_cluster(booted):
    """A Service that selects the client's pod gives it an inbound listener: from its first connection on it serves."""
    application = await booted.application("client-app", 12)
    address = booted.address(11)
    annotations = {"xdscp.io/explicit-address": address, "xdscp.io/app-address": application}
    booted.put("client", pod("client", address, {"app": "client"}, annotations=annotations))
    await booted.settled()
    began = time.monotonic()
    booted.put("own", service("own", (8080, 8080), selector={"app": "client"}))
    statuses = set()
    async with aiohttp.ClientSession() as http:

        async def served():
            try:
                async with http.get(f"http://{address}:8080/") as answer:
                    statuses.add(answer.status)
            except aiohttp.ClientError:
                return False  # not bound yet
            return True

        await booted.until(served)
        for _ in range(20):
            await served()
    assert statuses == {200}
    pushed = [one.type for one in envoy_of(booted).tap.responses(since=began)]
    assert pushed.index("cds") < pushed.index("lds")


async def test_or_01_a_change_of_all_types_is_in_order(booted):
    """One write touches clusters, endpoints, listeners and routes: they come in this order, removals behind the ACKs."""
    envoy = envoy_of(booted)
    began = time.monotonic()
    booted.put(
        "app",
        service("app", (80, 8080), (81, 8080)),
        endpoint_slice("app-1", "app", booted.address(21)),
        service("own", (8080, 8080), selector={"app": "client"}),
        policy("app", "app", connection={"connectTimeout": "2s"}),
    )
    await booted.settled()
    pushed = [one for one in envoy.tap.responses(since=began) if one.names]
    firsts = list(dict.fromkeys(one.type for one in pushed))
    assert firsts == [type for type in ("cds", "eds", "lds", "rds", "vhds") if type in firsts]
    assert {"cds", "eds", "lds"} < set(firsts)
