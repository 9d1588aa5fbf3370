"""Endpoints from slices, pods and workloads, as Kubernetes means them."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.mesh.world import World
from xdscp.mesh.destination import Endpoint, Locality
from xdscp.mesh.endpoints import alias_of, endpoints_of, slice_problems, subset_endpoints
from xdscp.mesh.environment import Environment
from xdscp.resources.core import Key

WEB = Key("shop", "web")

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


def a_slice(name: str, *endpoints: str, ports: str = "[{name: http, port: 8080}]", family: str = "IPv4") -> str:
    return f"""
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: {ports}
endpoints: [{", ".join(endpoints)}]
"""


def addresses(world: World, port: int = 80) -> list[str]:
    return [endpoint.address for endpoint in world.ask(endpoints_of, WEB, port)]


def pod(name: str, ip: str, extra: str = "", status: str = "") -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web, version: v1}}{extra}}}
spec: {{containers: [{{name: app, image: x, ports: [{{name: web, containerPort: 9090}}]}}]}}
status: {{podIP: {ip}{status}}}
"""


def test_slices_of_a_service_are_merged():
    """the endpoints of all slices of a service are its endpoints, each once (EP-01, EP-02)."""
    world = World(
        SERVICE
        + a_slice("web-1", "{addresses: [10.0.0.1]}", "{addresses: [10.0.0.2]}")
        + a_slice("web-2", "{addresses: [10.0.0.2]}", "{addresses: [10.0.0.3]}")
    )

    assert addresses(world) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize("first", ["web-1", "web-2"])
def test_endpoint_moves_between_slices_without_a_gap(first):
    """an endpoint stays while it is in one slice, whichever slice changes first (EP-02)."""
    both = {"web-1": a_slice("web-1", "{addresses: [10.0.0.1]}"), "web-2": a_slice("web-2", "{addresses: [10.0.0.1]}")}
    world = World(SERVICE + "".join(both.values()))
    world.delete("EndpointSlice", Key("shop", first))
    assert addresses(world) == ["10.0.0.1"]

    world.delete("EndpointSlice", Key("shop", next(name for name in both if name != first)))

    assert addresses(world) == []


READY = "{addresses: [10.0.0.1], conditions: {ready: true}}"
DRAINING = "{addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}"
GONE = "{addresses: [10.0.0.3], conditions: {ready: false, serving: false, terminating: true}}"
UNREADY = "{addresses: [10.0.0.4], conditions: {ready: false, serving: false, terminating: false}}"
UNSAID = "{addresses: [10.0.0.5], conditions: {}}"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([READY, DRAINING], [("10.0.0.1", False), ("10.0.0.2", True)]),
        ([DRAINING, GONE, UNREADY], [("10.0.0.2", False)]),
        ([GONE], []),
        ([UNREADY], []),
        ([UNSAID], [("10.0.0.5", False)]),
    ],
)
def test_conditions(members, expected):
    """ready ones serve, terminating ones drain or, when alone, serve; the rest is absent (EP-03)."""
    world = World(SERVICE + a_slice("web-1", *members))

    assert [(each.address, each.draining) for each in world.ask(endpoints_of, WEB, 80)] == expected


def test_pods_serve_where_there_are_no_slices():
    """a service without slices takes the pods it selects; with slices they are what counts."""
    world = World(SERVICE + pod("a", "10.0.0.1") + pod("b", "10.0.0.2"))
    assert addresses(world) == ["10.0.0.1", "10.0.0.2"]

    world.apply(a_slice("web-1", "{addresses: [10.0.0.9]}"))

    assert addresses(world) == ["10.0.0.9"]


def test_named_target_port_is_each_pods_own():
    """a targetPort by name is looked up in the pod."""
    world = World(SERVICE.replace("8080", "web") + pod("a", "10.0.0.1"))

    assert [each.port for each in world.ask(endpoints_of, WEB, 80)] == [9090]


def test_pod_that_ends_drains_or_is_absent():
    """a terminating pod drains beside others, a finished or unready one is absent."""
    ending = pod("a", "10.0.0.1", extra=', deletionTimestamp: "2030-01-01T00:00:00Z"')
    world = World(
        SERVICE
        + ending
        + pod("b", "10.0.0.2")
        + pod("c", "10.0.0.3", status=", phase: Succeeded")
        + pod("d", "10.0.0.4", status=", conditions: [{type: Ready, status: 'False'}]")
    )

    found = world.ask(endpoints_of, WEB, 80)

    assert [(each.address, each.draining) for each in found] == [("10.0.0.1", True), ("10.0.0.2", False)]


def test_publish_not_ready_addresses_is_of_one_service():
    """the flag includes unready pods for that service only (EP-04)."""
    unready = pod("d", "10.0.0.4", status=", conditions: [{type: Ready, status: 'False'}]")
    publishing = SERVICE.replace("selector", "publishNotReadyAddresses: true, selector")
    world = World(SERVICE + "---" + publishing.replace("name: web,", "name: all,") + unready)

    assert addresses(world) == []
    assert [each.address for each in world.ask(endpoints_of, Key("shop", "all"), 80)] == ["10.0.0.4"]


def test_both_families_of_a_pod_are_one_endpoint():
    """slices of two families about one pod give one endpoint, the service's first family first (EP-09)."""
    target = "targetRef: {kind: Pod, name: a, namespace: shop}"
    text = (
        SERVICE
        + a_slice("web-6", f"{{addresses: ['fd00::1'], {target}}}", family="IPv6")
        + a_slice("web-4", f"{{addresses: [10.0.0.1], {target}}}")
    )
    (endpoint,) = World(text).ask(endpoints_of, WEB, 80)
    (six,) = World(text.replace("10.1.0.1", "'fd01::1'")).ask(endpoints_of, WEB, 80)

    assert (endpoint.address, endpoint.additional_addresses) == ("10.0.0.1", ("fd00::1",))
    assert (six.address, six.additional_addresses) == ("fd00::1", ("10.0.0.1",))


@pytest.mark.parametrize(
    ("address", "word"),
    [("127.0.0.1", "loopback"), ("169.254.169.254", "link-local"), ("224.0.0.1", "unicast"), ("0.0.0.0", "unicast")],
)
def test_hostile_addresses_are_refused_by_name(address, word):
    """loopback, link-local and other odd addresses are no endpoints, and the slice's problem says so (EP-14)."""
    world = World(SERVICE + a_slice("web-1", f"{{addresses: [{address}]}}", "{addresses: [10.0.0.1]}"))
    (problem,) = world.ask(slice_problems, Key("shop", "web-1"))

    assert addresses(world) == ["10.0.0.1"]
    assert address in problem.message
    assert word in problem.message


def test_loopback_is_allowed_where_the_environment_says_so():
    """a folder on a laptop may name loopback addresses."""
    world = World(SERVICE + a_slice("web-1", "{addresses: [127.0.0.5]}"), Environment(loopback_endpoints=True))

    assert addresses(world) == ["127.0.0.5"]


def test_slice_of_no_service_is_ignored_and_told():
    """a slice without the service label belongs to nothing."""
    text = a_slice("web-1", "{addresses: [10.0.0.1]}").replace("kubernetes.io/service-name: web", "a: b")
    world = World(SERVICE + text)

    assert addresses(world) == []
    assert world.ask(slice_problems, Key("shop", "web-1"))[0].reason == "NoService"


@pytest.mark.parametrize(
    ("ports", "expected"),
    [("[]", []), ("null", []), ("[{name: http}]", [8080]), ("[{name: other, port: 1}]", [])],
)
def test_ports_of_a_slice(ports, expected):
    """no ports: none; a port without number: the target's own (EP-08)."""
    world = World(SERVICE + a_slice("web-1", "{addresses: [10.0.0.1]}", ports=ports))

    assert [each.port for each in world.ask(endpoints_of, WEB, 80)] == expected


def test_locality_comes_from_slice_and_node():
    """the zone of the endpoint wins over its node's; the region is the node's (EP-13)."""
    node = """
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-a}}
"""
    world = World(
        SERVICE
        + node
        + a_slice("web-1", "{addresses: [10.0.0.1], nodeName: n1}", "{addresses: [10.0.0.2], nodeName: n1, zone: eu-b}")
    )

    assert [each.locality for each in world.ask(endpoints_of, WEB, 80)] == [
        Locality("eu", "eu-a"),
        Locality("eu", "eu-b"),
    ]


def test_subset_is_told_by_the_labels_of_pods():
    """a subset holds the endpoints whose pods carry its labels, and follows relabelling (CR-12)."""
    other = pod("b", "10.0.0.2").replace("version: v1", "version: v2")
    world = World(SERVICE + pod("a", "10.0.0.1") + other)
    labels = (("version", "v2"),)
    assert [each.address for each in world.ask(subset_endpoints, WEB, 80, labels)] == ["10.0.0.2"]

    world.apply(pod("a", "10.0.0.1").replace("version: v1", "version: v2"))

    assert [each.address for each in world.ask(subset_endpoints, WEB, 80, labels)] == ["10.0.0.1", "10.0.0.2"]


def test_arrival_order_does_not_matter():
    """all orders of creation end in the same endpoints (EP-11)."""
    parts = [SERVICE, a_slice("web-1", "{addresses: [10.0.0.1]}"), pod("a", "10.0.0.7"), a_slice("web-2", READY)]
    results = []
    for order in itertools.permutations(parts):
        world = World()
        world.graph.watch(endpoints_of, WEB, 80)
        for part in order:
            world.apply(part)
            list(world.graph.settle())
        results.append(world.ask(endpoints_of, WEB, 80))

    assert set(results) == {(Endpoint("10.0.0.1", 8080),)}


def alias(name: str, target: str) -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{type: ExternalName, externalName: {target}, ports: [{{name: http, port: 80}}]}}
"""


def test_external_name_of_a_mesh_service_is_an_alias():
    """an ExternalName that leads to a service of the mesh has that one's endpoints (EP-06)."""
    world = World(
        SERVICE
        + pod("a", "10.0.0.1")
        + alias("front", "web.shop.svc.cluster.local")
        + alias("fronter", "front.shop.svc.cluster.local.")
    )

    assert world.ask(alias_of, Key("shop", "fronter")) == WEB
    assert [each.address for each in world.ask(endpoints_of, Key("shop", "fronter"), 80)] == ["10.0.0.1"]


def test_alias_loops_end():
    """ExternalNames that lead to each other lead nowhere (EP-06)."""
    world = World(alias("a", "b.shop.svc.cluster.local") + alias("b", "a.shop.svc.cluster.local"))

    assert world.ask(alias_of, Key("shop", "a")) is None
    assert world.ask(endpoints_of, Key("shop", "a"), 80) == ()
