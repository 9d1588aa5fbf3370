"""Clients that mean harm or are broken end their own stream only."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from tests.protocol.fixtures import CDS, EDS, URL, StreamEnded, connected, resource, serving

BOTH = pytest.mark.parametrize("incremental", [False, True])
WORLD = [resource(CDS, "a"), resource(EDS, "a")]


async def ended(stream):
    """The status with which a stream ends."""
    with pytest.raises(StreamEnded) as found:
        while True:
            await stream.next()
    return found.value.code


def nested(depth):
    """An encoded Struct nested so deep."""
    inner = b""
    for _ in range(depth):
        value = b"\x2a" + varint(len(inner)) + inner
        entry = b"\x0a\x01a\x12" + varint(len(value)) + value
        inner = b"\x0a" + varint(len(entry)) + entry
        if len(inner) > 60_000:
            break
    return inner


def varint(value):
    """A protobuf varint."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def with_node(node, incremental):
    """A request for clusters with an encoded node."""
    url = URL[CDS].encode()
    if incremental:
        return b"\x0a" + varint(len(node)) + node + b"\x12" + varint(len(url)) + url
    return b"\x12" + varint(len(node)) + node + b"\x22" + varint(len(url)) + url


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x02\xff\xfe",
        with_node(b"\x0a\x03\xff\xfe\xfd", True),
        with_node(b"\x0a\x05shop/" + b"\x1a" + varint(len(nested(5000))) + nested(5000), True),
        with_node(b"\x0a\x01a" + b"\x12" + varint(300_000) + b"x" * 300_000, True),
    ],
    ids=["garbage", "length", "utf-8", "node utf-8", "nesting", "large node"],
)
async def test_lc_10_malformed_first_message(incremental, raw):
    """Bytes that are no request end the stream with INVALID_ARGUMENT; another stream is served."""
    async with serving(*WORLD) as (control, address):
        async with connected(address, incremental) as bad, connected(address, incremental) as good:
            await bad.raw(raw)
            assert await ended(bad) == grpc.StatusCode.INVALID_ARGUMENT
            await good.send(CDS)
            assert (await good.next()).names == ["a"]
            assert [event[0] for event in control.events if event[0] != "sent"] == ["refused", "join"]


@BOTH
async def test_lc_10_malformed_later_message(incremental):
    """Bytes that are no request end a stream that was served."""
    async with serving(*WORLD) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.next()
        await stream.raw(b"\xff\xff")
        assert await ended(stream) == grpc.StatusCode.INVALID_ARGUMENT
        while control.streams:
            await asyncio.sleep(0.01)
        assert not control.server.streams


@BOTH
async def test_lc_10_long_error_message(incremental):
    """An error of 3 MB is a rejection with a shortened message."""
    async with serving(*WORLD) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.nack(await stream.next(), "a: " + "x" * 3_000_000)
        await stream.silent()
        assert 1000 < len(control.streams[0].state()["cds"].last_error) < 20_000


@BOTH
async def test_lc_10_an_exception_ends_one_stream(incremental, monkeypatch):
    """When publishing to a stream raises, that stream ends and the others get the snapshot."""
    async with serving(*WORLD) as (control, address):
        async with connected(address, incremental) as one, connected(address, incremental) as two:
            for stream in (one, two):
                await stream.send(CDS)
                await stream.ack(await stream.next())
            await two.silent(0.05)

            def broken(*_):
                raise RuntimeError("broken")

            monkeypatch.setattr(control.streams[0]._session._order, "subscriptions", broken)
            control.publish(resource(CDS, "a", "2"))
            assert await ended(one) == grpc.StatusCode.INTERNAL
            assert (await two.next()).bodies == {"a": b"cds:a:2"}


@BOTH
async def test_se_11_too_many_names(incremental):
    """A million names end the stream."""
    async with serving(*WORLD) as (_, address), connected(address, incremental) as stream:
        await stream.send(EDS, [f"n{number}" for number in range(200_000)])
        assert await ended(stream) == grpc.StatusCode.INVALID_ARGUMENT


async def test_se_11_names_that_add_up():
    """A subscription that grows request by request is bounded as well."""
    async with serving(*WORLD) as (_, address), connected(address, True) as stream:
        for part in range(3):
            await stream.send(EDS, [f"{part}-{number}" for number in range(50_000)])
        assert await ended(stream) == grpc.StatusCode.INVALID_ARGUMENT


@BOTH
async def test_se_11_oversized_message(incremental):
    """A message over the limit ends its stream."""
    async with serving(*WORLD) as (_, address), connected(address, incremental) as stream:
        try:
            await stream.raw(b"\0" * (33 << 20))
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        else:
            assert await ended(stream) in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}


async def test_m17_a_large_reconnect_request_is_read():
    """60,000 reported versions, over 4 MB, are read."""
    known = {f"out/namespace-{number}/service-{number}/8080/subset-{number}": "0" * 16 for number in range(60_000)}
    assert discovery_pb2.DeltaDiscoveryRequest(initial_resource_versions=known).ByteSize() > 4 << 20
    async with serving(*WORLD) as (_, address), connected(address, True) as stream:
        await stream.send(CDS, known=known)
        answer = await stream.next()
        assert answer.names == ["a"]
        await stream.ack(answer)
        assert len((await stream.next()).removed) == 60_000


@BOTH
async def test_se_11_many_types(incremental):
    """Ten thousand type URLs leave no state, and the stream is served."""
    async with serving(*WORLD) as (control, address), connected(address, incremental) as stream:
        for number in range(10_000):
            await stream.send(f"type.googleapis.com/{number}")
        await stream.send(CDS)
        assert (await stream.next(30)).names == ["a"]
        assert list(control.streams[0].state()) == ["cds"]


@BOTH
async def test_a_reader_that_stops_costs_one_response_a_type(incremental):
    """A client that does not read, while configuration changes, holds one response of a type and no more."""
    big = "x" * 500_000
    async with serving(resource(CDS, "a", big)) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        while not control.streams or not control.streams[0].state():
            await asyncio.sleep(0.01)
        for number in range(200):
            control.publish(resource(CDS, "a", f"{number}{big}"))
        assert len(control.streams[0]._outbox) <= 1
        await stream.ack(await stream.next())
        assert (await stream.next()).bodies["a"].startswith(b"cds:a:199x")


async def test_lc_11_stop_closes_streams_without_empty_pushes():
    """At shutdown streams end with UNAVAILABLE within the grace, nothing is pushed, and no new one is taken."""
    async with serving(*WORLD) as (control, address):
        async with connected(address, True) as one, connected(address, False) as two:
            for stream in (one, two):
                await stream.send(CDS)
                await stream.ack(await stream.next())
            started = asyncio.get_running_loop().time()
            await control.server.stop(4)
            assert asyncio.get_running_loop().time() - started < 4.5
            for stream in (one, two):
                with pytest.raises(StreamEnded) as found:
                    await stream.next()
                assert found.value.code == grpc.StatusCode.UNAVAILABLE
