"""The control plane comes and goes; Envoys and their traffic do not notice, and what it says of them is true."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import aiohttp
import grpc
from envoy.service.discovery.v3 import discovery_pb2

from tests.envoy.manifests import endpoint_slice, service
from tests.envoy.recorder import DELTA, SERVICE

CHANGES = "listener_modified|listener_added|listener_removed|cluster_modified|cluster_added|cluster_removed"
CUT_ACK = ("INTERNAL", "Internal error from Core")
"""How the client's own gRPC calls the end of a stream that an ACK ran into."""
URL = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


async def booted(mesh, *more):
    """One service, one ready Envoy."""
    address = await mesh.application("a", 21)
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", address))
    mesh.put("more", *more)
    await mesh.start()
    envoy = await mesh.envoy()
    await mesh.settled()
    return envoy


async def back(envoy):
    """Whether Envoy is connected."""
    return await envoy.stat("control_plane.connected_state") == 1


async def test_lc_01_control_plane_dies(mesh):
    """Killed under 300 rps it stays down for 20 s (SotW: 3 s) and returns: no request fails, nothing is reconfigured."""
    envoy = await booted(mesh)
    before = await envoy.stats(CHANGES)
    async with mesh.load("app.shop", rate=300) as load:
        await load.last(150, 300)
        await mesh.end(kill=True)
        await asyncio.sleep(20 if mesh.incremental else 3)
        await mesh.start()
        assert await mesh.until(lambda: back(envoy), 10.0) < 10.0
        await mesh.settled()
        await asyncio.sleep(0.5)
    load.report.require_none_lost(1000)
    assert await envoy.stats(CHANGES) == before
    assert "listener_manager.listener_modified" in before
    assert not envoy.tap.rejections()


async def test_lc_01_unsynced_control_plane_answers_nothing(mesh):
    """A control plane that is back, but still reads a large folder, keeps the stream open and sends nothing."""
    envoy = await booted(mesh)
    many = [service(f"s{number}") for number in range(800)]
    async with mesh.load("app.shop", rate=300) as load:
        await load.last(30, 300)
        await mesh.end(kill=True)
        mesh.put("many", *many)
        began = time.time()
        await mesh.start()
        await mesh.until(lambda: back(envoy), 10.0)
        await mesh.until(lambda: has(envoy, "out/shop/s799/80"), 20.0)
    load.report.require_none_lost(300)
    synced = when(mesh, "source synced", began)
    first = time.time() - time.monotonic() + envoy.tap.responses(since=began - time.time() + time.monotonic())[0].time
    assert first > synced - 0.05
    assert await envoy.stat("cluster_manager.cluster_removed") == 0


def when(mesh, event, since):
    """When the control plane logged an event."""
    from datetime import datetime

    lines = [json.loads(line) for line in mesh.control_plane.process.log.read_text().splitlines() if line[:1] == "{"]
    moments = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines if line["event"] == event]
    return next(moment for moment in moments if moment > since)


async def has(envoy, cluster):
    """Whether Envoy has a cluster."""
    return f"{cluster}::" in await envoy.get("/clusters")


async def test_lc_11_sigterm_with_200_streams(delta_mesh):
    """Under churn with 200 streams: not ready at once, all streams end UNAVAILABLE, none got a removal, exit 0 in 5 s."""
    mesh = delta_mesh
    envoy = await booted(mesh)
    streams = [Idle(f"idle-{number}") for number in range(200)]
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(mesh.control_plane.xds, options=own) for _ in range(4)]
    tasks = [asyncio.create_task(each.run(channels[n % 4])) for n, each in enumerate(streams)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(each.answered.wait() for each in streams))
    churning = asyncio.create_task(churn(mesh))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    ready = asyncio.create_task(readiness(mesh.control_plane.admin))
    code = await mesh.end()
    seconds = time.monotonic() - began
    churning.cancel()
    ends = await asyncio.gather(*tasks)
    for channel in channels:
        await channel.close()
    assert code == 0
    assert seconds < 5.0
    ends = Counter(end for end in ends if end != CUT_ACK)
    assert {code for code, _ in ends} == {"UNAVAILABLE"}, ends
    assert not [name for each in streams for name in each.removed if not name.startswith("out/shop/churn-")]
    assert "unready" in await ready
    await envoy.tap.quiet(0.2)
    removed = [name for one in envoy.tap.responses(since=began) for name in one.removed]
    assert not [name for name in removed if "churn-" not in name]
    assert set((await mesh.ask("app.shop")).statuses) == {200}


class Idle:
    """A client that acknowledges all clusters and otherwise waits."""

    def __init__(self, name):
        self.name = name
        self.answered = asyncio.Event()
        self.removed = []

    async def run(self, channel):
        """Until the stream ends; how it ended."""
        call = channel.stream_stream(f"/{SERVICE}/{DELTA}")()
        first = discovery_pb2.DeltaDiscoveryRequest(type_url=URL)
        first.node.id = f"shop/{self.name}"
        first.node.metadata.update({"xdscp": {"role": "sidecar", "mode": "explicit"}})
        try:
            await call.write(first.SerializeToString())
            while (data := await call.read()) is not grpc.aio.EOF:
                response = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
                self.removed += response.removed_resources
                self.answered.set()
                answer = discovery_pb2.DeltaDiscoveryRequest(type_url=URL, response_nonce=response.nonce)
                await call.write(answer.SerializeToString())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        return (await call.code()).name, await call.details()


async def churn(mesh):
    """A change every 20 ms."""
    for number in range(500):
        mesh.put("churn", *(service(f"churn-{each}") for each in range(number % 7, 10)))
        await asyncio.sleep(0.02)


async def readiness(admin):
    """What `/readyz` says until it says nothing any more."""
    seen = set()
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{admin}/readyz") as answer:
                    seen.add("ready" if answer.status == 200 else "unready")
            except aiohttp.ClientError:
                return seen
            await asyncio.sleep(0.002)


async def test_lc_12_truthful_status(mesh):
    """SYNCED only when acknowledged, STALE while an ACK is lost; the convergence metric is as a stopwatch says."""
    envoy = await booted(mesh)

    async def status():
        types = (await mesh.control_plane.syncz())["shop/client"]
        return {name: types[name]["status"] for name in types}

    assert set((await status()).values()) == {"SYNCED"}
    samples = await mesh.control_plane.metrics()
    count, total = samples["xdscp_convergence_seconds_count"], samples["xdscp_convergence_seconds_sum"]

    envoy.tap.passing.clear()
    written = mesh.put("app", service("app"), endpoint_slice("app-1", "app", mesh.address(22)))

    async def stale():
        return (await status())["eds"] == "STALE"

    await mesh.until(stale)
    await asyncio.sleep(0.5)
    assert (await status())["eds"] == "STALE"
    sync = (await mesh.control_plane.syncz())["shop/client"]["eds"]
    assert sync["nonce_sent"] != sync["nonce_acked"]
    assert (await status())["cds"] == "SYNCED"
    envoy.tap.passing.set()
    stopwatch = time.monotonic() - written

    async def synced():
        return set((await status()).values()) == {"SYNCED"}

    await mesh.until(synced)
    samples = await mesh.control_plane.metrics()
    assert samples["xdscp_convergence_seconds_count"] == count + 1
    measured = samples["xdscp_convergence_seconds_sum"] - total
    assert abs(measured - stopwatch) < 0.2 * stopwatch


async def test_lc_12_the_dead_are_not_listed(mesh):
    """A node whose Envoy was killed is gone from /syncz at once, without an error."""
    envoy = await booted(mesh)
    await envoy.process.kill()

    async def gone():
        return not await mesh.control_plane.syncz()

    assert await mesh.until(gone) < 1.0


async def test_sw_18_hot_restart(mesh):
    """A second Envoy of the same node by hot restart: its stream overlaps with the first's; no request is lost."""
    address, other = await asyncio.gather(mesh.application("a", 21), mesh.application("b", 22))
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", address))
    await mesh.start()
    base = ("--base-id", str(mesh.number), "--drain-time-s", "1", "--parent-shutdown-time-s", "2")
    first = await mesh.envoy(flags=(*base, "--restart-epoch", "0"))
    async with mesh.load("app.shop", rate=300) as load:
        second = await mesh.envoy(flags=(*base, "--restart-epoch", "1"), ready=False)
        await mesh.until(lambda: taken_over(second), 15.0)
        assert first.tap.spans[0][1] > second.tap.spans[0][0], "the premise: both streams were open at a time"
        assert "shop/client" in await mesh.control_plane.syncz()
        await mesh.until(lambda: ended(first), 10.0)
        mesh.put("app", service("app"), endpoint_slice("app-1", "app", other))
        await mesh.settled()
    load.report.require_none_lost(300)
    assert set((await mesh.ask("app.shop")).instances) == {"b"}


async def test_sw_18_two_streams_of_one_node(mesh):
    """Both streams of a node are served while both are open; when the one closes, the other still gets what changes."""
    envoy = await booted(mesh)
    twin = Idle("client")
    async with grpc.aio.insecure_channel(mesh.control_plane.xds) as channel:
        running = asyncio.create_task(twin.run(channel))
        await asyncio.wait_for(twin.answered.wait(), 5.0)
        twin.answered.clear()
        mesh.put("more", service("more"))
        await asyncio.wait_for(twin.answered.wait(), 5.0)
        await mesh.until(lambda: has(envoy, "out/shop/more/80"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    mesh.put("more", service("other"))
    await mesh.until(lambda: has(envoy, "out/shop/other/80"))
    await mesh.settled()
    assert set(await mesh.control_plane.syncz()) == {"shop/client"}


async def taken_over(second):
    """Whether the second Envoy is live; both have the same admin address, so the epoch tells them apart."""
    try:
        info = json.loads(await second.get("/server_info"))
    except aiohttp.ClientError:
        return False  # between the first's and the second's
    return info["command_line_options"].get("restart_epoch") == 1 and info["state"] == "LIVE"


async def ended(envoy):
    """Whether the process has ended by itself."""
    return not envoy.process.running
