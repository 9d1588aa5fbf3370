"""The table of kinds: what a manifest is, and under what the store finds its object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdscp.resources.core import Key
from xdscp.resources.kinds import INDEXES, KINDS, Identity, digest, identity_of, parse
from xdscp.resources.rejection import Rejected


def manifest(api_version: Any = "v1", kind: Any = "Service", metadata: Any = None) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"} if metadata is None else metadata}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (manifest(), Identity("Service", Key("default", "web"))),
        (manifest(metadata={"name": "web", "namespace": "shop"}), Identity("Service", Key("shop", "web"))),
        (manifest(metadata={"name": "web", "namespace": ""}), Identity("Service", Key("default", "web"))),
        (manifest(kind="Node", metadata={"name": "a.b", "namespace": "x"}), Identity("Node", Key("", "a.b"))),
        (manifest("discovery.k8s.io/v1", "EndpointSlice"), Identity("EndpointSlice", Key("default", "web"))),
        (manifest("xdscp.io/v1alpha1", "TrafficPolicy"), Identity("TrafficPolicy", Key("default", "web"))),
        (manifest(kind="ConfigMap"), None),
        (manifest("apps/v1", "Deployment", metadata={}), None),
        (manifest("serving.knative.dev/v1", "Service"), None),
        (manifest("gateway.kgateway.dev/v1alpha1", "TrafficPolicy"), None),
    ],
)
def test_a_manifest_says_which_object_it_is(given_: dict[str, Any], expected: Identity | None) -> None:
    """Group and kind decide; a namespaced object without a namespace is in `default`; other kinds are not read."""
    assert identity_of(given_) == expected


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "kind: is required"),
        ({"kind": "Service"}, "apiVersion: is required"),
        (manifest(kind=5), "kind: must be a string"),
        (manifest(api_version=1), "apiVersion: must be a string"),
        (manifest(kind="Servce"), "did you mean Service?"),
        (manifest("xdscp.io/v1alpha1", "TraficPolicy"), "did you mean TrafficPolicy?"),
        (manifest("xdscp.io/v1", "TrafficPolicy"), "TrafficPolicy is read as xdscp.io/v1alpha1"),
        (manifest("xdsp.io/v1alpha1", "TrafficPolicy"), "did you mean xdscp.io/v1alpha1?"),
        (manifest("discovery.k8s.io/v1beta1", "EndpointSlice"), "EndpointSlice is read as discovery.k8s.io/v1"),
        (manifest(metadata=[]), "metadata: must be a mapping"),
        (manifest(metadata={}), "metadata.name: is required"),
        (manifest(metadata={"name": 5}), "metadata.name: must be a string"),
        (manifest(metadata={"name": "a/b"}), "metadata.name: must be a DNS label"),
        (manifest(metadata={"name": "a.b"}), "metadata.name: must be a DNS label"),
        (manifest(metadata={"name": "a\n"}), "metadata.name: must be a DNS label"),
        (manifest(metadata={"name": "a\0"}), "metadata.name: must not have a NUL"),
        (manifest(metadata={"name": "a" * 64}), "metadata.name: must be a DNS label"),
        (manifest(kind="Pod", metadata={"name": "a" * 254}), "metadata.name: must be a DNS name"),
        (manifest(kind="Pod", metadata={"name": "a..b"}), "metadata.name: must be a DNS name"),
        (manifest(metadata={"name": "a", "namespace": "a.b"}), "metadata.namespace: must be a DNS label"),
    ],
)
def test_a_manifest_that_is_no_object_is_refused(given_: dict[str, Any], message: str) -> None:
    """What names no object, or nearly one of ours, is told; it is never silently ignored."""
    with pytest.raises(Rejected) as caught:
        identity_of(given_)

    assert message in str(caught.value)


def values_of(kind: str, spec: dict[str, Any], index: str, **fields: Any) -> list[Any]:
    metadata = {"name": "web", "namespace": "shop", **fields.pop("metadata", {})}
    return list(INDEXES[kind][index](parse(kind, Key("shop", "web"), {"metadata": metadata, "spec": spec, **fields})))


def test_services_are_found_by_tree() -> None:
    """A Service is in one leaf of 256, and in the branch of 16 that has the leaf."""
    assert values_of("Service", {}, "namespace") == ["shop"]
    assert values_of("Service", {}, "all") == [()]
    assert values_of("Service", {}, "bucket256") == [("shop", digest("web"))]
    assert values_of("Service", {}, "bucket16") == [("shop", digest("web") // 16)]


def test_slices_are_found_by_service() -> None:
    """A slice is found by the Service of its own namespace that its label names; without the label, by none."""
    labels = {"kubernetes.io/service-name": "cart"}

    assert values_of("EndpointSlice", {}, "service", metadata={"labels": labels}, addressType="IPv4") == [
        Key("shop", "cart")
    ]
    assert values_of("EndpointSlice", {}, "service", addressType="IPv4") == []


def test_pods_are_found_by_label() -> None:
    """A Pod is found by each of its labels within its namespace."""
    found = values_of("Pod", {}, "label", metadata={"labels": {"app": "web", "v": "1"}})

    assert found == [("shop", "app", "web"), ("shop", "v", "1")]


def test_workloads_are_found_like_pods() -> None:
    """A Workload is found by the labels of its spec, under the same index as a Pod."""
    manifest_ = {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"address": "10.0.0.1", "labels": {"app": "web"}},
    }
    row = parse("Workload", Key("shop", "web"), manifest_)

    assert list(INDEXES["Workload"]["label"](row)) == [("shop", "app", "web")]
    assert list(INDEXES["Workload"]["namespace"](row)) == ["shop"]


def test_an_unknown_field_of_our_kinds_is_refused_by_name() -> None:
    """Our own kinds refuse what they do not know, with the nearest name."""
    manifest_ = {**manifest("xdscp.io/v1alpha1", "Workload"), "spec": {"adress": "10.0.0.1"}}

    with pytest.raises(
        Rejected, match=r"spec\.adress: unknown field; did you mean address\? \(given: \"10\.0\.0\.1\"\)"
    ):
        parse("Workload", Key("default", "web"), manifest_)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=20,
)
fields = st.sampled_from(["metadata", "spec", "kind", "apiVersion", "targetRefs", "routes", "labels", "name", "ports"])


@given(st.dictionaries(fields, trees | st.dictionaries(fields, trees)), st.sampled_from(sorted(KINDS)))
def test_any_manifest_is_an_object_or_refused(given_: dict[str, Any], kind: str) -> None:
    """Whatever stands in a manifest, it is identified and parsed, or `Rejected` says why not."""
    for call in (lambda: identity_of(given_), lambda: parse(kind, Key("a", "b"), given_)):
        try:
            call()
        except Rejected as error:
            assert str(error)


def ours(kind: str, spec: dict[str, Any]) -> Any:
    metadata = {"name": "web", "namespace": "shop"}
    manifest_ = {"apiVersion": "xdscp.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    return parse(kind, Key("shop", "web"), manifest_)


def test_policies_are_found_by_service() -> None:
    """A TrafficPolicy is found by the Services that it is attached to, and by those that its routes send to."""
    row = ours(
        "TrafficPolicy",
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "routes": [{"backends": [{"name": "cart"}, {"name": "cart", "namespace": "other"}]}],
        },
    )
    indexes = INDEXES["TrafficPolicy"]

    assert list(indexes["target"](row)) == [Key("shop", "web")]
    assert set(indexes["backend"](row)) == {Key("shop", "cart"), Key("other", "cart")}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Service", {"ports": [{"port": 80}], "selector": {"a": "b"}, "clusterIP": "10.0.0.1"}),
        ("Pod", {}),
        ("Namespace", {}),
        ("Node", {}),
        ("TrafficPolicy", {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}]}),
        ("MeshPolicy", {}),
        ("ExternalService", {"hosts": ["example.com"], "ports": [{"number": 443}]}),
        ("Workload", {"address": "10.0.0.1"}),
    ],
)
def test_every_index_reads_its_kind(kind: str, spec: dict[str, Any]) -> None:
    """Each index of a kind gives hashable values for an object of it."""
    try:
        row = ours(kind, spec)
    except Rejected as error:
        pytest.fail(str(error))
    for index in INDEXES[kind].values():
        assert all(isinstance(hash(value), int) for value in index(row))
