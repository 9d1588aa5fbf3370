"""Rejected responses: the catalogue's group NK and M10, by a raw client."""

from __future__ import annotations

import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, VHDS, connected, resource, serving

BOTH = pytest.mark.parametrize("incremental", [False, True])
ABC = [resource(CDS, name) for name in "abc"]


@BOTH
async def test_nk_02_recovery(incremental):
    """After a rejection the corrected resource comes on the same stream."""
    async with serving(*ABC) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.ack(await stream.next())
        control.publish(*ABC[1:], resource(CDS, "a", "2"))
        await stream.nack(await stream.next(), "Error adding/updating cluster(s) a: no")
        control.publish(*ABC[1:], resource(CDS, "a", "3"))
        answer = await stream.next(2)
        assert answer.bodies["a"] == b"cds:a:3"


@BOTH
async def test_nk_03_visible_until_corrected(incremental):
    """A rejection shows message and nonce, and is cleared when a later version is accepted."""
    async with serving(*ABC) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.ack(await stream.next())
        control.publish(*ABC[1:], resource(CDS, "a", "2"))
        bad = await stream.next()
        await stream.nack(bad, "a: not good")
        await stream.silent()
        state = control.streams[0].state()["cds"]
        assert (state.last_error, state.nonce_sent) == ("a: not good", bad.nonce)
        assert state.nonce_acked != bad.nonce
        kind, type, message, versions = control.events[-1]
        assert (kind, type, message, list(versions)) == ("rejected", CDS, "a: not good", ["a"])
        control.publish(*ABC[1:], resource(CDS, "a", "2"), resource(CDS, "d"))
        await stream.ack(await stream.next())
        await stream.silent()
        assert control.streams[0].state()["cds"].last_error == "a: not good"
        control.publish(*ABC, resource(CDS, "d"))
        good = await stream.next()
        await stream.ack(good)
        await stream.silent()
        state = control.streams[0].state()["cds"]
        assert (state.last_error, state.nonce_acked) == ("", good.nonce)


@BOTH
async def test_nk_04_blast_radius(incremental):
    """A client that rejects one type gets the others, and other clients get all."""
    async with serving(*ABC, resource(EDS, "a")) as (control, address):
        async with connected(address, incremental) as one, connected(address, incremental) as two:
            for stream in (one, two):
                await stream.send(CDS)
                await stream.ack(await stream.next())
                await stream.send(EDS, ["a"])
                await stream.ack(await stream.next(), () if incremental else ["a"])
                await stream.silent(0.05)
            control.publish(*ABC[1:], resource(CDS, "a", "2"), resource(EDS, "a", "2"))
            await one.nack(await one.next(), "a: no")
            await two.ack(await two.next())
            for stream in (one, two):
                answer = await stream.next()
                assert (answer.type, answer.bodies) == (EDS, {"a": b"eds:a:2"})


@BOTH
async def test_rejection_does_not_loop(incremental):
    """A client that rejects whatever comes is not sent the same again and again (M10)."""
    async with serving(*ABC) as (_, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        count = 0
        while True:
            try:
                answer = await stream.next(0.5)
            except TimeoutError:
                break
            count += 1
            await stream.nack(answer, "a: never")
        assert count <= 3


@BOTH
async def test_rejected_beside_good(incremental):
    """What came with a rejected resource is sent again without it, and the rejected one keeps its last good version."""
    async with serving(*ABC) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        await stream.ack(await stream.next())
        control.publish(resource(CDS, "a", "2"), resource(CDS, "b", "2"), ABC[2])
        await stream.nack(await stream.next(), "Error adding/updating cluster(s) b: no such thing")
        answer = await stream.next()
        expected = {"a": b"cds:a:2"} if incremental else {"a": b"cds:a:2", "b": b"cds:b:1", "c": b"cds:c:1"}
        assert answer.bodies == expected
        await stream.ack(answer)
        await stream.silent()


async def test_address_in_use_is_tried_again():
    """A listener rejected because of the one that it replaces is sent again when that is removed."""
    async with serving(resource(LDS, "old")) as (control, address), connected(address) as stream:
        await stream.send(LDS)
        await stream.ack(await stream.next())
        control.publish(resource(LDS, "new"))
        await stream.nack(await stream.next(), "error adding listener 'new': address in use")
        removal = await stream.next()
        assert removal.removed == ["old"]
        await stream.ack(removal)
        assert (await stream.next()).names == ["new"]


async def test_names_that_contain_each_other():
    """A message is attributed to whole names: out/t/x is not blamed for out/t/x.y."""
    async with serving() as (control, address), connected(address) as stream:
        await stream.send(VHDS)
        await stream.ack(await stream.next())
        control.publish(resource(VHDS, "out/t/x"), resource(VHDS, "out/t/x.y"))
        await stream.nack(await stream.next(), "virtual host out/t/x.y: bad")
        assert (await stream.next()).names == ["out/t/x"]
        assert list(control.events[-2][3]) == ["out/t/x.y"]


@BOTH
async def test_stale_rejection_changes_nothing(incremental):
    """A rejection of a response that is not the last one is not counted."""
    async with serving(*ABC) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        first = await stream.next()
        await stream.ack(first)
        control.publish(*ABC[1:], resource(CDS, "a", "2"))
        second = await stream.next()
        await stream.nack(first, "late")
        await stream.silent()
        assert not [event for event in control.events if event[0] == "rejected"]
        await stream.ack(second)
        await stream.silent()
        assert control.streams[0].settled


@BOTH
async def test_a_bad_one_is_found_without_being_named(incremental):
    """A message that names nothing: after a pause the response is tried in parts, and only the bad one stays out."""
    many = [resource(CDS, f"n{number}") for number in range(40)]
    async with serving(*many) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        got, rejections = set(), 0
        while len(got) < 39:
            answer = await stream.next()
            if "n17" in answer.names:
                rejections += 1
                await stream.nack(answer, "Proto constraint validation failed")
            else:
                got |= set(answer.names)
                await stream.ack(answer)
        await stream.silent(1.5)
        assert rejections < 10
        events = [event for event in control.events if event[0] == "rejected"]
        assert [list(event[3]) for event in events] == [[]] * (rejections - 1) + [["n17"]]
        assert control.streams[0].state()["cds"].last_error


@BOTH
async def test_a_client_that_rejects_all_is_left_alone(incremental):
    """Who rejects whatever comes without a reason is tried a few times, and then not until something changes."""
    many = [resource(CDS, f"n{number}") for number in range(300)]
    async with serving(*many) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        count = 0
        while True:
            try:
                answer = await stream.next(2)
            except TimeoutError:
                break
            count += 1
            await stream.nack(answer, "no")
        assert count <= 25
        control.publish(*many[1:], resource(CDS, "n0", "2"))
        assert "n0" in (await stream.next()).names
