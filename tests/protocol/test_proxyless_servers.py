"""gRPC servers that take their listener by xDS (the catalogue's GX-05), and who gets whose configuration (GX-06)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tests.envoy.manifests import service
from tests.protocol.fixtures import CDS, EDS, LDS, RDS, URL, connected
from tests.protocol.proxyless import METHOD, PORT, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVER = "grpc/server?xds.resource.listening_address="
FILTERS = {
    "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router": router_pb2.Router,
    "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC": rbac_pb2.RBAC,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory):
    """A Service with one pod, whose server is started by the tests."""
    async with world(tmp_path_factory.mktemp("servers")) as made:
        made.put("cart", service("cart", (80, PORT, "grpc"), selector={"app": "cart"}), made.pod("cart-0", 21, "cart"))
        await made.start()
        yield made


@asynccontextmanager
async def server(shop, address, node="shop/cart-0", name="cart-0"):
    """A gRPC server by xDS, as a process."""
    child = await shop.child("tests.protocol.proxyless_server", address, name, node=node)
    try:
        async with asyncio.timeout(15):
            assert await child.stdout.readline() == b"started\n"
        yield child
    finally:
        child.stdin.close()
        async with asyncio.timeout(10):
            await child.wait()


async def plain(shop, port=PORT):
    """The answer of an RPC to the server's address, by a client that knows no xDS; or its code."""
    async with grpc.aio.insecure_channel(
        f"{shop.address(21)}:{port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        try:
            return (await channel.unary_unary(METHOD)(b"", timeout=0.5)).decode()
        except grpc.aio.AioRpcError as error:
            return error.code().name


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])
async def test_gx_05_a_server_serves(shop, address):
    """A server by xDS takes its listener and answers, at addresses of both families, clients with xDS and without."""
    client = await shop.client()
    async with server(shop, f"{address}:{PORT}"):
        await shop.until(lambda: _answers(shop, "cart-0"))
        await shop.until(lambda: _reaches(client, "cart-0"))
        synced = (await shop.control_plane.syncz())["shop/cart-0"]
        assert {kind: sync["status"] for kind, sync in synced.items()} == {"lds": "SYNCED"}
    await shop.until(lambda: _reaches(client, "UNAVAILABLE"))


async def test_gx_05_a_port_of_no_service(shop):
    """A server on a port that no Service names has no listener: it does not serve, until a Service names the port."""
    async with server(shop, "0.0.0.0:9001"):
        assert await plain(shop, 9001) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        shop.put("second", service("second", (80, 9001, "grpc"), selector={"app": "cart"}))
        await shop.until(lambda: _answers(shop, "cart-0", 9001))
    shop.drop("second")


async def test_gx_05_a_change_elsewhere_keeps_connections(shop):
    """A server's listener does not change with Services that do not name its port: RPCs under way go on."""
    client = await shop.client()
    async with server(shop, f"0.0.0.0:{PORT}"):
        await shop.until(lambda: _reaches(client, "cart-0"))
        async with client.load("cart:80"):
            shop.put("third", service("third", (80, 9002, "grpc"), selector={"app": "cart"}))
            await shop.settled()
            shop.drop("third")
            await shop.settled()


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_gx_05_shape(shop, host, incremental):
    """A server's listener has the address asked for, one HTTP filter with the router last, and nothing for proxies."""
    name = f"{SERVER}{f'[{host}]' if ':' in host else host}:{PORT}"
    async with connected(shop.control_plane.xds, incremental) as stream:
        await stream.send(LDS, [name], role="grpc", id="shop/cart-0")
        answer = await stream.next()
        await stream.ack(answer, () if incremental else [name])
    assert answer.names == [name]
    listener = listener_pb2.Listener.FromString(answer.bodies[name])
    socket = listener.address.socket_address
    assert (socket.address, socket.port_value) == (host, PORT)
    assert not listener.listener_filters
    assert not listener.HasField("use_original_dst")
    assert not listener.HasField("api_listener")
    for chain in [
        *listener.filter_chains,
        *([listener.default_filter_chain] * listener.HasField("default_filter_chain")),
    ]:
        (only,) = chain.filters
        manager = http_connection_manager_pb2.HttpConnectionManager()
        assert only.typed_config.Unpack(manager)
        assert manager.WhichOneof("route_specifier") in {"rds", "route_config"}
        kinds = [FILTERS[each.typed_config.type_url] for each in manager.http_filters]
        assert kinds[-1] is router_pb2.Router
        assert not chain.HasField("transport_socket")
        for host_ in manager.route_config.virtual_hosts:
            assert all(each.HasField("non_forwarding_action") for each in host_.routes)


async def test_gx_05_no_other_server(shop):
    """A pod is told of its own ports only."""
    names = [f"{SERVER}0.0.0.0:{PORT + 5}", f"{SERVER}10.0.0.1:{PORT}", f"{SERVER}0.0.0.0:{PORT}"]
    for node, expected in (("shop/cart-0", names[2:]), ("shop/client", [])):
        async with connected(shop.control_plane.xds, False) as stream:
            await stream.send(LDS, names, role="grpc", id=node)
            answer = await stream.next()
            assert answer.names == expected
            await stream.ack(answer, names)


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("names", [(), ("*",)])
@pytest.mark.parametrize("type", [LDS, CDS])
async def test_gx_06_no_wildcard_for_grpc(shop, type, names, incremental):
    """A gRPC node that asks for all listeners or clusters gets nothing; a name is answered on the same stream."""
    async with connected(shop.control_plane.xds, incremental) as stream:
        await stream.send(type, names, role="grpc", id="shop/client")
        await stream.silent()
        name = {LDS: "cart:80", CDS: "out/shop/cart/80"}[type]
        await stream.send(type, [name])
        answer = await stream.next()
        assert answer.names == [name]
        await stream.ack(answer, () if incremental else [name])


@pytest.mark.parametrize("mode", ["interception", "explicit"])
async def test_gx_06_a_sidecar_that_asks_by_a_grpc_name(shop, mode):
    """A sidecar is answered by its own rules: a gRPC client's listener does not exist for it; its own do."""
    metadata = {"xdscp": {"role": "sidecar", "mode": mode}}
    async with connected(shop.control_plane.xds, True) as stream:
        await stream.send(LDS, ["cart:80", "outbound"], metadata=metadata, id="shop/client")
        answer = await stream.next()
        assert (answer.names, answer.removed) == (["outbound"], ["cart:80"])
        await stream.ack(answer)


async def test_gx_06_grpc_asks_by_a_sidecars_names(shop):
    """Nor do a sidecar's listeners and route tables exist for a gRPC node."""
    for type, names in ((LDS, ["outbound", "inbound", "out/80"]), (RDS, ["out/80"]), (CDS, ["passthrough", "in/9000"])):
        async with connected(shop.control_plane.xds, True) as stream:
            await stream.send(type, names, role="grpc", id="shop/cart-0")
            answer = await stream.next()
            assert (answer.names, sorted(answer.removed)) == ([], sorted(names))
            await stream.ack(answer)


@pytest.mark.parametrize("features", [(), ("xds.config.resource-in-sotw", "xds.config.supports-resource-ttl")])
async def test_sw_19_plain_resources(shop, features):
    """Resources are never wrapped and have no time to live, whatever features the node tells of; gRPC tells of some."""
    async with connected(shop.control_plane.xds, False) as stream:
        for type, name in (
            (LDS, "cart:80"),
            (RDS, "grpc/shop/cart/80"),
            (CDS, "out/shop/cart/80"),
            (EDS, "out/shop/cart/80"),
        ):
            request = discovery_pb2.DiscoveryRequest(type_url=URL[type], resource_names=[name])
            request.node.id = "shop/client"
            request.node.metadata.update({"xdscp": {"role": "grpc", "mode": "explicit"}})
            request.node.client_features.extend(features)
            await stream.raw(request.SerializeToString())
            answer = await stream.next()
            assert [each.type_url for each in answer.raw.resources] == [URL[type]]
            assert not getattr(answer.raw, "resource_errors", ())
            await stream.ack(answer, [name])


async def test_control_plane_by_unix_socket(tmp_path):
    """A gRPC client reaches the control plane by a unix socket as well."""
    async with world(tmp_path) as made:
        made.put("cart", service("cart", (80, PORT, "grpc"), selector={"app": "cart"}), made.pod("cart-0", 21, "cart"))
        await made.backend("cart-0", 21)
        await made.start(xds=f"unix:{tmp_path / 'xds.sock'}")
        client = await made.client()
        assert await client.one("cart:80") == "cart-0"


async def _answers(shop, answer, port=PORT):
    return await plain(shop, port) == answer


async def _reaches(client, answer):
    return await client.one("cart:80") == answer
