"""Proxyless gRPC clients: the catalogue's GX-06, by a raw client that speaks as one."""

from __future__ import annotations

import pytest

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, connected, resource, serving

WORLD = [resource(LDS, "svc.ns:80"), resource(RDS, "r", refers=["c"]), resource(CDS, "c"), resource(EDS, "c")]


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("names", [(), ("*",)])
async def test_gx_06_no_wildcard_for_grpc(incremental, names):
    """A gRPC client that asks for all gets nothing; a name is answered on the same stream."""
    async with serving(*WORLD) as (_, address), connected(address, incremental) as stream:
        await stream.send(LDS, names, role="grpc")
        await stream.silent()
        await stream.send(LDS, ["svc.ns:80"])
        assert (await stream.next()).names == ["svc.ns:80"]


async def test_gx_06_a_sidecar_that_asks_by_name():
    """A sidecar is answered by its own snapshot: a name that it has not does not exist."""
    async with serving(resource(LDS, "outbound")) as (_, address), connected(address, True) as stream:
        await stream.send(LDS, ["svc.ns:80"])
        answer = await stream.next()
        assert (answer.names, answer.removed) == ([], ["svc.ns:80"])


async def test_grpc_asks_from_listener_to_endpoints():
    """gRPC's order of asking is answered step by step, and clusters that change hold nothing back."""
    async with serving(*WORLD) as (control, address), connected(address, False) as stream:
        for type, name in ((LDS, "svc.ns:80"), (RDS, "r"), (CDS, "c"), (EDS, "c")):
            await stream.send(type, [name], role="grpc")
            answer = await stream.next()
            assert (answer.type, answer.names) == (type, [name])
            await stream.ack(answer, [name])
        control.publish(resource(RDS, "r", "2", refers=["d"]), WORLD[0], *WORLD[2:], resource(CDS, "d"))
        assert (await stream.next()).type == RDS
