"""Real Envoys on hand-made snapshots: what the session takes from measurements is true of them."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.protocol.envoys import backend, free_port, running
from tests.protocol.fixtures import serving
from tests.protocol.meshes import cluster, endpoints, listener, table, virtual_host

pytestmark = pytest.mark.envoy
BOTH = pytest.mark.parametrize("incremental", [False, True], ids=["sotw", "delta"])


def routes(incremental, name, *hosts):
    """A route table with (host, target), in the shape of a protocol."""
    if incremental:
        return [table(name), *(virtual_host(name, host, target) for host, target in hosts)]
    return [table(name, *hosts)]


async def settled(control):
    """Until every stream has all."""
    async with asyncio.timeout(5):
        while not (control.streams and all(stream.settled for stream in control.streams)):
            await asyncio.sleep(0.01)


def rejected(control):
    """What Envoys rejected."""
    return [event for event in control.events if event[0] == "rejected"]


@BOTH
async def test_life_of_a_route(incremental, tmp_path):
    """Routes, tables and clusters come, change and go while Envoy runs, and nothing is ever rejected or waited for."""
    first, second = free_port(), free_port()
    async with backend("one") as one, backend("two") as two:
        base = [cluster("a"), endpoints("a", one), listener("l1", first, "out/80")]
        hosts = routes(incremental, "out/80", ("x.test", "a"), ("y.test", "!yes"))
        async with serving(*base, *hosts) as (control, address), running(address, tmp_path, incremental) as envoy:
            await envoy.eventually(first, "x.test", (200, "one"), timeout=10)
            await envoy.eventually(first, "y.test", (200, "yes"))
            more = [*base, cluster("b"), endpoints("b", two)]
            control.publish(*more, *routes(incremental, "out/80", ("x.test", "b"), ("z.test", "!zed")))
            await envoy.eventually(first, "x.test", (200, "two"))
            await envoy.eventually(first, "z.test", (200, "zed"))
            await envoy.eventually(first, "y.test", 404)
            control.publish(
                *more,
                listener("l2", second, "out/81", "second"),
                *routes(incremental, "out/80", ("x.test", "b")),
                *routes(incremental, "out/81", ("q.test", "a"), ("r.test", "!are")),
            )
            await envoy.eventually(second, "q.test", (200, "one"))
            await envoy.eventually(second, "r.test", (200, "are"))
            control.publish(*base, *routes(incremental, "out/80", ("x.test", "a")))
            await envoy.eventually(first, "x.test", (200, "one"))
            await settled(control)
            clusters = await envoy.get("/clusters")
            assert "\nb::" not in clusters
            control.publish(
                cluster("a"), listener("l1", first, "out/80"), *routes(incremental, "out/80", ("x.test", "a"))
            )
            await envoy.eventually(first, "x.test", 503)
            stats = await envoy.stats("init_fetch_timeout|update_rejected|listener_modified")
            assert not any(stats.values()), stats
            assert not rejected(control)


@BOTH
async def test_or_01_moving_a_route_loses_nothing(incremental, tmp_path):
    """Under load, a route moves from an old cluster to a new one whose endpoints come late; no request fails."""
    port = free_port()
    async with backend("old") as old, backend("new") as new:
        ingress = listener("l1", port, "out/80")

        def mesh(name, *ports):
            return [ingress, cluster(name), endpoints(name, *ports), *routes(incremental, "out/80", ("x.test", name))]

        async with serving(*mesh("c0", old)) as (control, address):
            async with running(address, tmp_path, incremental) as envoy:
                await envoy.eventually(port, "x.test", (200, "old"), timeout=10)
                answers, stop = [], asyncio.Event()

                async def load():
                    while not stop.is_set():
                        answers.append(await envoy.ask(port, "x.test"))

                workers = [asyncio.create_task(load()) for _ in range(4)]
                for number in range(1, 20):
                    control.publish(*mesh(f"c{number}", new if number % 2 else old))
                    await settled(control)
                stop.set()
                await asyncio.gather(*workers)
                await envoy.eventually(port, "x.test", (200, "new"))
                assert {status for status, _ in answers} == {200}
                assert len(answers) > 50
                assert not rejected(control)


@BOTH
async def test_changed_cluster_warms_at_once(incremental, tmp_path):
    """A changed cluster gets its endpoints unasked, and its acknowledgement is not withheld to Envoy's time limit."""
    port = free_port()
    async with backend("one") as one:
        rest = [endpoints("a", one), listener("l1", port, "out/80"), *routes(incremental, "out/80", ("x.test", "a"))]
        async with serving(cluster("a"), *rest) as (control, address):
            async with running(address, tmp_path, incremental) as envoy:
                await envoy.eventually(port, "x.test", (200, "one"), timeout=10)
                for timeout in (2, 3, 4):
                    control.publish(cluster("a", timeout), *rest)
                    await settled(control)
                await envoy.eventually(port, "x.test", (200, "one"))


@BOTH
async def test_cluster_without_endpoints_does_not_delay(incremental, tmp_path):
    """Endpoints that do not exist are answered at once, so Envoy starts (OR-13) and the cluster fills later."""
    port = free_port()
    async with backend("one") as one:
        empty = [cluster(f"e{number}") for number in range(50)]
        rest = [listener("l1", port, "out/80"), *routes(incremental, "out/80", ("x.test", "e0"), ("y.test", "!yes"))]
        async with serving(*empty, *rest) as (control, address):
            async with running(address, tmp_path, incremental) as envoy:
                await envoy.eventually(port, "y.test", (200, "yes"), timeout=5)
                await envoy.eventually(port, "x.test", 503)
                control.publish(*empty, endpoints("e0", one), *rest)
                await envoy.eventually(port, "x.test", (200, "one"))
                assert not any((await envoy.stats("init_fetch_timeout")).values())


@BOTH
async def test_reconnect_changes_nothing(incremental, tmp_path):
    """After a cut stream Envoy comes back and is in sync without a listener or a cluster touched."""
    port = free_port()
    async with backend("one") as one:
        mesh = [cluster("a"), endpoints("a", one), listener("l1", port, "out/80")]
        mesh += routes(incremental, "out/80", ("x.test", "a"))
        async with serving(*mesh) as (control, address), running(address, tmp_path, incremental) as envoy:
            await envoy.eventually(port, "x.test", (200, "one"), timeout=10)
            await settled(control)
            before = await envoy.stats("listener_modified|listener_added|cluster_modified|cluster_added")
            control.streams[0].close(grpc.StatusCode.UNAVAILABLE, "a test")
            async with asyncio.timeout(10):
                while [event[0] for event in control.events].count("join") < 2:
                    await asyncio.sleep(0.02)
            await settled(control)
            await envoy.eventually(port, "x.test", (200, "one"))
            assert await envoy.stats("listener_modified|listener_added|cluster_modified|cluster_added") == before
            assert not rejected(control)


@BOTH
async def test_dx_11_real_rejection_and_revert(incremental, tmp_path):
    """A cluster that Envoy rejects keeps its last good version, what came beside it is applied, and a revert heals."""
    port = free_port()
    async with backend("one") as one, backend("two") as two:
        rest = [endpoints("a", one), endpoints("b", two), listener("l1", port, "out/80")]
        rest += routes(incremental, "out/80", ("x.test", "a"), ("y.test", "b"))
        only_a = [cluster("a"), endpoints("a", one), listener("l1", port, "out/80")]
        async with serving(*only_a, *routes(incremental, "out/80", ("x.test", "a"))) as (control, address):
            async with running(address, tmp_path, incremental) as envoy:
                await envoy.eventually(port, "x.test", (200, "one"), timeout=10)
                control.publish(cluster("a", -1), cluster("b"), *rest)
                await envoy.eventually(port, "y.test", (200, "two"))
                assert await envoy.ask(port, "x.test") == (200, "one")
                async with asyncio.timeout(5):  # Envoy does not say which: it is found by halves
                    while list(rejected(control)[-1][3]) != ["a"]:
                        await asyncio.sleep(0.01)
                control.publish(cluster("a"), cluster("b"), *rest)
                await settled(control)
                assert control.streams[0].state()["cds"].last_error == ""
                assert await envoy.ask(port, "x.test") == (200, "one")
