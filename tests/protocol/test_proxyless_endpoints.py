"""gRPC's own xDS client over endpoints in zones, and over none: the catalogue's GX-02."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from envoy.config.endpoint.v3 import endpoint_pb2

from tests.envoy.manifests import endpoint, endpoint_slice, pod, policy, service
from tests.protocol.fixtures import EDS, connected
from tests.protocol.proxyless import PORT, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = (80, PORT, "grpc")


def sliced(name, *endpoints):
    """A Service whose endpoints a slice names."""
    return [service(name, PORTS), endpoint_slice(f"{name}-1", name, *endpoints, port=PORT, port_name="grpc")]


def node(name, zone):
    """A Node in a zone."""
    labels = {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": zone}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory):
    """Two servers; the client is in the zone of the first."""
    async with world(tmp_path_factory.mktemp("endpoints")) as made:
        a, b = made.address(21), made.address(22)
        client = pod("client", made.address(11))
        client["spec"]["nodeName"] = "node-a"
        made.put("client", client, node("node-a", "a"), node("node-b", "b"))
        made.put("zoneless", *sliced("zoneless", a, b))
        made.put("zoned", *sliced("zoned", endpoint(a, zone="a"), endpoint(b, zone="b")))
        made.put("partly", *sliced("partly", endpoint(a, zone="a"), b))
        made.put("twice", *sliced("twice", a, a), endpoint_slice("twice-2", "twice", a, b, port=PORT, port_name="grpc"))
        made.put("weighted", *sliced("weighted", endpoint(a, zone="a"), endpoint(b, zone="b")))
        made.put("weights", policy("weighted", "weighted", loadBalancer={"locality": {"mode": "Weighted"}}))
        made.put("failover", *sliced("failover", endpoint(a, zone="a"), endpoint(b, zone="b")))
        made.put("order", policy("failover", "failover", loadBalancer={"locality": {"mode": "Failover"}}))
        draining = endpoint(b, ready=False, serving=True, terminating=True)
        made.put("draining", *sliced("draining", a, draining))
        made.put("empty", service("empty", PORTS))
        made.put("unready", *sliced("unready", endpoint(a, ready=False)))
        await made.backend("a", 21)
        await made.backend("b", 22)
        await made.start()
        assert [each["message"] for each in await made.control_plane.problems()] == []
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(shop):
    """A client in zone a."""
    return await shop.client()


@pytest.mark.parametrize("name", ["zoneless", "zoned", "partly", "twice", "weighted"])
async def test_gx_02_zones(client, name):
    """Servers are reached without zones, in one and in two; an address named twice is one server."""
    assert set(await client.spread(f"{name}:80", 40)) <= {"a", "b"}
    assert "a" in await client.spread(f"{name}:80", 40)


async def test_gx_02_failover(client):
    """By failover the servers of the client's own zone come first."""
    assert await client.spread("failover:80", 10) == {"a": 10}


async def test_gx_02_draining(client):
    """A server that ends takes no new RPCs."""
    assert await client.spread("draining:80", 10) == {"a": 10}


@pytest.mark.parametrize(
    "name", ["zoneless", "zoned", "partly", "twice", "weighted", "failover", "draining", "empty", "unready"]
)
async def test_gx_02_shape(shop, name):
    """Each locality is named, once in its priority, with a weight; priorities have no gap; no address comes twice."""
    cluster = f"out/shop/{name}/80"
    async with connected(shop.control_plane.xds, False) as stream:
        await stream.send(EDS, [cluster], role="grpc", id="shop/client")
        answer = await stream.next()
        await stream.ack(answer, [cluster])
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(answer.bodies[cluster])
    assert assignment.cluster_name == cluster
    priorities, seen, addresses = {}, set(), []
    for locality in assignment.endpoints:
        assert locality.HasField("locality")
        key = (locality.priority, locality.locality.region, locality.locality.zone, locality.locality.sub_zone)
        assert key not in seen
        seen.add(key)
        assert locality.load_balancing_weight.value >= 1
        priorities.setdefault(locality.priority, []).append(locality.load_balancing_weight.value)
        for each in locality.lb_endpoints:
            socket = each.endpoint.address.socket_address
            addresses.append((socket.address, socket.port_value))
            assert not each.HasField("load_balancing_weight") or each.load_balancing_weight.value >= 1
    assert sorted(priorities) == list(range(len(priorities)))
    assert all(sum(weights) < 2**32 for weights in priorities.values())
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("name", ["empty", "unready"])
async def test_gx_02_no_ready_endpoint(shop, client, name):
    """RPCs to a Service without a ready server fail at once, and work when one appears."""
    (outcome,) = await client.call(f"{name}:80")
    assert (outcome["code"], outcome["seconds"] < 1) == ("UNAVAILABLE", True), outcome
    ready = endpoint_slice(f"{name}-1", name, shop.address(22), port=PORT, port_name="grpc")
    shop.put(name, service(name, PORTS), ready)
    await shop.until(lambda: _reaches(client, name, "b"))
    shop.put(name, service(name, PORTS))
    await shop.until(lambda: _reaches(client, name, "UNAVAILABLE"))


async def test_gx_02_recovery_of_a_waiting_rpc(shop, client):
    """An RPC that may wait for a server is sent when one appears."""
    shop.put("late", service("late", PORTS))
    await shop.until(lambda: _reaches(client, "late", "UNAVAILABLE"), timeout=10)
    waiting = asyncio.create_task(client.call("late:80", wait=True))
    shop.put("late", *sliced("late", shop.address(21)))
    (outcome,) = await waiting
    assert outcome["instance"] == "a", outcome


async def _reaches(client, name, answer):
    return await client.one(f"{name}:80") == answer
