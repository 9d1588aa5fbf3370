"""Resources that Envoy refuses and that our own validation never lets through, made by hand, on our own server.

An Envoy's NACK of clusters is not atomic: the valid ones of the response, and removals, are applied.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import aiohttp
from envoy.config.cluster.v3 import cluster_pb2

from examples.demo.network import Loopback
from tests.envoy.mesh import start_envoy
from tests.envoy.recorder import Tap
from tests.protocol.envoys import backend, free_port
from tests.protocol.fixtures import CDS, message, serving
from tests.protocol.meshes import cluster, endpoints, listener, table, virtual_host
from xdscp.address import parsed
from xdscp.injector.bootstrap import Ports, Proxy, envoy_bootstrap
from xdscp.resources.core import Key


def bad(name):
    """A static cluster with a host name: Envoy refuses it."""
    body = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.STATIC)
    body.connect_timeout.FromSeconds(1)
    body.load_assignment.cluster_name = name
    lb = body.load_assignment.endpoints.add().lb_endpoints.add()
    lb.endpoint.address.socket_address.address = "not.an.address.example"
    lb.endpoint.address.socket_address.port_value = 80
    return message(CDS, name, body)


class World:
    """A hand-made configuration: hosts a and b, each routed to a cluster."""

    def __init__(self, port, one, two, incremental):
        self.port, self.ports, self.incremental = port, (one, two), incremental
        self.clusters = {"one": cluster("one"), "two": cluster("two")}
        self.routes = {"a": "one", "b": "two"}

    def resources(self):
        """All of it."""
        found = [listener("in", self.port, "t"), *self.clusters.values()]
        for name, each in self.clusters.items():
            if each.body != bad(name).body:
                found.append(endpoints(name, self.ports[name in {"two", "three"}]))
        if self.incremental:
            return [*found, table("t"), *(virtual_host("t", host, to, host) for host, to in self.routes.items())]
        return [*found, table("t", *self.routes.items())]


@asynccontextmanager
async def running(folder, incremental, number):
    """Server, recorder and Envoy for a world; (world, control, tap, ask)."""
    async with backend("1") as one, backend("2") as two:
        world = World(free_port(), one, two, incremental)
        async with serving(*world.resources()) as (control, address):
            tap = await Tap(address, "envoy").start()
            proxy = Proxy(Key("shop", "pod-1"), mode="explicit")
            made = envoy_bootstrap(
                proxy, parsed(tap.address), Ports(15000, None, None), "delta" if incremental else "sotw"
            )
            envoy = await start_envoy(
                "envoy", made, folder, Loopback(f"127.99.{number}.1"), 1, ("--disable-hot-restart",)
            )
            try:
                await envoy.ready()
                async with aiohttp.ClientSession() as http:

                    async def ask(host):
                        async with http.get(f"http://127.0.0.1:{world.port}/", headers={"host": host}) as answer:
                            return answer.status, await answer.text()

                    yield world, control, tap, ask
            finally:
                await envoy.stop()
                await tap.stop()
            assert not tap.invariants.broken, tap.invariants.broken


async def eventually(ask, host, expected, timeout=2.0):
    """Until a request is answered as expected; the seconds that it took."""
    began = time.monotonic()
    got = None
    while time.monotonic() - began < timeout:
        got = await ask(host)
        if got == expected:
            return time.monotonic() - began
        await asyncio.sleep(0.01)
    raise AssertionError(f"{host}: {got}, expected {expected}")


async def test_nk_04_m10_a_refused_cluster(envoy_binary, variant, tmp_path):
    """One bad cluster: its route keeps the old target, good ones of the same push work, and no round trips follow."""
    incremental = variant == "delta"
    async with running(tmp_path, incremental, 1 + incremental) as (world, control, tap, ask):
        assert await ask("a") == (200, "1")
        world.clusters |= {"bad": bad("bad"), "three": cluster("three")}
        world.routes |= {"a": "bad", "c": "three"}
        if not incremental:
            world.routes["a"] = "one"  # one table for all hosts: it would wait as a whole for the bad cluster
        began = time.monotonic()
        control.publish(*world.resources())
        await eventually(ask, "c", (200, "2"))
        await asyncio.sleep(1.0)
        assert await ask("a") == (200, "1"), "the route to the refused cluster keeps its old target"
        assert len(tap.rejections(began)) == 1
        assert len(tap.responses("cds", began)) <= 2
        assert control.events.count(next(event for event in control.events if event[0] == "rejected")) == 1

        # NK-04: other types go on
        world.ports = (world.ports[1], world.ports[1])
        control.publish(*world.resources())
        await eventually(ask, "a", (200, "2"))

        # NK-02: corrected without a new stream
        world.clusters["bad"] = cluster("bad")
        world.routes["a"] = "bad"
        world.routes["d"] = "two"
        control.publish(*world.resources())
        await eventually(ask, "d", (200, "2"))
        await eventually(ask, "a", (200, "2"))
        assert len(tap.rejections(began)) == 1
        assert tap.streams == 1
        await tap.quiet(0.3)
        (stream,) = control.streams
        assert stream.settled
        assert not [state.last_error for state in stream.state().values() if state.last_error]


async def test_dx_11_a_refused_change_is_reverted(envoy_binary, variant, tmp_path):
    """A good cluster is changed into a bad one and back: the good one is sent again, and traffic never stops."""
    incremental = variant == "delta"
    async with running(tmp_path, incremental, 3 + incremental) as (world, control, tap, ask):
        good = world.clusters["one"]
        world.clusters["one"] = bad("one")
        control.publish(*world.resources())
        async with asyncio.timeout(2):
            while not tap.rejections():
                await asyncio.sleep(0.01)
        assert await ask("a") == (200, "1")
        world.clusters["one"] = good
        began = time.monotonic()
        control.publish(*world.resources())
        await tap.quiet(0.4)
        assert any("one" in each.names for each in tap.responses("cds", began))
        assert len(tap.responses("cds", began)) == 1
        assert await ask("a") == (200, "1")
        (stream,) = control.streams
        assert stream.settled


async def test_nk_04_removals_beside_a_refused_cluster(envoy_binary, variant, tmp_path):
    """A push with a bad cluster and a removal: the removal is not lost, and what is bad is not sent again with it."""
    incremental = variant == "delta"
    async with running(tmp_path, incremental, 5 + incremental) as (world, control, tap, ask):
        del world.clusters["two"], world.routes["b"]
        world.clusters["bad"] = bad("bad")
        began = time.monotonic()
        control.publish(*world.resources())
        async with asyncio.timeout(2):
            while not tap.rejections():
                await asyncio.sleep(0.01)
        await tap.quiet(0.5)
        assert (await ask("b"))[0] == 404
        assert await ask("a") == (200, "1")
        assert len(tap.rejections(began)) <= 2
        assert set(tap.invariants.sent["cds"]) - {"bad"} == {"one"}
