"""Order, warming and make-before-break on the wire: the catalogue's group OR, by a raw client."""

from __future__ import annotations

import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, SDS, VHDS, connected, resource, serving

BOTH = pytest.mark.parametrize("incremental", [False, True])
A = [resource(CDS, "a"), resource(EDS, "a")]
B = [resource(CDS, "b"), resource(EDS, "b")]


class Proxy:
    """A raw client that has subscribed to everything, and knows its names."""

    def __init__(self, stream):
        self.stream = stream
        self.names = {}

    async def start(self, **names):
        """Subscribe in Envoy's order, acknowledging each type."""
        types = [CDS, EDS, LDS, RDS, VHDS, SDS] if self.stream.incremental else [CDS, EDS, LDS, RDS, SDS]
        for type in types:
            self.names[type] = names.get(type.value, ())
            if type in (CDS, LDS, VHDS) or self.names[type]:
                await self.stream.send(type, self.names[type])
                await self.ack(await self.stream.next())

    async def ack(self, answer):
        """Accept."""
        await self.stream.ack(answer, () if self.stream.incremental else self.names.get(answer.type, ()))

    async def take(self, type=None):
        """The next response, accepted."""
        answer = await self.stream.next()
        assert type is None or answer.type == type, answer
        await self.ack(answer)
        return answer


def world(*more, route="a", version="1"):
    """Clusters with a listener and a route table, in the shapes of both protocols."""
    return [
        resource(LDS, "t", version + route, refers=[route]),
        resource(RDS, "t", version + route, refers=[route]),
        resource(VHDS, "t/x", version + route, refers=[route]),
        *more,
    ]


@BOTH
async def test_or_01_order_inside_one_push(incremental):
    """A change of all types goes out as clusters, endpoints, listeners, routes, virtual hosts, secrets."""
    async with serving(*world(*A, resource(SDS, "s"))) as (control, address):
        async with connected(address, incremental) as stream:
            proxy = Proxy(stream)
            await proxy.start(eds=["a"], rds=["t"], sds=["s"])
            changed = [resource(one.type, one.name, "2") for one in A]
            control.publish(*world(*changed, resource(SDS, "s", "2"), version="2"))
            order = [CDS, EDS, LDS, RDS, VHDS, SDS] if incremental else [CDS, EDS, LDS, RDS, SDS]
            assert [(await stream.next()).type for _ in order] == order


@BOTH
async def test_or_01_additions_before_removals(incremental):
    """An update that adds and removes clusters adds, waits, moves the routes, waits, and then removes."""
    async with serving(*world(*A)) as (control, address), connected(address, incremental) as stream:
        proxy = Proxy(stream)
        await proxy.start(eds=["a"], rds=["t"])
        control.publish(*world(*B, route="b"))
        clusters = await stream.next()
        assert clusters.type == CDS
        assert sorted(clusters.names) == (["b"] if incremental else ["a", "b"])
        assert clusters.removed == []
        proxy.names[EDS] = ["a", "b"]
        await stream.send(EDS, ["b"] if incremental else ["a", "b"])
        assert "b" in (await proxy.take(EDS)).names
        await stream.silent()  # neither routes nor removals: b is not warm
        await proxy.ack(clusters)
        moved = [await stream.next() for _ in range(3 if incremental else 2)]
        assert [one.type for one in moved] == ([LDS, RDS, VHDS] if incremental else [LDS, RDS])
        await stream.silent()  # no removal before the routes are taken
        for one in moved:
            await proxy.ack(one)
        removal = await stream.next()
        assert removal.type == CDS
        assert (removal.names, removal.removed) == (([], ["a"]) if incremental else (["b"], []))


async def test_or_01_other_routes_flow_while_one_waits():
    """A virtual host that waits for its cluster holds back only itself."""
    async with serving(*world(*A)) as (control, address), connected(address) as stream:
        proxy = Proxy(stream)
        await proxy.start(eds=["a"], rds=["t"])
        moved = resource(VHDS, "t/y", refers=["b"])
        control.publish(*world(*A, *B, version="1"), moved, resource(VHDS, "t/z", refers=["a"]))
        clusters = await stream.next()
        assert (await proxy.take(VHDS)).names == ["t/z"]
        await proxy.ack(clusters)
        assert (await proxy.take(VHDS)).names == ["t/y"]


async def test_or_01_rejected_cluster_keeps_the_old_route():
    """A route to a cluster that the client rejected stays as it was, and moves when the cluster is right."""
    async with serving(*world(*A)) as (control, address), connected(address) as stream:
        proxy = Proxy(stream)
        await proxy.start(eds=["a"], rds=["t"])
        control.publish(*world(*A, *B, route="b"))
        await stream.nack(await stream.next(), "Error adding/updating cluster(s) b: no")
        await stream.silent(0.3)
        fixed = [resource(CDS, "b", "2"), B[1]]
        control.publish(*world(*A, *fixed, route="b"))
        assert (await proxy.take(CDS)).names == ["b"]
        assert {(await proxy.take()).type for _ in range(3)} == {LDS, RDS, VHDS}


@BOTH
async def test_or_03_endpoints_follow_a_changed_cluster(incremental):
    """Endpoints come unasked behind a changed cluster, and the acknowledgements after that are silent."""
    async with serving(*A, *B) as (control, address), connected(address, incremental) as stream:
        proxy = Proxy(stream)
        proxy.names[EDS] = ["a", "b"]
        await stream.send(CDS)
        await proxy.take(CDS)
        await stream.send(EDS, ["a", "b"])
        first = await proxy.take(EDS)
        control.publish(resource(CDS, "a", "2"), A[1], *B)
        clusters = await stream.next()
        if not incremental:
            await stream.ack(first, ["a", "b"])  # as Envoy does when it warms: the same names, version and nonce
        endpoints = await stream.next()
        assert (endpoints.type, endpoints.names) == (EDS, ["a"])
        await proxy.ack(endpoints)
        await proxy.ack(clusters)
        await stream.silent()


@BOTH
async def test_or_07_no_route_to_an_absent_cluster(incremental):
    """A new route to a new cluster is not sent before the cluster is acknowledged; without CDS nothing waits."""
    async with serving(*world(*A)) as (control, address):
        async with connected(address, incremental) as full, connected(address, incremental) as routes:
            proxy = Proxy(full)
            await proxy.start(rds=["t"])
            await routes.send(RDS, ["t"])
            await routes.ack(await routes.next(), () if incremental else ["t"])
            await routes.silent(0.05)
            control.publish(*world(*A, *B, route="b"))
            assert (await routes.next()).type == RDS
            assert (await full.next()).type == CDS
            await full.silent()


@BOTH
async def test_or_08_endpoints_first(incremental):
    """A proxy that reconnects while it warms asks for endpoints first: all is answered without CDS."""
    async with serving(*world(*A)) as (_, address), connected(address, incremental) as stream:
        for type, names in ((EDS, ["a"]), (LDS, []), (RDS, ["t"])):
            await stream.send(type, names)
            answer = await stream.next()
            assert answer.type == type
            await stream.ack(answer, () if incremental else names)
        await stream.send(CDS)
        assert (await stream.next()).names == ["a"]


@BOTH
async def test_or_09_cluster_vanished_across_a_restart(incremental):
    """Endpoints of a cluster that is gone are answered at once."""
    async with serving(*A) as (_, address), connected(address, incremental) as stream:
        await stream.send(EDS, ["a", "ghost"])
        answer = await stream.next(1)
        if incremental:
            assert (answer.names, answer.removed) == (["a"], ["ghost"])
        else:
            assert answer.bodies["ghost"] == b"\n\x05ghost"


@BOTH
async def test_or_10_snapshot_moves_between_clusters_and_endpoints(incremental):
    """Endpoints are answered for exactly the names asked, also those gone meanwhile, and then come the new clusters."""
    async with serving(*A, *B) as (control, address), connected(address, incremental) as stream:
        await stream.send(CDS)
        clusters = await stream.next()
        control.publish(*A, resource(CDS, "c"), resource(EDS, "c"))
        await stream.send(EDS, ["a", "b"])
        answer = await stream.next(1)
        assert sorted(answer.names + answer.removed) == ["a", "b"]
        await stream.ack(answer, () if incremental else ["a", "b"])
        await stream.ack(clusters)
        assert "c" in (await stream.next()).names


@BOTH
async def test_or_12_endpoints_only(incremental):
    """A change of endpoints brings endpoints, and changes while the answer is out are merged into one."""
    async with serving(*world(*A)) as (control, address), connected(address, incremental) as stream:
        proxy = Proxy(stream)
        await proxy.start(eds=["a"], rds=["t"])
        control.publish(*world(A[0], resource(EDS, "a", "2")))
        second = await stream.next()
        assert (second.type, second.names) == (EDS, ["a"])
        for number in range(3, 103):
            control.publish(*world(A[0], resource(EDS, "a", str(number))))
        await stream.silent()
        await proxy.ack(second)
        last = await proxy.take(EDS)
        assert last.bodies["a"] == b"eds:a:102"
        await stream.silent()


async def test_route_table_brings_its_virtual_hosts_again():
    """Envoy drops the virtual hosts of a table that it has not got: they come again right behind the table."""
    hosts = [resource(VHDS, name) for name in ("t/x", "t/y", "u/x")]
    async with serving(resource(RDS, "t"), *hosts) as (_, address), connected(address) as stream:
        await stream.send(VHDS)
        await stream.ack(await stream.next())
        await stream.send(RDS, ["t"])
        await stream.ack(await stream.next())
        again = await stream.next()
        assert (again.type, again.names) == (VHDS, ["t/x", "t/y"])
        await stream.ack(again)
        await stream.silent()


async def test_secrets_come_again_behind_listeners():
    """A listener that changed may have a new source of secrets, which gets nothing unless they come again."""
    async with serving(resource(LDS, "l"), resource(SDS, "s")) as (control, address), connected(address) as stream:
        await stream.send(LDS)
        await stream.ack(await stream.next())
        await stream.send(SDS, ["s"])
        await stream.ack(await stream.next())
        control.publish(resource(LDS, "l", "2"), resource(SDS, "s"))
        assert [(await stream.next()).type for _ in range(2)] == [LDS, SDS]
