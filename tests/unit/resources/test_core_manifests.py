"""Kubernetes' own kinds: what is read of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdscp.resources.core import (
    ContainerPort,
    EndpointSlice,
    Key,
    Namespace,
    Node,
    Pod,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)
from xdscp.resources.kinds import KINDS, parse
from xdscp.resources.rejection import Rejected

KEY = Key("shop", "web")


def parsed(kind: str, **fields: Any) -> Any:
    return parse(kind, KEY, {"metadata": {"name": "web", "namespace": "shop"}, **fields})


def slice_of(**fields: Any) -> EndpointSlice:
    return parsed("EndpointSlice", **{"addressType": "IPv4", **fields})


def endpoint(**fields: Any) -> SliceEndpoint:
    return slice_of(endpoints=[{"addresses": ["10.0.0.1"], **fields}]).endpoints[0]


def test_a_service_is_read() -> None:
    """A Service keeps what routes depend on."""
    found = parsed(
        "Service",
        metadata={"name": "web", "namespace": "shop", "creationTimestamp": "2024-01-01T00:00:00Z"},
        spec={
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1", "FD00::1"],
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"},
                {"name": "dns", "port": 80, "protocol": "UDP", "nodePort": 30080},
                {"name": "sig", "port": 90, "protocol": "SCTP", "targetPort": 9000},
            ],
            "selector": {"b": "2", "a": "1"},
            "publishNotReadyAddresses": True,
            "trafficDistribution": "PreferClose",
            "internalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP",
            "somethingNew": {"x": 1},
        },
    )

    assert found == Service(
        KEY,
        "ClusterIP",
        ("10.96.0.1", "fd00::1"),
        (
            ServicePort(80, "http", "web", "TCP", "http"),
            ServicePort(80, "dns", 80, "UDP"),
            ServicePort(90, "sig", 9000, "SCTP"),
        ),
        (("a", "1"), ("b", "2")),
        publish_not_ready=True,
        traffic_distribution="PreferClose",
        internal_traffic_policy="Local",
        session_affinity=True,
        created="2024-01-01T00:00:00Z",
    )


def test_a_single_port_needs_no_name() -> None:
    """The only port of a Service may be unnamed, and its target is its own number by default."""
    assert parsed("Service", spec={"ports": [{"port": 80}]}).ports == (ServicePort(80, "", 80),)
    assert parsed("Service", spec={"ports": [{"port": 80, "targetPort": 0}]}).ports == (ServicePort(80, "", 80),)


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIPs": ["None"]}])
def test_a_headless_service_has_no_address(spec: dict[str, Any]) -> None:
    """`clusterIP: None` is headless."""
    found = parsed("Service", spec=spec)

    assert (found.type, found.cluster_ips) == ("Headless", ())


def test_an_external_name_is_a_host() -> None:
    """The host of an ExternalName Service is read as DNS compares it; addresses and selector mean nothing there."""
    found = parsed("Service", spec={"type": "ExternalName", "externalName": "API.Example.com.", "selector": {"a": "b"}})

    assert (found.type, found.external_name, found.selector) == ("ExternalName", "api.example.com", ())


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([], "spec"),
        ({"ports": {}}, "spec.ports"),
        ({"ports": [None]}, "spec.ports[0]"),
        ({"ports": [{}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 65536}]}, "spec.ports[0].port"),
        ({"ports": [{"port": True}]}, "spec.ports[0].port"),
        ({"ports": [{"port": "80"}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80.5}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80, "protocol": "tcp"}]}, "spec.ports[0].protocol"),
        ({"ports": [{"port": 80, "targetPort": "8080"}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "targetPort": "no_name"}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "targetPort": -1}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "name": "HTTP"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a/b"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "spec.ports[1].port"),
        ({"type": "Clusterip"}, "spec.type"),
        ({"clusterIP": "10.96.0"}, "spec.clusterIP"),
        ({"clusterIP": "10.96.0.1\0"}, "spec.clusterIP"),
        ({"clusterIPs": ["10.96.0.1", "010.1.1.1"]}, "spec.clusterIPs[1]"),
        ({"clusterIPs": ["None", "10.96.0.1"]}, "spec.clusterIPs"),
        ({"selector": {"version": 1}}, "spec.selector.version"),
        ({"selector": {"app.io/version": 1}}, 'spec.selector["app.io/version"]'),
        ({"selector": ["a"]}, "spec.selector"),
        ({"type": "ExternalName"}, "spec.externalName"),
        ({"type": "ExternalName", "externalName": "a b"}, "spec.externalName"),
        ({"internalTrafficPolicy": "local"}, "spec.internalTrafficPolicy"),
        ({"sessionAffinity": 1}, "spec.sessionAffinity"),
        ({"publishNotReadyAddresses": "yes"}, "spec.publishNotReadyAddresses"),
    ],
)
def test_a_bad_service_names_the_field(spec: Any, field: str) -> None:
    """A Service that the API server would refuse is refused, by the path of the field."""
    with pytest.raises(Rejected) as caught:
        parsed("Service", spec=spec)

    assert [found.field for found in caught.value.findings] == [field]


def test_a_slice_is_read() -> None:
    """An EndpointSlice belongs to the Service of its label; an endpoint knows its pod, node, zone and hints."""
    found = slice_of(
        metadata={"name": "web", "labels": {"kubernetes.io/service-name": "web", "other": "label"}},
        ports=[{"name": "http", "port": 8080, "appProtocol": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        endpoints=[
            {
                "addresses": ["10.0.0.1"],
                "hostname": "web-0",
                "nodeName": "node-1",
                "zone": "a",
                "hints": {"forZones": [{"name": "a"}, {"name": "b"}]},
                "targetRef": {"kind": "Pod", "name": "web-0"},
            }
        ],
    )

    assert found.service == "web"
    assert found.ports == (SlicePort(8080, "http", "TCP", "http"), SlicePort(53, "dns", "UDP"))
    assert found.endpoints == (
        SliceEndpoint(
            ("10.0.0.1",),
            hostname="web-0",
            node="node-1",
            zone="a",
            hint_zones=("a", "b"),
            pod=Key("shop", "web-0"),
        ),
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, (True, True, False)),
        ({}, (True, True, False)),
        ({"ready": None, "serving": None, "terminating": None}, (True, True, False)),
        ({"ready": False}, (False, False, False)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
        ({"ready": True, "serving": False}, (True, False, False)),
    ],
)
def test_conditions_default_as_the_api_says(conditions: Any, expected: tuple[bool, bool, bool]) -> None:
    """A condition that is not said is ready, serving as ready, and not terminating."""
    found = endpoint(conditions=conditions)

    assert (found.ready, found.serving, found.terminating) == expected


@pytest.mark.parametrize("ports", [None, []])
def test_a_slice_may_have_no_ports(ports: Any) -> None:
    """No ports, as an empty list or null, is none."""
    assert slice_of(ports=ports).ports == ()


def test_a_port_of_null_is_every_port() -> None:
    """A port whose number is null stands for all; a missing number is the same."""
    assert slice_of(ports=[{"port": None}, {"name": "x"}]).ports == (SlicePort(None), SlicePort(None, "x"))


def test_ipv6_addresses_have_one_spelling() -> None:
    """Spellings of an IPv6 address are one address."""
    found = slice_of(addressType="IPv6", endpoints=[{"addresses": ["FD00:0:0::1"]}])

    assert (found.family, found.endpoints[0].addresses) == ("IPv6", ("fd00::1",))


def test_a_slice_of_host_names_is_refused_with_the_reason() -> None:
    """FQDN slices are refused, and the finding says what to use."""
    with pytest.raises(Rejected, match=r"addressType: must be IPv4 or IPv6; FQDN.*ExternalName"):
        slice_of(addressType="FQDN", endpoints=[{"addresses": ["example.com"]}])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"addressType": None}, "addressType"),
        ({"endpoints": {}}, "endpoints"),
        ({"endpoints": [{}]}, "endpoints[0].addresses"),
        ({"endpoints": [{"addresses": []}]}, "endpoints[0].addresses"),
        ({"endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["::1"]}]}, "endpoints[1].addresses[0]"),
        ({"endpoints": [{"addresses": ["1.1.1.1", 5]}]}, "endpoints[0].addresses[1]"),
        ({"endpoints": [{"addresses": ["1.1.1.1"], "conditions": []}]}, "endpoints[0].conditions"),
        ({"endpoints": [{"addresses": ["1.1.1.1"], "conditions": {"ready": 1}}]}, "endpoints[0].conditions.ready"),
        ({"endpoints": [{"addresses": ["1.1.1.1"], "hints": {"forZones": [1]}}]}, "endpoints[0].hints.forZones[0]"),
        (
            {"endpoints": [{"addresses": ["1.1.1.1"], "targetRef": {"kind": "Pod", "name": 1}}]},
            "endpoints[0].targetRef.name",
        ),
        ({"ports": [{"port": 0}]}, "ports[0].port"),
        ({"metadata": {"labels": {"kubernetes.io/service-name": 5}}}, 'metadata.labels["kubernetes.io/service-name"]'),
    ],
)
def test_a_bad_slice_names_the_field(fields: dict[str, Any], field: str) -> None:
    """A bad EndpointSlice is refused by the path of the field."""
    with pytest.raises(Rejected) as caught:
        slice_of(**fields)

    assert [found.field for found in caught.value.findings] == [field]


def test_a_pod_is_read() -> None:
    """A Pod keeps its labels, addresses, identity, ports (of sidecar containers too) and our annotations."""
    found = parsed(
        "Pod",
        metadata={
            "labels": {"app": "web"},
            "annotations": {"xdscp.io/a": "1", "other": 5},
            "deletionTimestamp": "2024-01-01T00:00:00Z",
        },
        spec={
            "serviceAccountName": "web",
            "nodeName": "node-1",
            "hostname": "web-0",
            "subdomain": "web",
            "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}, {}],
            "initContainers": [
                {"restartPolicy": "Always", "ports": [{"containerPort": 9090, "protocol": "UDP"}]},
                {"ports": [{"containerPort": 1}]},
            ],
        },
        status={
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "phase": "Running",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}],
        },
    )

    assert found == Pod(
        KEY,
        (("app", "web"),),
        ("10.0.0.1", "fd00::1"),
        "web",
        "node-1",
        "web-0",
        "web",
        (ContainerPort("http", 8080), ContainerPort("", 9090, "UDP")),
        (("xdscp.io/a", "1"),),
        ready=False,
        terminating=True,
    )


def test_a_pod_of_a_folder_is_ready() -> None:
    """A Pod without conditions, as one writes it by hand, is ready; one that has ended is finished."""
    assert parsed("Pod", status={"podIP": "10.0.0.1"}) == Pod(KEY, ips=("10.0.0.1",))
    assert parsed("Pod", status={"phase": "Succeeded"}).finished


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"status": {"podIP": "x"}}, "status.podIP"),
        ({"status": {"podIPs": [{"ip": "1.1.1.1"}, {"ip": "x"}]}}, "status.podIPs[1].ip"),
        ({"status": {"conditions": [1]}}, "status.conditions[0]"),
        ({"spec": {"containers": [{"ports": [{}]}]}}, "spec.containers[0].ports[0].containerPort"),
        ({"spec": {"serviceAccountName": "a/b"}}, "spec.serviceAccountName"),
        ({"metadata": {"labels": {"a": None, "b": []}}}, "metadata.labels.b"),
    ],
)
def test_a_bad_pod_names_the_field(fields: dict[str, Any], field: str) -> None:
    """A bad Pod is refused by the path of the field."""
    with pytest.raises(Rejected) as caught:
        parsed("Pod", **fields)

    assert [found.field for found in caught.value.findings] == [field]


def test_namespaces_and_nodes_are_read() -> None:
    """A Namespace keeps its labels, a Node where it stands."""
    places = {"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "eu", "other": "x"}

    assert parsed("Namespace", metadata={"labels": {"a": "b"}}) == Namespace(KEY, (("a", "b"),))
    assert parsed("Node", metadata={"labels": places}) == Node(KEY, "a", "eu")
    assert parsed("Node") == Node(KEY)


FIELDS = (
    *("metadata", "labels", "spec", "ports", "port", "name", "protocol", "targetPort", "addressType", "endpoints"),
    *("addresses", "conditions", "ready", "hints", "forZones", "targetRef", "kind", "status", "podIPs", "ip", "podIP"),
    *("containers", "containerPort", "selector", "type", "clusterIP", "clusterIPs", "externalName"),
)
names = st.sampled_from(FIELDS)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["IPv4", "IPv6", "10.0.0.1", "::1", "None", "ExternalName", "Pod", "TCP", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(), inner, max_size=6),
    max_leaves=40,
)


@given(st.sampled_from(["Service", "EndpointSlice", "Pod", "Namespace", "Node"]), st.dictionaries(names, values))
def test_a_parser_returns_or_rejects(kind: str, manifest: dict[str, Any]) -> None:
    """Whatever stands in a manifest, a parser gives a hashable object or says what is wrong; it raises nothing else."""
    try:
        row = KINDS[kind].parse(manifest, KEY)
    except Rejected as error:
        assert all(found.message for found in error.findings)
    else:
        hash(row)
