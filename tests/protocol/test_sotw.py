"""State of the world on the wire: the catalogue's group SW, by a raw client."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, SDS, VHDS, StreamEnded, connected, resource, serving

ABCD = [resource(CDS, name) for name in "ABCD"]


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("names", [(), ("*",), ("*", "A")])
@pytest.mark.parametrize("type", [CDS, LDS])
async def test_sw_01_wildcard_legacy_and_explicit(incremental, names, type):
    """All is sent in one response, whatever way all is asked for, and a name asked for besides is not there twice."""
    async with serving(*(resource(type, name) for name in "ABCD")) as (_, address):
        async with connected(address, incremental) as stream:
            await stream.send(type, names)
            answer = await stream.next()
            assert sorted(answer.names) == list("ABCD")
            assert answer.nonce
            await stream.ack(answer, () if incremental else names)
            await stream.silent()


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("type", [EDS, RDS, SDS])
async def test_sw_03_empty_names_are_not_wildcard(incremental, type):
    """Endpoints, routes and secrets are sent by name only; the stream lives on and answers names."""
    async with serving(resource(type, "a"), resource(type, "b")) as (_, address):
        async with connected(address, incremental) as stream:
            await stream.send(type)
            await stream.silent()
            await stream.send(type, ["a"])
            answer = await stream.next()
            assert answer.names == ["a"]
            if incremental:
                await stream.ack(answer, unsubscribe=["a"])
            else:
                await stream.ack(answer)
            await stream.silent()
            await stream.send(type, ["b"], nonce="" if incremental else answer.nonce)
            assert (await stream.next()).names == ["b"]


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_04_named_subset(incremental):
    """Only what is named is sent, now and on updates; in SotW as the complete set of the names."""
    async with serving(*ABCD) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS, ["B", "D"])
        answer = await stream.next()
        assert sorted(answer.names) == ["B", "D"]
        await stream.ack(answer, () if incremental else ["B", "D"])
        control.publish(*ABCD[1:3], resource(CDS, "A", "2"), resource(CDS, "D", "2"))
        answer = await stream.next()
        assert sorted(answer.names) == (["D"] if incremental else ["B", "D"])


async def test_sw_04_absent_name_is_told_by_absence():
    """A name that does not exist is answered at once: gRPC takes absence in LDS and CDS as nonexistence."""
    async with serving(*ABCD) as (_, address), connected(address, False) as stream:
        await stream.send(CDS, ["nope"], role="grpc")
        assert (await stream.next()).names == []


async def test_sw_05_growth_that_looks_like_an_ack():
    """Names added with the nonce of the last response are answered, though nothing changed."""
    async with serving(resource(EDS, "a"), resource(EDS, "b")) as (_, address), connected(address, False) as stream:
        await stream.send(EDS, ["a"])
        answer = await stream.next()
        await stream.ack(answer, ["a"])
        await stream.ack(answer, ["a", "b"])
        assert "b" in (await stream.next(1)).names


async def test_sw_05_growth_before_the_first_answer():
    """Names added with an empty nonce, while the first answer is on its way, are not taken as stale."""
    async with serving(resource(EDS, "a"), resource(EDS, "b")) as (_, address), connected(address, False) as stream:
        await stream.send(EDS, ["a"])
        await stream.send(EDS, ["a", "b"])
        first = await stream.next()
        await stream.ack(first, ["a", "b"])
        assert "b" in first.names or "b" in (await stream.next(1)).names


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_08_foreign_nonce_on_a_new_stream(incremental):
    """The first request of a stream is answered, whatever nonce and version it brings from another server."""
    async with serving(*ABCD) as (_, address), connected(address, incremental) as stream:
        await stream.send(CDS, nonce="7", version="old")
        assert len((await stream.next()).names) == 4


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_10_silence_after_ack(incremental):
    """When all is acknowledged nothing is sent, and an equal snapshot changes nothing."""
    async with serving(*ABCD, resource(EDS, "A")) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.ack(await stream.next())
        await stream.send(EDS, ["A"])
        await stream.ack(await stream.next(), () if incremental else ["A"])
        await stream.silent(0.5)
        control.publish(*(resource(CDS, name) for name in "ABCD"), resource(EDS, "A"))
        await stream.silent(0.5)
        assert control.streams[0].settled


async def test_sw_12_nack_is_error_detail():
    """A rejection that carries the version of what the client has is a rejection."""
    async with serving(resource(EDS, "a")) as (control, address), connected(address, False) as stream:
        await stream.send(EDS, ["a", "b"])
        first = await stream.next()
        await stream.ack(first, ["a", "b"])
        control.publish(resource(EDS, "a"), resource(EDS, "b"))
        second = await stream.next()
        assert second.names == ["b"]
        await stream.send(EDS, ["a", "b"], nonce=second.nonce, version=second.version, error="b: bad")
        await stream.silent()
        assert control.events[-1][0] == "rejected"
        assert list(control.events[-1][3]) == ["b"]
        assert control.streams[0].state()["eds"].last_error == "b: bad"


@pytest.mark.parametrize("type", [CDS, LDS])
async def test_sw_13_sotw_sends_complete_sets(type):
    """A change of one in a hundred brings all in SotW and one in delta."""
    many = [resource(type, f"n{number}") for number in range(100)]
    async with serving(*many) as (control, address):
        async with connected(address, False) as sotw, connected(address, True) as delta:
            for stream in (sotw, delta):
                await stream.send(type)
                await stream.ack(await stream.next())
            await sotw.silent(0.05)
            control.publish(*many[1:], resource(type, "n0", "2"))
            assert len((await sotw.next()).names) == 100
            changed = await delta.next()
            assert changed.names == ["n0"]


async def test_sw_13_sotw_endpoints_are_minimal():
    """A change of one in a hundred endpoint sets brings that one."""
    many = [resource(EDS, f"n{number}") for number in range(100)]
    names = [one.name for one in many]
    async with serving(*many) as (control, address), connected(address, False) as stream:
        await stream.send(EDS, names)
        await stream.ack(await stream.next(), names)
        await stream.silent(0.05)
        control.publish(*many[1:], resource(EDS, "n0", "2"))
        assert (await stream.next()).names == ["n0"]


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_14_endpoints_disappear(incremental):
    """Endpoints that vanish while their cluster stays are replaced by an assignment without any."""
    async with serving(resource(CDS, "a"), resource(EDS, "a")) as (control, address):
        async with connected(address, incremental) as stream:
            await stream.send(CDS)
            await stream.ack(await stream.next())
            await stream.send(EDS, ["a"])
            await stream.ack(await stream.next(), () if incremental else ["a"])
            control.publish(resource(CDS, "a"))
            answer = await stream.next()
            assert answer.names == ["a"]
            assert answer.bodies["a"] == b"\n\x01a"
            await stream.ack(answer, () if incremental else ["a"])
            await stream.silent()
            control.publish(resource(CDS, "a"), resource(EDS, "a"))
            assert (await stream.next()).bodies["a"] == b"eds:a:1"


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_16_node_only_on_the_first_message(incremental):
    """Later requests carry no node, for any type."""
    async with serving(*ABCD, resource(EDS, "a")) as (_, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.next()
        await stream.send(EDS, ["a"])
        assert (await stream.next()).type == EDS


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"id": ""}, "node.id"),
        ({"id": "nonsense"}, "node.id"),
        ({"id": "a/b\0"}, "node.id"),
        ({"metadata": {}}, "role"),
        ({"metadata": {"xdscp": "sidecar"}}, "role"),
        ({"metadata": {"xdscp": {"role": "sidecar"}}}, "mode"),
        ({"metadata": {"xdscp": {"role": ["sidecar"], "mode": "explicit"}}}, "role"),
        ({"role": "root"}, "role"),
    ],
)
async def test_sw_16_first_message_must_say_who_it_is(incremental, node, says):
    """A stream without a usable node ends with what is missing, and nothing is registered."""
    async with serving(*ABCD) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS, **node)
        with pytest.raises(StreamEnded) as ended:
            await stream.next()
        assert ended.value.code == grpc.StatusCode.INVALID_ARGUMENT
        assert says in ended.value.details
        assert control.events == [("refused", "unknown_node")]


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("later", [False, True])
async def test_sw_16_type_url_is_required(incremental, later):
    """A request without a type ends the stream."""
    async with serving(*ABCD) as (_, address), connected(address, incremental) as stream:
        if later:
            await stream.send(CDS)
            await stream.next()
        await stream.send("")
        with pytest.raises(StreamEnded) as ended:
            await stream.next()
        assert ended.value.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("url", ["type.googleapis.com/envoy.service.runtime.v3.Runtime", "garbage", VHDS])
async def test_sw_17_unsupported_type_sotw(url):
    """SotW says nothing of a type that it does not serve, counts it, and goes on."""
    async with serving(*ABCD, resource(VHDS, "t/x")) as (control, address), connected(address, False) as stream:
        await stream.send(url, ["x"])
        await stream.silent()
        await stream.send(CDS)
        assert len((await stream.next()).names) == 4
        assert "unsupported" in [event[0] for event in control.events]


async def test_sw_17_unsupported_type_delta():
    """Delta says that the names do not exist, once, and goes on."""
    async with serving(*ABCD) as (_, address), connected(address, True) as stream:
        await stream.send("garbage", ["x", "y"])
        answer = await stream.next()
        assert (answer.type, answer.names, answer.removed) == ("garbage", [], ["x", "y"])
        await stream.ack(answer)
        await stream.send("other")
        await stream.silent()
        await stream.send(CDS)
        assert len((await stream.next()).names) == 4


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_18_two_streams_of_one_node(incremental):
    """Both are served, and the end of the first changes nothing for the second."""
    async with serving(*ABCD) as (control, address), connected(address, incremental) as second:
        async with connected(address, incremental) as first:
            for stream in (first, second):
                await stream.send(CDS)
                await stream.ack(await stream.next())
        while len(control.streams) > 1:
            await asyncio.sleep(0.01)
        control.publish(*ABCD[1:], resource(CDS, "A", "2"))
        assert "A" in (await second.next()).names
        assert [stream.client.id for stream in control.streams] == ["shop/pod-1"]


@pytest.mark.parametrize("incremental", [False, True])
async def test_sw_19_no_optional_features(incremental):
    """No ttl, no wrapped resources in SotW, no resource errors."""
    async with serving(*ABCD) as (_, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        raw = (await stream.next()).raw
        if incremental:
            assert not any(one.HasField("ttl") or one.HasField("cache_control") for one in raw.resources)
        else:
            assert all(one.type_url.endswith("v3.Cluster") for one in raw.resources)
        assert not raw.resource_errors


@pytest.mark.parametrize("incremental", [False, True])
async def test_unsynced_control_plane_answers_nothing(incremental):
    """Before it is ready nothing is sent, then all that was asked for."""
    async with serving(ready=False) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.send(EDS, ["A"])
        await stream.silent(0.3)
        control.publish(*ABCD, resource(EDS, "A"))
        assert [(await stream.next()).type, (await stream.next()).type] == [CDS, EDS]
