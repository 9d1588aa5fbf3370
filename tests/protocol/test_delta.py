"""Delta on the wire: the catalogue's group DX, by a raw client."""

from __future__ import annotations

import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, SDS, VHDS, connected, resource, serving

AB = [resource(CDS, "a"), resource(CDS, "b")]


async def test_dx_02_unsubscribing_names_while_wildcard():
    """A name that is in the wildcard is sent again, and one that does not exist is told to be removed."""
    async with serving(*AB) as (_, address), connected(address) as stream:
        await stream.send(CDS, ["*"])
        await stream.ack(await stream.next())
        await stream.send(CDS, ["b"])
        await stream.ack(await stream.next())
        await stream.send(CDS, ["nope"])
        answer = await stream.next()
        assert (answer.names, answer.removed) == ([], ["nope"])
        await stream.ack(answer)
        await stream.send(CDS, unsubscribe=["b", "nope"])
        answer = await stream.next()
        assert (answer.names, answer.removed) == (["b"], ["nope"])


async def test_dx_02_unsubscribing_the_wildcard():
    """Without the wildcard only names are sent; an unsubscribed name is not sent again."""
    async with serving(*AB) as (control, address), connected(address) as stream:
        await stream.send(CDS)
        await stream.ack(await stream.next())
        await stream.send(CDS, ["a"], ["*"])
        await stream.ack(await stream.next())
        control.publish(resource(CDS, "a"), resource(CDS, "b", "2"))
        await stream.silent()
        control.publish(resource(CDS, "a", "2"), resource(CDS, "b", "3"))
        assert (await stream.next()).names == ["a"]


@pytest.mark.parametrize("type", [CDS, EDS, LDS, RDS, VHDS, SDS])
async def test_dx_04_nonexistent_then_created(type):
    """A name that does not exist is answered at once, and pushed when it is created."""
    async with serving() as (control, address), connected(address) as stream:
        await stream.send(type, ["t/x"])
        answer = await stream.next(1)
        assert (answer.names, answer.removed) == ([], ["t/x"])
        await stream.ack(answer)
        control.publish(resource(type, "t/x"))
        assert (await stream.next()).names == ["t/x"]


async def test_dx_04_asking_again_is_answered_again():
    """A name subscribed to again is sent again."""
    async with serving(resource(EDS, "a")) as (_, address), connected(address) as stream:
        for _ in range(2):
            await stream.send(EDS, ["a"])
            answer = await stream.next()
            assert answer.names == ["a"]
            await stream.ack(answer)


async def test_dx_08_harmless_requests():
    """Unsubscribing what was not subscribed, and versions in the middle of a stream, do nothing."""
    async with serving(resource(EDS, "a"), resource(EDS, "b")) as (control, address), connected(address) as stream:
        await stream.send(EDS, ["a", "b"])
        await stream.ack(await stream.next())
        await stream.send(EDS, unsubscribe=["phantom"])
        await stream.send(EDS, unsubscribe=["b"])
        await stream.send(EDS, known={"a": "x", "c": "y"})
        await stream.silent()
        control.publish(resource(EDS, "a"), resource(EDS, "b", "2"))
        await stream.silent()


async def test_dx_10_remove_and_add_while_unanswered():
    """What is removed and added again before the client answers is no change, or one change, never both."""
    async with serving(*AB) as (control, address), connected(address) as stream:
        await stream.send(CDS)
        first = await stream.next()
        control.publish(AB[1])
        control.publish(resource(CDS, "a", "2"), AB[1])
        control.publish(AB[1])
        control.publish(*AB)
        await stream.ack(first)
        await stream.silent()
        control.publish(AB[1])
        removal = await stream.next()
        assert (removal.names, removal.removed) == ([], ["a"])
        control.publish(resource(CDS, "a", "2"), AB[1])
        await stream.ack(removal)
        assert (await stream.next()).names == ["a"]


@pytest.mark.parametrize("type", [CDS, EDS, LDS, RDS, VHDS])
async def test_dx_11_reject_then_revert(type):
    """What was rejected is not sent again; the version before it is."""
    async with serving(resource(type, "t/x")) as (control, address), connected(address) as stream:
        await stream.send(type, ["t/x"])
        first = await stream.next()
        await stream.ack(first)
        control.publish(resource(type, "t/x", "2"))
        await stream.nack(await stream.next(), "t/x: no")
        await stream.silent()
        control.publish(resource(type, "t/x"))
        again = await stream.next()
        assert again.versions == first.versions
        await stream.ack(again)
        await stream.silent()
        assert control.streams[0].state()[type.value].last_error == ""


async def test_dx_13_versions_and_names():
    """A response has a version, and a resource its own, the same on every server."""
    async with serving(*AB) as (_, address), connected(address) as stream:
        await stream.send(CDS)
        answer = await stream.next()
        assert answer.versions == {one.name: one.version for one in AB}


async def test_reconnect_costs_only_what_changed():
    """Endpoints that a client reports to have are not sent again; clusters and listeners always are."""
    endpoints = [resource(EDS, name) for name in "abc"]
    async with serving(*AB, *endpoints, resource(LDS, "l")) as (_, address), connected(address) as stream:
        await stream.send(CDS, known={one.name: one.version for one in AB})
        answer = await stream.next()
        assert answer.names == ["a", "b"]
        await stream.ack(answer)
        known = {one.name: one.version for one in endpoints}
        await stream.send(EDS, list("abc"), known=known)
        await stream.silent()
    async with serving(*AB, *endpoints) as (_, address), connected(address) as stream:
        await stream.send(EDS, list("abcd"), known=known | {"b": "old"})
        answer = await stream.next()
        assert (answer.names, answer.removed) == (["b"], ["d"])


async def test_reconnect_removes_what_is_gone():
    """Clusters that a client reports and that are gone are removed, after the first response is acknowledged."""
    async with serving(*AB) as (_, address), connected(address) as stream:
        await stream.send(CDS, known={"a": AB[0].version, "ghost": "1"})
        first = await stream.next()
        assert (sorted(first.names), first.removed) == (["a", "b"], [])
        await stream.ack(first)
        assert (await stream.next()).removed == ["ghost"]
