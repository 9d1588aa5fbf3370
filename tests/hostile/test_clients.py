"""Clients that mean harm: a witness beside each is served in time, memory stays bounded, only their own stream ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import threading
import time

import grpc
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fleet import ACK, CDS, DATA, EDS, HEADERS, LDS, PING, RDS, SETTINGS, VHDS, frame
from tests.hostile.peer import RST_STREAM, Peer, data, framed, headers, request
from tests.protocol.fixtures import CDS as CLUSTERS
from tests.protocol.fixtures import EDS as ENDPOINTS
from tests.protocol.fixtures import StreamEnded, connected
from tests.protocol.test_hostile_clients import ended, varint, with_node

BOTH = pytest.mark.parametrize("incremental", [False, True], ids=["sotw", "delta"])
SECONDS = 1.5
"""How long a flood lasts."""


def lasting(seconds=SECONDS):
    """Yields until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield


def flood(control, frames, seconds=SECONDS, opening=b""):
    """Sends the same frames over and over; connects again when cut off. Returns the connections used."""
    connections = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connections += 1
        with Peer(control.port) as peer:
            peer.send(opening)
            while time.monotonic() < deadline and peer.send(frames, 0.5):
                pass
    return connections


# -- messages


@BOTH
async def test_lc_10_first_messages_that_are_none(attacked, incremental):
    """Malformed bytes, nodes of 10 MB, nested 100,000 deep, of wrong types, with NUL: INVALID_ARGUMENT each."""
    nested = b""
    for _ in range(100_000):  # lengths grow, so an honest nesting of that depth takes about a megabyte
        if len(nested) > 900_000:
            break
        nested = b"\x2a" + varint(len(nested)) + nested
    metadata = [
        b"\x0a\x05xdscp\x12" + varint(len(value)) + value
        for value in (b"\x11" + b"\0" * 8, b"\x1a\x01x", b"\x20\x01", b"\x2a\x00", b"\x32\x00", b"\x08\x00")
    ]
    node = b"\x0a\x0aattacker/1"
    messages = [
        b"\xff\xff\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        os.urandom(2000),
        b"",
        with_node(b"", incremental),
        with_node(b"\x0a\x00", incremental),
        with_node(b"\x0a\x08shop/a\x00b", incremental),
        with_node(b"\x0a\x09../../etc", incremental),
        with_node(b"\x0a" + varint(10_000_000) + b"a" * 10_000_000, incremental),
        with_node(node + b"\x1a" + varint(len(nested) + 2) + b"\x0a" + varint(len(nested)) + nested, incremental),
        with_node(node + b"\x1a" + varint(10_000_000) + b"\x0a" * 10_000_000, incremental),
        *(with_node(node + b"\x1a" + varint(len(each) + 2) + b"\x0a" + varint(len(each)) + each, incremental) for each in metadata),
        request("", incremental=incremental),
    ]  # fmt: skip
    with attacked() as control:
        for raw in messages:
            async with connected(control.address, incremental) as stream:
                await stream.raw(raw)
                assert await ended(stream) == grpc.StatusCode.INVALID_ARGUMENT, raw[:100]


@BOTH
async def test_se_11_a_message_over_the_limit(attacked, incremental):
    """33 MB sent, and 100 MB announced, end their stream."""
    with attacked() as control:
        async with connected(control.address, incremental) as stream:
            try:
                await stream.raw(b"\0" * (33 << 20))
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            else:
                assert await ended(stream) == grpc.StatusCode.RESOURCE_EXHAUSTED
        with Peer(control.port) as peer:
            peer.open(incremental=incremental)
            peer.send(frame(DATA, 0, 1, b"\x00" + struct.pack(">I", 100 << 20) + b"x" * 1000))
            assert peer.ended()


@BOTH
async def test_se_11_a_million_names(attacked, incremental):
    """A subscription of a million names ends its stream with INVALID_ARGUMENT."""
    with attacked() as control:
        async with connected(control.address, incremental) as stream:
            await stream.send(ENDPOINTS, [f"out/hostile/service-{number}/80" for number in range(1_000_000)])
            assert await ended(stream) == grpc.StatusCode.INVALID_ARGUMENT


def test_se_11_refused_requests_leave_nothing(control):
    """Requests of 20 MB that are refused one after another leave no memory behind."""
    body = framed(request(EDS, names=["n" * 190] * 105_000))

    def refused(count):
        for _ in range(count):
            with Peer(control.port) as peer:
                peer.open()
                peer.pour(body, timeout=10, patience=2)
                assert peer.ended()
        return control.rss

    before = refused(3)
    assert refused(5) - before < 30


async def test_se_11_names_to_the_limit_again_and_again(attacked):
    """Subscriptions of 90,000 names each, as many as fit in the time: served or ended, and forgotten."""
    names = [f"{number}" for number in range(90_000)]
    body = request(EDS, names=names)
    with attacked() as control:
        for _ in lasting():
            with Peer(control.port) as peer:
                peer.open(1, body)
                assert any(type_ in {DATA, RST_STREAM} for type_, *_ in peer.frames(5))


@BOTH
async def test_sw_17_many_types(attacked, incremental):
    """Requests for 20,000 types leave neither state nor metrics nor a log that grows with them; the stream goes on."""
    request_type = DeltaDiscoveryRequest if incremental else DiscoveryRequest
    kinds = [request_type(type_url=f"type.googleapis.com/{number}").SerializeToString() for number in range(20_000)]
    with attacked() as control:
        series, written = len(control.metrics()), len(control.log)
        with Peer(control.port) as peer:
            peer.open(1, request("type.googleapis.com/x", incremental=incremental), incremental)
            body = b"".join(map(framed, kinds))
            assert peer.pour(body, timeout=15, patience=2) == len(body)
            peer.pour(framed(request(CDS, incremental=incremental)))
            assert any(type_ == DATA for type_, *_ in peer.frames(10))
        assert len(control.metrics()) <= series + 2
        assert len(control.log) - written < 100_000


async def test_se_11_denials_that_are_not_read(attacked):
    """A client that asks for names of a foreign type and never reads the answers is soon not read from."""
    body = framed(
        DeltaDiscoveryRequest(
            type_url="type.googleapis.com/x", resource_names_subscribe=["n" * 10_000 + str(n) for n in range(10)]
        ).SerializeToString()
    )
    with attacked(memory=30) as control, Peer(control.port, window=0) as peer:
        peer.open(1, request("type.googleapis.com/x", names=["n"]))
        assert peer.pour(body * 1000, timeout=5) < 10_000_000


async def test_lc_10_a_rejection_with_three_megabytes(attacked):
    """An `error_detail` of 3 MB with line breaks and control characters is one bounded, escaped line of the log."""
    with attacked() as control:
        start = len(control.log)
        async with connected(control.address, True) as stream:
            await stream.send(CLUSTERS, id="shop/liar-1")
            answer = await stream.next()
            evil = f'{answer.names[0]}: \n{{"level": "error", "event": "forged"}}\r\x1b[2J\x00' + "x" * 3_000_000
            await stream.nack(answer, evil)
            control.logged('"event": "(response refused)"', start=start)
            held = control.get("/syncz")
            assert len(held) < 100_000
        for line in control.log[start:].splitlines():
            assert json.loads(line)["event"] != "forged"
            assert len(line) < 10_000
        assert "\x1b" not in control.log[start:]
        control.until(
            lambda: not [each for each in control.problems() if each["reason"] == "Refused"], what="no refusal"
        )


async def test_se_11_rejections_without_end(attacked):
    """A client that connects and refuses all, over and over, costs the others no more than any connection does."""
    with attacked() as control:
        body = request(CDS, node="shop/refuser-1")
        rejected = 0
        for _ in lasting():
            with Peer(control.port) as peer:
                peer.open(1, body)
                message = b""
                for type_, _, _, payload in peer.frames(2):
                    message += payload if type_ == DATA else b""
                    if len(message) >= 5 and len(message) >= 5 + int.from_bytes(message[1:5], "big"):
                        break
                response = DeltaDiscoveryResponse.FromString(message[5:])
                nack = DeltaDiscoveryRequest(type_url=CDS, response_nonce=response.nonce)
                nack.error_detail.message = "no"
                peer.send(data(1, nack.SerializeToString()))
                rejected += 1
        assert rejected > 5


# -- HTTP/2


@pytest.mark.parametrize("window", [0, 1 << 30], ids=["unread", "read"])
async def test_se_11_requests_that_flood(attacked, window):
    """A client that sends requests as fast as it may, whether or not it reads, is held back by flow control."""
    stale = DeltaDiscoveryRequest(type_url=CDS, response_nonce="ffff").SerializeToString()
    with attacked(memory=30) as control, Peer(control.port, window) as peer:
        peer.open(1, request(CDS))
        peer.pour(framed(stale) * 1_000_000, timeout=SECONDS)


@pytest.mark.parametrize("window", [0, 1 << 30], ids=["unread", "read"])
async def test_se_11_subscriptions_that_flood(attacked, window):
    """A client that takes up and drops names without end is answered no faster than it reads."""
    names = ["out/hostile/witness/80", *(f"out/hostile/service-{number}/80" for number in range(20))]
    on = DeltaDiscoveryRequest(type_url=EDS, resource_names_subscribe=[*names, "x", "y"])
    off = DeltaDiscoveryRequest(type_url=EDS, resource_names_unsubscribe=[*names, "x"])
    both = framed(on.SerializeToString()) + framed(off.SerializeToString())
    with attacked(memory=30) as control, Peer(control.port, window) as peer:
        peer.open(1, request(EDS, names=["z"]))
        peer.pour(both * 20_000, timeout=SECONDS)


async def test_se_11_wildcards_that_flood(attacked):
    """A client that takes up and drops all clusters without end, and reads, costs the others little."""
    on = DeltaDiscoveryRequest(type_url=CDS, resource_names_subscribe=["*"])
    off = DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["*"])
    both = framed(on.SerializeToString()) + framed(off.SerializeToString())
    with attacked(memory=30) as control, Peer(control.port) as peer:
        peer.open(1, request(CDS))
        peer.pour(both * 20_000, timeout=SECONDS)


async def test_cve_2023_44487_rapid_reset(attacked):
    """Streams opened and reset at once, thousands of them, cost the server little."""
    with attacked() as control:
        before = control.descriptors
        for _ in lasting():
            with Peer(control.port) as peer:
                for stream in range(1, 2001, 2):
                    if not peer.send(headers(stream) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)), 0.5):
                        break
        control.until(lambda: control.descriptors <= before + 2, what="the connections being closed")


async def test_cve_2023_44487_rapid_reset_of_served_streams(attacked):
    """As above, with a first request each, so that the server has something to take back."""
    with attacked() as control:
        for number, _ in enumerate(lasting()):
            with Peer(control.port) as peer:
                for stream in range(1, 101, 2):
                    body = request(CDS, node=f"shop/reset-{number}-{stream}")
                    reset = frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
                    if not peer.send(headers(stream) + data(stream, body) + reset, 0.5):
                        break


@pytest.mark.parametrize(
    "frames",
    [
        frame(PING, 0, 0, b"12345678") * 500,
        frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 500,
        frame(SETTINGS, ACK, 0, b"") * 500,
        frame(2, 0, 1, b"\0\0\0\0\x10") * 500,
        frame(8, 0, 0, struct.pack(">I", 1)) * 500,
        frame(DATA, 0, 1, b"") * 500,
        frame(99, 0, 0, b"unknown") * 500,
    ],
    ids=["ping", "settings", "settings-ack", "priority", "window", "empty-data", "unknown"],
)
async def test_se_11_control_frames_that_flood(attacked, frames):
    """Floods of control frames starve nobody."""
    with attacked() as control:
        flood(control, frames, opening=headers(1))


async def test_se_11_headers_without_end(attacked):
    """A header block continued without end, and one of a megabyte, end their connection."""
    with attacked() as control:
        opening = frame(HEADERS, 0, 1, b"\x83\x86")
        flood(control, frame(9, 0, 1, b"\x00\x04evil" + b"\x7f\x81\x07" + b"x" * 1000) * 100, opening=opening)
        with Peer(control.port) as peer:
            literal = b"\x00\x04evil" + b"\x7f" + varint((1 << 20) - 127) + b"x" * (1 << 20)
            frames = [
                frame(HEADERS if at == 0 else 9, 0, 1, literal[at : at + 16000]) for at in range(0, len(literal), 16000)
            ]
            peer.send(b"".join(frames))
            assert peer.ended() or peer.closed()


async def test_se_11_ten_thousand_streams_on_a_connection(attacked):
    """More than a hundred streams of one connection are refused; the hundred are served."""
    with attacked() as control, Peer(control.port) as peer:
        body = request(CDS, node="shop/many-1")
        served = control.metric("xdscp_streams")
        for stream in range(1, 20_001, 2):
            if not peer.send(headers(stream) + data(stream, body), 1):
                break
            if stream % 199 == 0:
                list(peer.frames(0.001))
        time.sleep(0.5)
        assert control.metric("xdscp_streams") - served <= 101


async def test_se_11_half_open_connections(attacked):
    """Three hundred connections that say nothing, or half of a greeting, or open streams and then nothing."""
    with attacked() as control:
        before = control.descriptors
        sockets = []
        for number in range(300):
            each = socket.create_connection(("127.0.0.1", control.port))
            each.sendall(
                (b"", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))[number % 3]
            )
            sockets.append(each)
        peers = [Peer(control.port) for _ in range(50)]
        for peer in peers:
            peer.open(1)
            peer.send(frame(DATA, 0, 1, b"\x00\x00\x00\x10\x00half"))
        time.sleep(SECONDS)
        for each in (*sockets, *peers):
            each.close()
        control.until(lambda: control.descriptors <= before + 2, what="the connections being closed")


async def test_se_11_a_byte_at_a_time(attacked):
    """A first request that trickles in byte by byte is served, and holds nobody up."""
    with attacked() as control, Peer(control.port) as peer:
        for byte in headers(1) + data(1, request(CDS)):
            peer.send(bytes((byte,)))
            time.sleep(0.002)
        assert any(type_ == DATA for type_, *_ in peer.frames(3))


async def test_se_11_garbage_on_the_port(attacked):
    """TLS, HTTP/1.1 and random bytes are no HTTP/2: the connection is closed."""
    random.seed(7)
    garbage = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)]
    with attacked() as control:
        for number in range(200):
            with socket.create_connection(("127.0.0.1", control.port)) as one:
                one.sendall(garbage[number] if number < 2 else random.randbytes(random.randrange(24, 5000)))
            with Peer(control.port) as peer:
                peer.send(random.randbytes(3000))
                if number < 20:
                    assert peer.ended(1, 3) or peer.closed()


async def test_se_11_methods_that_are_none(attacked):
    """Unknown methods are UNIMPLEMENTED."""
    with attacked() as control:
        async with grpc.aio.insecure_channel(control.address) as channel:
            for name in (
                "/x/y",
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/x",
                "/" + "a" * 5000,
                "/%00/../",
            ):
                with pytest.raises(grpc.aio.AioRpcError) as found:
                    await channel.unary_unary(name)(b"x")
                assert found.value.code() == grpc.StatusCode.UNIMPLEMENTED


# -- random


BODIES = [
    request(url, node="shop/fuzz-1", incremental=kind) for url in (CDS, EDS, LDS, RDS, VHDS) for kind in (True, False)
]


@st.composite
def mutated(draw):
    """A request with a few bytes changed, cut or repeated."""
    body = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(body) - 1, 0)))
        match draw(st.integers(0, 3)):
            case 0:
                body[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case 1:
                del body[at : at + draw(st.integers(1, 10))]
            case 2:
                body[at:at] = draw(st.binary(max_size=20))
            case _:
                body += body[at : at + 50]
    return bytes(body)


def test_fz_d_mutated_requests(attacked):
    """Streams of mutated requests, random bytes and valid ones in any order end or are served; the server lives."""
    with attacked() as control:

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.lists(st.one_of(mutated(), st.sampled_from(BODIES), st.binary(max_size=60)), min_size=1, max_size=6))
        def fuzz(messages):
            with Peer(control.port) as peer:
                peer.open(1, messages[0])
                for each in messages[1:]:
                    peer.send(data(1, each))
                peer.send(frame(PING, 0, 0, b"answer!!"))
                assert any(type_ in {PING, 7} for type_, *_ in peer.frames(3)), "the connection hangs"

        fuzz()


def test_fz_d_types_and_nonces_in_any_order(attacked):
    """Many streams that speak the protocol's words in random order, with right, old, foreign and no nonces."""
    random.seed(20)
    urls = [CDS, EDS, LDS, RDS, VHDS, "type.googleapis.com/envoy.nothing", ""]
    names = [
        "*",
        "",
        "out/hostile/witness/80",
        "out/hostile/service-1/80",
        "out/80",
        "out/80/hostile.witness",
        "\0",
        "x" * 300,
    ]

    def one(control, number):
        generator = random.Random(number)
        nonces = ["", "0", "1", "ffffffffffffffff", "-1", "x" * 100]
        with Peer(control.port) as peer:
            peer.open(1, request(generator.choice(urls[:5]), node=f"shop/random-{number}"))
            for _ in range(40):
                made = DeltaDiscoveryRequest(
                    type_url=generator.choice(urls[:6]), response_nonce=generator.choice(nonces)
                )
                made.resource_names_subscribe.extend(generator.sample(names, generator.randrange(4)))
                made.resource_names_unsubscribe.extend(generator.sample(names, generator.randrange(3)))
                if generator.random() < 0.3:
                    made.error_detail.message = generator.choice(["", "out/80", "no\nno"])
                for name in generator.sample(names, generator.randrange(2)):
                    made.initial_resource_versions[name] = "1"
                peer.send(data(1, made.SerializeToString()))
                if generator.random() < 0.3:
                    for type_, _, _, payload in peer.frames(0.02):
                        if type_ == DATA and len(payload) > 5:
                            found = payload.rfind(b"\x2a")  # the nonce is near the end
                            nonces.append(payload[found + 2 : found + 2 + payload[found + 1]].decode(errors="ignore"))

    with attacked() as control:
        start = len(control.log)
        threads = [threading.Thread(target=one, args=(control, number)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert "Traceback" not in control.log[start:]


async def test_a_good_stream_survives_a_bad_one_on_its_connection(control):
    """Two streams of one connection: the malformed one ends, the other is served."""
    async with grpc.aio.insecure_channel(control.address) as channel:
        method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        good, bad = channel.stream_stream(method)(), channel.stream_stream(method)()
        await bad.write(b"\xff")
        assert await bad.code() == grpc.StatusCode.INVALID_ARGUMENT
        await good.write(request(CDS))
        assert DeltaDiscoveryResponse.FromString(await asyncio.wait_for(good.read(), 5)).resources
        good.cancel()


__all__ = ["StreamEnded"]
