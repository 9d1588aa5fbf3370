"""The kinds of our API: what their models refuse across fields, and what the parsers make of manifests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.resources.mesh_api.generated import spec_of
from xdscp.resources.core import Key
from xdscp.resources.mesh_api import PARSERS, SPECS
from xdscp.resources.reference_texts import EXAMPLES
from xdscp.resources.rejection import Rejected


def manifest(kind: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "p", "namespace": "shop", **metadata},
        "spec": spec,
    }


def traffic(text: str) -> dict[str, Any]:
    spec = {"targetRefs": [{"name": "reviews"}], **yaml.safe_load(text)}
    return manifest("TrafficPolicy", spec)


def findings(given: dict[str, Any]) -> list[str]:
    with pytest.raises(Rejected) as caught:
        PARSERS[given["kind"]](given)
    return [str(finding) for finding in caught.value.findings]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_of_the_reference_are_taken(kind: str) -> None:
    """The example of each kind's page is valid."""
    assert PARSERS[kind](yaml.safe_load(EXAMPLES[kind]))


def test_an_object_is_stored_with_what_decides_conflicts() -> None:
    """Key, age, generation and labels of the metadata are kept."""
    given = manifest(
        "TrafficPolicy",
        {"targetRefs": [{"name": "reviews"}]},
        creationTimestamp="2026-01-02T03:04:05Z",
        generation=3,
        labels={"b": "2", "a": "1"},
        managedFields=[{}],
    )
    stored = PARSERS["TrafficPolicy"](given)

    assert stored.key == Key("shop", "p")
    assert (stored.created, stored.generation) == ("2026-01-02T03:04:05Z", 3)
    assert stored.labels == (("a", "1"), ("b", "2"))
    assert hash(stored.spec) == hash(PARSERS["TrafficPolicy"](given).spec)


def test_a_date_that_yaml_has_read_is_the_same_date() -> None:
    """A creationTimestamp without quotes in a file is a datetime, and means the same."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    stored = PARSERS["TrafficPolicy"](
        manifest("TrafficPolicy", {"targetRefs": [{"name": "r"}]}, creationTimestamp=moment)
    )
    assert stored.created == "2026-01-02T03:04:05Z"


def test_an_object_without_namespace_is_in_default() -> None:
    """As kubectl does it."""
    given = manifest("TrafficPolicy", {"targetRefs": [{"name": "r"}]})
    del given["metadata"]["namespace"]
    assert PARSERS["TrafficPolicy"](given).key == Key("default", "p")


def test_labels_of_a_workload_may_stand_in_spec_or_metadata() -> None:
    """They are one set, in which the spec's value counts."""
    given = manifest("Workload", {"address": "10.0.0.1", "labels": {"a": "spec"}}, labels={"a": "meta", "b": "meta"})
    stored = PARSERS["Workload"](given)
    assert stored.labels == stored.spec.labels == (("a", "spec"), ("b", "meta"))


def test_retry_conditions_may_be_called_on() -> None:
    """`on` is understood, also where YAML has made a boolean of it."""
    for name in ("on", "retryOn"):
        stored = PARSERS["TrafficPolicy"](traffic(f"routes: [{{retry: {{attempts: 2, {name}: [5xx]}}}}]"))
        assert stored.spec.routes[0].retry.retry_on == ("5xx",)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("rotues: []", "spec.rotues: unknown field; did you mean routes?"),
        (
            "routes: [{backends: [{wieght: 1}]}]",
            "spec.routes[0].backends[0].wieght: unknown field; did you mean weight?",
        ),
        (
            "routes: [{backends: [{weight: -1}]}]",
            "spec.routes[0].backends[0].weight: must be greater than or equal to 0",
        ),
        ("routes: [{timeouts: {request: soon}}]", "spec.routes[0].timeouts.request: must be a duration such as"),
        ("routes: [{timeouts: {request: 1s, perTry: 2s}}]", "perTry must not be longer than request"),
        ("routes: [{backends: [{weight: 0}]}]", "backends need a weight above 0"),
        ("routes: [{backends: [{namespace: x}]}]", "namespace needs name"),
        ("routes: [{redirect: {}}]", "needs scheme, hostname, port or path"),
        ("routes: [{redirect: {port: 1}, directResponse: {status: 200}}]", "exclude each other"),
        ("routes: [{redirect: {port: 1}, retry: {attempts: 1}}]", "retry means nothing beside redirect"),
        ("routes: [{redirect: {port: 1, statusCode: 300}}]", "spec.routes[0].redirect.statusCode: must be 301"),
        (
            "routes: [{redirect: {path: {type: ReplaceFullPath, replacePrefixMatch: /}}}]",
            "takes exactly replaceFullPath",
        ),
        (
            "routes: [{rewrite: {path: {type: RegularExpression, pattern: a}}}]",
            "takes exactly pattern and substitution",
        ),
        (
            "routes: [{rewrite: {path: {type: RegularExpression, pattern: a, substitution: '\\1'}}}]",
            "pattern has 0 groups",
        ),
        ("routes: [{rewrite: {}}]", "needs hostname or path"),
        (
            "routes:\n- matches: [{path: {type: Exact, value: /a}}]\n"  # noqa: ISC004  # one text
            "  rewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}",
            "needs every match's path to be of type PathPrefix",
        ),
        ("routes: [{directResponse: {status: 199}}]", "must be greater than or equal to 200"),
        ("routes: [{directResponse: {status: 600}}]", "must be less than or equal to 599"),
        ("routes: [{fault: {}}]", "needs delay or abort"),
        ("routes: [{fault: {delay: {duration: 0s}}}]", "from 1ms"),
        ("routes: [{fault: {abort: {percent: 1}}}]", "exactly one of httpStatus and grpcStatus"),
        ("routes: [{fault: {abort: {httpStatus: 500, percent: .nan}}}]", "must be a finite number"),
        ("routes: [{retry: {attempts: 101}}]", "must be less than or equal to 100"),
        ("routes: [{retry: {retryOn: [bogus]}}]", "spec.routes[0].retry.retryOn[0]: must be '5xx'"),
        ("routes: [{retry: {backoffMax: 1s}}]", "backoffMax needs backoff"),
        ("routes: [{retry: {backoff: 2s, backoffMax: 1s}}]", "backoffMax must not be shorter"),
        ("routes: [{}, {}]", "routes[1] can never match"),
        ("routes: [{name: a, matches: [{}]}, {name: a}]", "routes has a twice"),
        ("subsets: [{name: a, labels: {v: x}}, {name: a, labels: {v: y}}]", "subsets has a twice"),
        ("subsets: [{name: a/b, labels: {v: x}}]", "spec.subsets[0].name: must be letters, digits"),
        ("subsets: [{name: a, labels: {}}]", "at least 1 label"),
        ("targetRefs: []", "spec.targetRefs: tuple should have at least 1 item"),
        ("targetRefs: [{name: a}, {name: a}]", "targetRefs has a twice"),
        ("targetRefs: [{kind: Gateway, name: a}]", "must be 'Service'"),
        ("routes: [{matches: [{path: {value: a}}]}]", "must be a path that begins with /"),
        ("routes: [{matches: [{path: {type: RegularExpression, value: '('}}]}]", "is no RE2 regular expression"),
        ("routes: [{matches: [{headers: [{name: a, type: Present, value: b}]}]}]", "takes no a value"),
        ("routes: [{matches: [{headers: [{name: a}]}]}]", "needs a value"),
        ("routes: [{matches: [{method: CONNECT}]}]", "must be 'GET'"),
        ("routes: [{matches: [{method: GET, grpc: {}}]}]", "grpc stands instead of path and method"),
        ("routes: [{matches: [{grpc: {service: a/b}}]}]", "gRPC service's full name"),
        ("routes: [{requestHeaders: {set: [{name: a, value: b}, {name: A, value: c}]}}]", "names the header a twice"),
        ("routes: [{requestHeaders: {set: [{name: Host, value: b}]}}]", "use rewrite.hostname"),
        ("routes: [{cors: {allowOrigins: [example.com]}}]", "must be an origin such as"),
        ("loadBalancer: {type: RingHash}", "type RingHash needs hash"),
        ("loadBalancer: {hash: [{header: a}]}", "type LeastRequest takes no hash"),
        ("loadBalancer: {type: Maglev, hash: [{header: a, query: b}]}", "exactly one of header"),
        ("loadBalancer: {type: Maglev, hash: [{header: a}], tableSize: 65536}", "must be a prime number"),
        ("loadBalancer: {type: Random, slowStart: 1s}", "slowStart is for RoundRobin and LeastRequest only"),
        ("loadBalancer: {type: RingHash, hash: [{query: a}], ringSize: {min: 9, max: 8}}", "must not be above max"),
        ("circuitBreaker: {maxConnections: 4294967296}", "must be less than or equal to 4294967295"),
        ("outlierDetection: {maxEjectionPercent: 101}", "must be less than or equal to 100"),
        ("outlierDetection: {baseEjection: 2s, maxEjection: 1s}", "maxEjection must not be shorter"),
        ("outlierDetection: {maxEjection: 29s}", "left out is 30s"),
        ("connection: {connectTimeout: 0s}", "from 1ms"),
        ("connection: {tcpKeepalive: {time: 10h}}", "whole seconds"),
        ("connection: {http: {initialStreamWindow: 65534}}", "must be greater than or equal to 65535"),
    ],
)
def test_a_traffic_policy_that_is_refused(text: str, finding: str) -> None:
    """What Envoy would reject or misread is refused, by field, value and what is allowed."""
    found = findings(traffic(text))
    assert any(finding in each for each in found), found


@pytest.mark.parametrize(
    ("kind", "text", "finding"),
    [
        ("MeshPolicy", "egress: allow", "spec.egress: must be 'Allow', 'Registered' or 'Deny'"),
        (
            "MeshPolicy",
            "explicit: {tcp: [{service: {name: a}, port: 1}, {service: {name: b}, port: 1}]}",
            "port 1 twice",
        ),
        ("ExternalService", "hosts: ['*.a.example']\nports: [{number: 1}]", "must be a DNS name"),
        ("ExternalService", "hosts: [a.example, a.example]\nports: [{number: 1}]", "hosts has a.example twice"),
        ("ExternalService", "hosts: [a.example]\nports: [{number: 1}]\nresolution: Static", "Static needs endpoints"),
        (
            "ExternalService",
            "hosts: [a.example]\nports: [{number: 1}]\nresolution: Static\nendpoints: [{address: b.example}]",
            "must be an IP address",
        ),
        (
            "ExternalService",
            "hosts: [a.example]\nports: [{number: 1, tls: {sni: b.example}}]",
            "sni needs mode Originate",
        ),
        ("Workload", "{}", "spec.address: is required"),
        ("Workload", "address: 10.0.0.1\nweight: 0", "spec.weight: must be greater than or equal to 1"),
        ("Workload", "address: 10.0.0.1\nports: [{port: 1}, {port: 1}]", "ports has 1 twice"),
    ],
)
def test_another_object_that_is_refused(kind: str, text: str, finding: str) -> None:
    """The other kinds are checked in the same words."""
    found = findings(manifest(kind, yaml.safe_load(text)))
    assert any(finding in each for each in found), found


@pytest.mark.parametrize("broken", [{"spec": None}, {"spec": []}, {"apiVersion": "v1"}, {"metadata": {}}, {"extra": 1}])
def test_an_envelope_that_is_refused(broken: dict[str, Any]) -> None:
    """A manifest that is no object of ours is refused too."""
    assert findings({**traffic("{}"), **broken})


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A policy with two mistakes has two findings."""
    assert len(findings(traffic("{routes: [{backends: [{weight: x}]}], circuitBreaker: {maxRequests: 0}}"))) == 2


QUICK = tuple(phase for phase in Phase if phase is not Phase.explain)
"""Explaining a failure traces every line, which the generated schemas make slow."""

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@pytest.mark.parametrize("kind", SPECS)
@settings(deadline=None)
@given(data=st.data())
def test_no_spec_breaks_a_parser(kind: str, data: st.DataObject) -> None:
    """Any spec, also with known fields and wrong values, is taken or refused with findings."""
    names = st.sampled_from([field.alias or name for name, field in SPECS[kind].model_fields.items()])
    spec = data.draw(st.dictionaries(names | st.text(max_size=8), _JSON, max_size=4) | _JSON)
    try:
        PARSERS[kind](manifest(kind, spec))
    except Rejected as rejected:
        assert rejected.findings


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck), phases=QUICK)
@given(st.sampled_from(sorted(SPECS)).flatmap(lambda kind: st.tuples(st.just(kind), spec_of(kind))))
def test_what_a_schema_allows_is_read_or_refused_in_words(given_object: tuple[str, dict[str, Any]]) -> None:
    """A spec that the API server takes is taken here, or refused by a check across fields."""
    kind, spec = given_object
    try:
        stored = PARSERS[kind](manifest(kind, spec))
    except Rejected as rejected:
        assert not any("unknown field" in finding.message for finding in rejected.findings)
    else:
        again = PARSERS[kind](manifest(kind, stored.spec.model_dump(mode="json", exclude_unset=True, by_alias=True)))
        assert again.spec == stored.spec
