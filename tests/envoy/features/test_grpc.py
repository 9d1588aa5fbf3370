"""gRPC calls through the proxy, as a gRPC client and two versions of a server know them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import grpc
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Anything(grpc.GenericRpcHandler):
    """Answers every unary call with its own name."""

    def __init__(self, name):
        self.name = name

    def service(self, details):
        async def answer(request, context):
            await asyncio.sleep(float(request or 0))
            return self.name.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def servers(stage):
    """The two instances of cart."""
    started = []
    for name, host in (("v1", 61), ("v2", 62)):
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Anything(name),))
        server.add_insecure_port(f"{stage.address(host)}:50051")
        await server.start()
        started.append(server)
    yield
    for server in started:
        await server.stop(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def call(stage):
    """Calls a method of cart through the client's proxy: the version that answered, or the status."""
    options = [("grpc.default_authority", "cart.shop:50051"), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"{stage.address(11)}:15001", options=options) as channel:

        async def made(method, seconds=0.0):
            try:
                return (await channel.unary_unary(method)(str(seconds).encode(), timeout=5)).decode()
            except grpc.aio.AioRpcError as error:
                return error.code().name

        yield made


async def test_service_and_method(stage, call):
    """One method goes to v2, the service's others to v1, and other services are not implemented."""
    await stage.apply("routes/grpc")
    assert await call("/shop.v1.Cart/AddItem") == "v2"
    assert await call("/shop.v1.Cart/AddItems") == "v1"
    assert await call("/shop.v1.Cart/List") == "v1"
    assert await call("/shop.v1.Carts/AddItem") == "UNIMPLEMENTED"


async def test_regular_expressions(stage, call):
    """What reads goes to v2, of each version of the API."""
    await stage.apply("routes/grpc-regular-expression")
    for method in ("/shop.v1.Cart/GetItem", "/shop.v22.Cart/List"):
        assert await call(method) == "v2"
    for method in ("/shop.v1.Cart/AddItem", "/shop.v1xCart/GetItem", "/shop.vX.Cart/GetItem", "/shop.v1.Cart/ForGet"):
        assert await call(method) == "v1"


async def test_a_match_of_grpc_takes_no_plain_request(stage, call):
    """A request that is no gRPC call passes a route with a gRPC match by."""
    await stage.apply("routes/grpc", {"abort: {grpcStatus: 12}": "abort: {httpStatus: 418}"})
    answer = await stage.ask("cart.shop:50051", "/shop.v1.Other/Get")
    assert answer.status != 418
    assert await call("/shop.v1.Other/Get") == "UNKNOWN"  # how gRPC reads an HTTP status that it does not know


async def test_fault(stage, call):
    """Calls fail with the status that the policy names."""
    await stage.apply("fault/grpc-abort")
    assert await call("/shop.v1.Cart/AddItem") == "UNAVAILABLE"


async def test_calls_are_balanced(stage, call):
    """Calls of one connection are spread over both instances."""
    await stage.apply("fault/grpc-abort", {"abort: {grpcStatus: 14}": "abort: {grpcStatus: 14, percent: 0}"})
    counted = Counter([await call("/shop.v1.Cart/List") for _ in range(60)])
    assert set(counted) == {"v1", "v2"}


async def test_timeout(stage, call):
    """A call that takes longer than the route's timeout has failed by then."""
    failing = "    fault:\n      abort: {grpcStatus: 14}"
    await stage.apply("fault/grpc-abort", {failing: "    timeouts: {request: 300ms}"})
    began = time.monotonic()
    assert await call("/shop.v1.Cart/List", 3.0) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert 0.28 <= time.monotonic() - began < 1.0
    assert await call("/shop.v1.Cart/List") in {"v1", "v2"}
