"""Random policies: every one that is taken translates, and the order in which they come never matters."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.unit.mesh.policies import DATABASE, RATINGS, REVIEWS, SERVICES, Mesh, parsed
from tests.unit.resources.mesh_api.generated import spec_of
from xdscp.mesh import traffic
from xdscp.mesh.routing import Forward, RequestMatch
from xdscp.resources.core import Key
from xdscp.resources.rejection import Rejected

QUICK = tuple(phase for phase in Phase if phase is not Phase.explain)
"""Explaining a failure traces every line, which the generated schemas make slow."""

PORTS = tuple((service.key, port.number) for service in SERVICES for port in service.ports)


def translated(mesh: Mesh) -> dict[Any, Any]:
    """All that the policies of a mesh come to."""
    found: dict[Any, Any] = {}
    for service, number in PORTS:
        subsets = mesh(traffic.subsets_of, service)
        found[service, number] = (
            mesh(traffic.routes_of, service, number),
            mesh(traffic.tcp_route_of, service, number),
            [mesh(traffic.connection_of, service, number, subset) for subset in ("", *dict(subsets))],
            subsets,
        )
    for name in "abc":
        found[name] = mesh(traffic.traffic_problems, Key("shop", name))
    return found


@st.composite
def policy(draw: st.DrawFn, name: str) -> Any:
    spec = dict(draw(spec_of("TrafficPolicy")))
    targets = st.sampled_from([key.name for key in (REVIEWS, RATINGS, DATABASE)])
    spec["targetRefs"] = [{"name": draw(targets), **draw(st.sampled_from([{}, {"sectionName": "http"}]))}]
    for route in spec.get("routes", ()):
        for backend in route.get("backends", ()):
            if "name" in backend:
                backend.update(name=draw(targets), namespace="shop")
    try:
        return parsed(name, spec, created=draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])))
    except Rejected:
        assume(condition=False)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck), phases=QUICK)
@given(st.tuples(policy("a"), policy("b"), policy("c")), st.randoms(use_true_random=False))
def test_any_policies_translate_in_any_order(policies: tuple[Any, ...], chance: random.Random) -> None:
    """Nothing raises, every HTTP port has a route for every request, and order does not matter."""
    found = translated(Mesh(*policies))
    for (_, number), (routes, tcp, _, _) in ((key, value) for key, value in found.items() if isinstance(key, tuple)):
        if number in {80, 8080}:
            assert routes[-1].matches == (RequestMatch(),)
        assert tcp.name
        for route in routes:
            assert not isinstance(route.action, Forward) or any(backend.weight for backend in route.action.backends)

    shuffled = list(policies)
    chance.shuffle(shuffled)
    mesh = Mesh()
    for each in shuffled:
        mesh.hold(each)
        translated(mesh)
    assert translated(mesh) == found
