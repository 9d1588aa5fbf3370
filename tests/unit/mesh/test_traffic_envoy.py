"""Random policies in the real Envoy: what the models take, Envoy takes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.unit.mesh.policies import Mesh, parsed
from tests.unit.resources.mesh_api.generated import field_of
from tests.unit.translators.envoy_validation import refusal, with_routes
from xdscp.mesh import names, traffic
from xdscp.mesh.destination import Destination
from xdscp.mesh.routing import VirtualHost
from xdscp.resources.core import Key, Service, ServicePort
from xdscp.resources.rejection import Rejected
from xdscp.translators import cds, rds

BATCH = 25
PARTS = ("loadBalancer", "circuitBreaker", "outlierDetection", "connection")


@st.composite
def policy(draw: st.DrawFn) -> Any:
    """A policy with one route, or one part that says how to connect; its backends exist."""
    part = draw(st.sampled_from([*itertools.repeat("routes", 3), *PARTS]))
    value = draw(field_of("TrafficPolicy", part))
    if part == "routes":
        for reference in (*value.get("backends", ()), *value.get("mirrors", ())):
            for name in ("name", "namespace", "port", "subset"):
                reference.pop(name, None)
        value = [value]
    try:
        return parsed("p", {part: value}).spec
    except Rejected:
        assume(condition=False)


def targeting(spec: Any, service: Key) -> Any:
    stored = parsed(service.name, {"targetRefs": [{"name": service.name}]})
    reference = stored.spec.target_refs
    return type(stored)(stored.key, spec.model_copy(update={"target_refs": reference}))


@pytest.mark.envoy
@settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
@given(st.lists(policy(), min_size=BATCH, max_size=BATCH))
def test_envoy_takes_what_the_models_take(specs: list[Any]) -> None:
    """The virtual hosts and clusters of random policies are a valid configuration."""
    services = [Key("shop", f"s{position}") for position in range(BATCH)]
    mesh = Mesh(
        *(targeting(spec, service) for spec, service in zip(specs, services, strict=True)),
        services=[Service(service, ports=(ServicePort(80, "http"),)) for service in services],
    )
    clusters, hosts = [], []
    for service in services:
        connection = mesh(traffic.connection_of, service, 80)
        clusters.append(cds.cluster(Destination(names.cluster(service, 80), "eds", "http", connection)))
        routes = mesh(traffic.routes_of, service, 80)
        hosts.append(rds.virtual_host(VirtualHost(f"out/80/{service.name}", (service.name,), routes)))

    config = with_routes(hosts, clusters)
    layer = config.layered_runtime.layers.add(name="limits").static_layer
    layer.update({"re2.max_program_size.error_level": 1000})

    assert refusal(config) == "", [spec.model_dump(mode="json", exclude_unset=True, by_alias=True) for spec in specs]
