"""Localities and priorities as a client sees them from where it runs."""

from __future__ import annotations

import pytest

from tests.unit.mesh.world import World
from xdscp.mesh.destination import Locality
from xdscp.mesh.locality import NOWHERE, Vantage, localities_of, vantage_for
from xdscp.resources.core import Key

WEB = Key("shop", "web")
HERE = Vantage(Locality("eu", "eu-a"))

NODES = "".join(
    f"""
---
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{topology.kubernetes.io/region: {region}, topology.kubernetes.io/zone: {zone}}}}}
"""
    for name, region, zone in (("n1", "eu", "eu-a"), ("n2", "eu", "eu-b"), ("n3", "us", "us-a"))
)


def world(extra: str = "", hints: bool = False) -> World:
    members = ", ".join(
        f"{{addresses: [10.0.0.{number}], nodeName: n{number}"
        + (f", hints: {{forZones: [{{name: {zone}}}]}}}}" if hints else "}")
        for number, zone in ((1, "eu-a"), (2, "eu-b"), (3, "us-a"))
    )
    return World(
        f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{clusterIP: 10.1.0.1, selector: {{app: web}}, ports: [{{name: http, port: 80}}]{extra}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{members}]
"""
        + NODES
    )


def priorities(world: World, vantage: Vantage) -> dict[str, int]:
    seen = world.ask(vantage_for, WEB, 80, vantage)
    return {
        endpoint.address: group.priority
        for group in world.ask(localities_of, WEB, 80, (), seen)
        for endpoint in group.endpoints
    }


def test_zones_do_not_count_by_default():
    """without a wish for closeness all endpoints have one priority, and every vantage sees the same value."""
    assert priorities(world(), HERE) == {"10.0.0.1": 0, "10.0.0.2": 0, "10.0.0.3": 0}
    assert world().ask(vantage_for, WEB, 80, HERE) == NOWHERE


def test_traffic_distribution_prefers_zone_then_region():
    """PreferClose tries the zone, then the region, then the rest (EP-13)."""
    close = world(", trafficDistribution: PreferClose")

    assert priorities(close, HERE) == {"10.0.0.1": 0, "10.0.0.2": 1, "10.0.0.3": 2}
    assert priorities(close, Vantage(Locality("us", "us-b"))) == {"10.0.0.3": 0, "10.0.0.1": 1, "10.0.0.2": 1}


def policy(mode: str) -> str:
    return f"""
apiVersion: xdscp.io/v1alpha1
kind: TrafficPolicy
metadata: {{name: web, namespace: shop}}
spec:
  targetRefs: [{{group: "", kind: Service, name: web}}]
  loadBalancer: {{type: RoundRobin, locality: {{mode: {mode}}}}}
"""


def test_policy_asks_for_failover():
    """a TrafficPolicy's locality Failover does as trafficDistribution does."""
    failover = world()
    failover.apply(policy("Failover"))

    assert priorities(failover, HERE) == {"10.0.0.1": 0, "10.0.0.2": 1, "10.0.0.3": 2}


def test_hints_are_respected():
    """endpoints hinted for the client's zone come first, the others only when those fail (EP-13)."""
    assert priorities(world(hints=True), HERE) == {"10.0.0.1": 0, "10.0.0.2": 1, "10.0.0.3": 1}


def test_node_local_traffic_stays_on_the_node():
    """internalTrafficPolicy Local leaves only the endpoints of the client's node (EP-13)."""
    local = world(", internalTrafficPolicy: Local")

    assert priorities(local, Vantage(Locality("eu", "eu-b"), "n2")) == {"10.0.0.2": 0}


@pytest.mark.parametrize("vantage", [HERE, NOWHERE, Vantage(Locality("eu", ""))])
def test_priorities_are_contiguous(vantage):
    """priorities count up from zero without a gap, whatever the vantage."""
    found = set(priorities(world(", trafficDistribution: PreferClose"), vantage).values())

    assert found == set(range(len(found)))


def test_policy_switches_zones_off():
    """a TrafficPolicy's locality None wins over trafficDistribution and hints."""
    close = world(", trafficDistribution: PreferClose", hints=True)
    close.apply(policy("None"))

    assert priorities(close, HERE) == {"10.0.0.1": 0, "10.0.0.2": 0, "10.0.0.3": 0}
