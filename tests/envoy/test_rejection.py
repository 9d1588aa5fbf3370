"""Configuration that Envoy refuses: what stays, what goes on, who is told, and that nothing is sent round and round."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.envoy.manifests import endpoint_slice, pod, policy, route, service

UNBINDABLE = "192.0.2.1"
"""TEST-NET-1: a valid address that no machine has, so that Envoy cannot bind it."""


@pytest.fixture
async def booted(mesh):
    """A mesh with one service and two Envoys that are ready."""
    address = await mesh.application("a", 21)
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", address))
    mesh.put("second", *mesh.client_pod("second", 12))
    await mesh.start()
    await mesh.envoy()
    await mesh.envoy("second", 12)
    return mesh


def bind(mesh, address):
    """Have the client's Envoy listen on an address."""
    annotations = {"xdscp.io/explicit-address": address}
    return mesh.put("client", pod("client", mesh.address(11), {"app": "client"}, annotations=annotations))


async def refused(mesh):
    """Whether /syncz shows that the client refused its listeners."""
    return (await mesh.control_plane.syncz())["shop/client"]["lds"]["status"] == "NACK"


async def test_nk_02_to_04_a_refused_listener(booted):
    """Envoy cannot bind: told in /syncz, metric and log; once sent, not again; the rest goes on; corrected in 2 s."""
    envoy, other = booted.envoys.values()
    nacks = 'xdscp_nacks_total{type="lds"}'
    before = (await booted.control_plane.metrics())[nacks]
    began = bind(booted, UNBINDABLE)
    await booted.until(lambda: refused(booted))

    # NK-03: visible
    sync = (await booted.control_plane.syncz())["shop/client"]["lds"]
    assert UNBINDABLE in sync["last_error"]
    assert sync["nonce_sent"] != sync["nonce_acked"]
    assert (await booted.control_plane.metrics())[nacks] == before + 1
    blamed = [each for each in await booted.control_plane.problems() if each["name"] == "client"]
    assert blamed
    assert UNBINDABLE in blamed[0]["message"]
    assert "response refused" in booted.control_plane.process.log.read_text()

    # NK-04: the other types of this node and all of the other node go on
    address = await booted.application("b", 22)
    booted.put("app", service("app"), endpoint_slice("app-1", "app", address), service("more"))
    for client in (11, 12):
        await booted.until(lambda client=client: answers(booted, client, "b"))
    for each in (envoy, other):
        await booted.until(lambda each=each: known(each, "out/shop/more/80"))
    assert not other.tap.rejections()

    # M10: not sent round and round
    assert len(envoy.tap.rejections()) == 1
    assert len(envoy.tap.responses("lds", began)) == 1

    # NK-02: corrected on the same stream
    streams = envoy.tap.streams
    began = bind(booted, booted.address(11))
    assert await booted.until(lambda: accepted(booted)) < 2.0
    assert envoy.tap.streams == streams
    await booted.settled()
    assert not [each for each in await booted.control_plane.problems() if each["name"] == "client"]
    assert set((await booted.ask("app.shop")).instances) == {"b"}


async def accepted(mesh):
    """Whether /syncz shows the client's listeners as taken."""
    return (await mesh.control_plane.syncz())["shop/client"]["lds"]["status"] == "SYNCED"


async def answers(mesh, client, instance):
    """Whether requests of a client go to one instance only."""
    return set((await mesh.ask("app.shop", 10, client=client)).instances) == {instance}


async def known(envoy, cluster):
    """Whether Envoy has a cluster."""
    return f"{cluster}::" in await envoy.get("/clusters")


async def test_dx_11_rejected_then_reverted(booted):
    """What was acknowledged before is sent again after a rejection, since what Envoy holds then is not known."""
    envoy, _ = booted.envoys.values()
    await envoy.tap.quiet()
    first = envoy.tap.responses("lds")[-1]
    bind(booted, UNBINDABLE)
    await booted.until(lambda: refused(booted))
    began = bind(booted, booted.address(11))
    await booted.until(lambda: accepted(booted))
    await envoy.tap.quiet(0.5)
    (again,) = envoy.tap.responses("lds", began)
    assert again.bodies["outbound"] == first.bodies["outbound"]
    assert len(envoy.tap.rejections()) == 1
    assert set((await booted.ask("app.shop")).statuses) == {200}


async def test_nk_06_bad_edit_of_a_good_policy(booted):
    """A policy edited into an invalid one keeps serving as it was, and says why; the service serves after a restart too."""
    envoy, _ = booted.envoys.values()
    good = policy("app", "app", routes=[route(requestHeaders={"set": [{"name": "x-good", "value": "1"}]})])
    booted.put("policy", good)
    await booted.settled()
    bad = policy("app", "app", routes=[route(timeouts={"request": "soon"})])
    await envoy.tap.quiet()
    before = len(envoy.tap.log)
    booted.put("policy", bad)

    async def reported():
        return [each for each in await booted.control_plane.problems() if each["kind"] == "TrafficPolicy"]

    await booted.until(reported)
    (problem,) = await reported()
    assert "soon" in problem["message"]
    assert problem["name"] == "app"
    await asyncio.sleep(0.2)
    assert len(envoy.tap.log) == before, "last good stays: there is nothing to push"
    await booted.end()
    await booted.start()
    await booted.until(reported)
    began = time.monotonic()
    await booted.until(lambda: back(envoy), 8.0)
    assert time.monotonic() - began < 8.0
    assert set((await booted.ask("app.shop")).statuses) == {200}


async def back(envoy):
    """Whether Envoy is connected."""
    return await envoy.stat("control_plane.connected_state") == 1
