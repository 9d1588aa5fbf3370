"""Plain TCP services, which in explicit mode have ports of the proxy of their own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from tests.envoy.features.instance import Instance

pytestmark = pytest.mark.asyncio(loop_scope="module")
TCP = True


async def opened(stage, port=19000, source="", host=11):
    """A connection through the proxy, and the name of the instance behind it."""

    async def connected():
        try:
            local = (source, 0) if source else None
            return await asyncio.open_connection(stage.address(host), port, local_addr=local)
        except ConnectionRefusedError:
            return None

    reader, writer = await stage.until(connected, what="listening")
    return (await reader.readline()).decode().strip(), reader, writer


async def names(stage, count, **more):
    """How many of `count` connections each instance got."""
    found = Counter()
    for _ in range(count):
        name, _, writer = await opened(stage, **more)
        writer.close()
        found[name] += 1
    return found


async def test_weighted(stage):
    """Of 400 connections a fifth goes to v2: between 48 and 112, which chance hardly ever leaves."""
    await stage.apply("tcp/weighted")
    counted = await names(stage, 400)
    assert counted["ledger-v1"] + counted["ledger-v2"] == 400
    assert 48 <= counted["ledger-v2"] <= 112


async def test_bytes_arrive(stage):
    """What is sent comes back, in both directions as it was."""
    await stage.apply("tcp/weighted")
    _, reader, writer = await opened(stage)
    sent = bytes(range(256)) * 400
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent
    writer.close()


async def test_source_ip(stage):
    """Connections of one address share an endpoint, those of others have others."""
    await stage.apply("tcp/source-ip")
    found = set()
    for host in range(101, 111):
        counted = await names(stage, 3, source=stage.address(host))
        assert len(counted) == 1
        found.update(counted)
    assert found == {"ledger-v1", "ledger-v2"}


async def test_idle_timeout(stage):
    """A connection that moves lives on; half a second after it fell silent both sides are closed."""
    await stage.apply("tcp/idle-timeout")
    name, reader, writer = await opened(stage)
    for _ in range(3):
        await asyncio.sleep(0.3)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
    began = time.monotonic()
    assert await reader.read() == b""
    assert 0.4 <= time.monotonic() - began < 1.0
    writer.close()

    async def ended():
        return stage.instances[name].ended

    await stage.until(ended, what="closed at the application")


async def test_explicit_ports_of_a_mesh_policy(stage):
    """The proxy listens where the MeshPolicy says: for HTTP, and for a TCP service of another namespace; then as before."""
    await stage.apply("mesh-policy/explicit", more=[stage.pod("ledger-v2", "accounts")])
    assert set(await names(stage, 4, port=16379)) == {"ledger-v2"}

    async def moved():
        try:
            return await stage.ask("marker.shop", port=15101)
        except OSError:
            return None

    assert (await stage.until(moved, what="port 15101")).status in {502, 503}
    await stage.apply("load-balancer/random")

    async def back():
        try:
            return await stage.reviews()
        except OSError:
            return None

    assert (await stage.until(back, what="port 15001")).status == 200
    with pytest.raises(OSError):
        await asyncio.open_connection(stage.address(11), 15101)


async def test_workload_with_a_proxy(stage):
    """Requests to a Workload go through its proxy to the application's own port; its own requests and connections go out
    by the ports that it names."""
    application = await Instance("till", "127.0.0.1", port=0).start()
    stage.instances["till"] = application
    address = stage.address(71)
    replacing = {
        "192.0.2.10": address,
        "18080": application.port,
        "explicit: {address: 127.0.0.1": f"explicit: {{address: {address}",
    }
    await stage.apply("workload/proxy", replacing)
    envoy = await stage.sidecar("till", 71)
    try:
        answer = await stage.ask("till.shop")
        assert answer.instance == "till"
        assert await envoy.stat("cluster.in/8080.upstream_rq_total") == 1
        assert (await stage.ask("till.shop", proxy=address, port=15201)).instance == "till"
        assert set(await names(stage, 20, host=71, port=16379)) == {"ledger-v1", "ledger-v2"}
    finally:
        await stage.envoys.pop("till").stop()
