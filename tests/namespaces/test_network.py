"""Pods as real network namespaces: what is intercepted, what is not, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from examples.demo.fleet import Fleet
from examples.demo.network import FOLDER, Network, remove_stale
from examples.demo.processes import output

pytestmark = pytest.mark.namespaces

IPV4 = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ())


@pytest_asyncio.fixture
async def network():
    """A bridge without pods."""
    made = Network()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def listening(place, port, word):
    """A server in a place that says a word to who connects."""
    bound = place.socket(IPV4)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("0.0.0.0", port))

    async def say(_, writer):
        writer.write(word)
        writer.close()

    async with await asyncio.start_server(say, sock=bound):
        yield


async def heard(place, host, port):
    """What is said to a connection from a place."""
    made = place.socket(IPV4)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        with made:
            await loop.sock_connect(made, (host, port))
            return await loop.sock_recv(made, 100)


async def test_outbound_connections_come_to_15001_but_those_of_loopback_do_not(network):
    """A virtual IP that nobody has is answered by who listens on 15001; loopback is left alone."""
    pod = await network.namespace("client")

    async with listening(pod, 15001, b"outbound"), listening(pod, 9000, b"own"):
        assert await heard(pod, "10.96.0.77", 80) == b"outbound"
        assert await heard(pod, "127.0.0.1", 9000) == b"own"


async def test_inbound_connections_come_to_15006_except_to_the_ports_of_envoy(network):
    """Any port of a pod is intercepted for its peers; readiness is not."""
    client, server = await network.namespace("client"), await network.namespace("server")
    allow = "OUTPUT -p tcp -d 10.97.0.0/24 -j ACCEPT"  # the client's own interception is not what is tested here
    await output(*client.command("iptables", "-w", "-t", "nat", "-I", *allow.split()))

    async with listening(server, 15006, b"inbound"), listening(server, 15021, b"ready"):
        assert await heard(client, server.address, 8080) == b"inbound"
        assert await heard(client, server.address, 15021) == b"ready"


async def test_a_pod_that_comes_back_with_its_address_is_found_at_once(network):
    """Its peers remember the hardware address, so it keeps it."""
    client, server = await network.namespace("client"), await network.namespace("server", 50)
    await output(*client.command("iptables", "-w", "-t", "nat", "-F", "OUTPUT"))
    for _ in range(2):
        async with listening(server, 15006, b"here"):
            assert await heard(client, server.address, 80) == b"here"
        await network.remove(server)
        server = await network.namespace("server", 50)


async def test_namespaces_of_a_killed_run_are_removed_and_those_of_a_running_one_stay():
    """The process id in the name decides."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale, used = f"xdscp-{ended.pid}-0000-test", f"xdscp-{os.getpid()}-0000-test"
    for name in (stale, used):
        await output("ip", "netns", "add", name)
    try:
        await remove_stale()

        assert not (FOLDER / stale).exists()
        assert (FOLDER / used).exists()
    finally:
        await output("ip", "netns", "delete", used)


def _of_this_process() -> set[str]:
    """The namespaces that this process made; other workers have theirs at the same time."""
    return {path.name for path in FOLDER.glob(f"xdscp-{os.getpid()}-*")} if FOLDER.exists() else set()


@pytest.mark.envoy
async def test_a_request_to_a_virtual_ip_goes_through_both_envoys_and_nothing_stays():
    """The frontend dials the Service's IP; client's and server's Envoy both count the request."""
    fleet = Fleet.prepared("interception")
    names = _of_this_process()
    try:
        await fleet.start()
        async with fleet.caller("frontend", "catalog") as caller:
            report = await caller.send(20)
        server = fleet.pods["catalog-a"]
        hosts = await fleet.pods["frontend"].envoy.hosts("out/shop/catalog/80")

        assert report.instances == {"catalog-a": 20}
        assert hosts[server.address].requests == 20
        assert (await server.application.counters())["received"] == 20
        assert await server.envoy.stat("cluster.in/8080.upstream_rq_total") == 20
    finally:
        await fleet.stop()

    assert names == _of_this_process()
    assert not fleet.folder.exists()
