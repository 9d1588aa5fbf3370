"""What TrafficPolicies make of a service's port: its routes, its connection options, its subsets.

Place in the flow: between `mesh.policy_attachment` (which policy counts) and the model; read by `mesh.outbound`,
`mesh.locality`, `mesh.workload` and `assembly`. `Translation` is derived once for a port; routes, retry budgets and
problems are parts of it.

A request that no route matches goes to the service itself, with the mesh's default retries. A TCP port takes the
route without matches of a policy that names the port, or, where all ports are TCP, of one of the whole service: the
routes of a service with HTTP ports are about HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from xdscp.derive import View, derived
from xdscp.mesh import names, policy_connection, policy_routes
from xdscp.mesh.destination import Connection, Hash, LoadBalancer
from xdscp.mesh.listening import TcpListener
from xdscp.mesh.mesh_settings import (
    egress_of,
    explicit_port_of,
    externals_allowed,
    mesh_policy_problems,
    settings_of,
)
from xdscp.mesh.policy_attachment import (
    Part,
    conflicts_of,
    part_for,
    policies_for,
    sections_of,
    subset_policy,
    subsets_of,
)
from xdscp.mesh.routing import Backend, Forward, Route, TcpRoute
from xdscp.mesh.service import MeshPort, port_of, ports_of
from xdscp.resources.core import Key, Problem, Service

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api import routes as api
    from xdscp.resources.mesh_api.traffic_policy import TrafficPolicy

__all__ = [
    "connection_of",
    "egress_of",
    "explicit_port_of",
    "externals_allowed",
    "locality_mode_of",
    "mesh_policy_problems",
    "policies_for",
    "routes_of",
    "subsets_of",
    "tcp_listeners_of",
    "tcp_route_of",
    "traffic_problems",
]

CONDITIONS = {
    "TargetNotFound": "Accepted",
    "UnsupportedProtocol": "Accepted",
    "Conflicted": "Conflicted",
    "BackendNotFound": "ResolvedRefs",
}
"""The status condition that a problem's reason belongs to."""

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Budget:
    """A retry budget that a route gives one of its destinations."""

    destination: str
    percent: float
    minimum: int


@dataclass(frozen=True, slots=True)
class Translation:
    """What the routes that count for a port come to; `tcp` are the backends of a TCP port."""

    routes: tuple[Route, ...] = ()
    tcp: tuple[Backend, ...] = ()
    budgets: tuple[Budget, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Resolution:
    """Finds the destinations of one port's routes, and notes what is missing, of which kind hashes are, and budgets."""

    def __init__(self, view: View, service: Key, number: int, policy: Key) -> None:
        self.view, self.service, self.number, self.policy = view, service, number, policy
        self.problems: list[Problem] = []
        self.hashes: list[tuple[Hash, ...]] = []

    def __call__(self, reference: api.BackendReference, field: str) -> str | None:
        service = self.service
        if reference.name is not None:
            service = Key(reference.namespace or self.policy.namespace, reference.name)
        number, subset = reference.port or self.number, reference.subset or ""
        ports = ports_of(self.view, service)
        missing = ""
        if not ports:
            missing = f"Service {service} does not exist, or has no TCP port"
        elif all(port.number != number for port in ports):
            numbers = ", ".join(str(port.number) for port in ports)
            missing = f"Service {service} has no port {number}; it has {numbers}"
        elif subset and subset_policy(self.view, service, subset) is None:
            defined = ", ".join(name for name, _ in subsets_of(self.view, service)) or "none"
            missing = f"no TrafficPolicy of Service {service} defines the subset {subset}; defined: {defined}"
        if missing:
            self.problems.append(
                Problem("TrafficPolicy", self.policy, "BackendNotFound", f"{field}: {missing}", field=field)
            )
            return None
        self.hashes.append(load_balancer_of(self.view, service, number, subset).hashes)
        return names.cluster(service, number, subset)


# -- routes ------------------------------------------------------------------------------------------------------------


@derived
def translation_of(view: View, service: Key, number: int) -> Translation:
    """What the policies of a service come to on one of its ports."""
    port = port_of(view, service, number)
    if port is None:
        return Translation()
    part = _routes_for(view, service, port)
    default = settings_of(view, service.namespace).retry
    own = default_route(view, service, number)
    if part is None:
        return Translation((own,), (), tuple(_budgets(default, own)))
    resolution = _Resolution(view, service, number, part.policy.key)
    if port.protocol == "tcp":
        return _tcp_translation(part, resolution)
    found: list[Route] = []
    budgets: list[Budget] = []
    for position, each in enumerate(part.value):
        route = _route(each, position, resolution, default)
        found.append(route)
        budgets += _budgets(each.retry if each.retry is not None else default, route)
    if part.value[-1].matches:
        found.append(own)
        budgets += _budgets(default, own)
    return Translation(tuple(found), (), tuple(dict.fromkeys(budgets)), tuple(dict.fromkeys(resolution.problems)))


def _routes_for(view: View, service: Key, port: MeshPort) -> Part | None:
    part = part_for(policies_for(view, service), service, port.name, "routes")
    if part is not None and port.protocol == "tcp" and port.name not in sections_of(part.policy, service):
        mixed = any(other.protocol != "tcp" for other in ports_of(view, service))
        return None if mixed else part
    return part


def _route(part: api.Route, position: int, resolution: _Resolution, default: api.Retry | None) -> Route:
    name = f"{resolution.policy}/{part.name or position}"
    answer = policy_routes.answer(part)
    if answer is not None:
        return policy_routes.route(part, name, answer)
    resolution.hashes.clear()
    chosen = _backends(part, position, resolution)
    hashes = policy_routes.joined_hashes(resolution.hashes)
    copies = policy_routes.mirrors(part, f"spec.routes[{position}]", resolution)
    action = policy_routes.forward(part, chosen, copies, default)
    return policy_routes.route(part, name, replace(action, hashes=hashes) if isinstance(action, Forward) else action)


def _backends(part: api.Route, position: int, resolution: _Resolution) -> tuple[Backend, ...]:
    if part.backends:
        return policy_routes.backends(part, f"spec.routes[{position}]", resolution)
    resolution.hashes.append(load_balancer_of(resolution.view, resolution.service, resolution.number, "").hashes)
    return (Backend(names.cluster(resolution.service, resolution.number)),)


def _tcp_translation(part: Part, resolution: _Resolution) -> Translation:
    for position, each in enumerate(part.value):
        if not each.matches and policy_routes.answer(each) is None:
            return Translation((), _backends(each, position, resolution), (), tuple(dict.fromkeys(resolution.problems)))
    message = (
        f"spec.routes: port {resolution.number} of Service {resolution.service} carries TCP, on which only a route "
        "without matches that sends to backends means something"
    )
    own = Backend(names.cluster(resolution.service, resolution.number))
    problem = Problem("TrafficPolicy", resolution.policy, "UnsupportedProtocol", message, field="spec.routes")
    return Translation((), (own,), (), (problem,))


def _budgets(retry: api.Retry | None, route: Route) -> Iterator[Budget]:
    if retry is not None and retry.budget is not None and isinstance(route.action, Forward) and route.action.retry:
        for backend in route.action.backends:
            yield Budget(backend.destination, retry.budget.percent, retry.budget.min_retries)


def default_route(view: View, service: Key, number: int) -> Route:
    """To the service itself, whatever the request."""
    retry = policy_routes.retry(settings_of(view, service.namespace).retry, None)
    backend = Backend(names.cluster(service, number))
    hashes = load_balancer_of(view, service, number, "").hashes
    return Route("default", (policy_routes.ANY,), Forward((backend,), retry=retry, hashes=hashes))


@derived
def routes_of(view: View, service: Key, number: int) -> tuple[Route, ...]:
    """The routes of a service's HTTP port, of which the last matches everything; empty for a port that is none."""
    port = port_of(view, service, number)
    return translation_of(view, service, number).routes if port is not None and port.protocol != "tcp" else ()


@derived
def tcp_route_of(view: View, service: Key, number: int) -> TcpRoute:
    """Where the connections to a service's port go; without backends, where none of the policy's exists, nowhere."""
    name = names.cluster(service, number)
    port = port_of(view, service, number)
    part = _part(view, service, port.name if port is not None else "", "connection")
    hashes = load_balancer_of(view, service, number, "").hashes
    return TcpRoute(
        name,
        translation_of(view, service, number).tcp if _has_tcp_policy(view, service, port) else (Backend(name),),
        (part.value.idle_timeout or None) if part is not None else None,
        any(source.source == "sourceIP" for source in hashes),
    )


def _has_tcp_policy(view: View, service: Key, port: MeshPort | None) -> bool:
    return port is not None and port.protocol == "tcp" and _routes_for(view, service, port) is not None


# -- connections ---------------------------------------------------------------------------------------------------------


def _part(view: View, service: Key, port_name: str, part: str) -> Part | None:
    policies = policies_for(view, service)
    return part_for(policies, service, port_name, part) if policies else None


def _value(view: View, service: Key, number: int, subset: str, part: str) -> Any | None:
    """The part that counts for a destination: the subset's own, else that of the port."""
    own = subset_policy(view, service, subset) if subset else None
    value = getattr(own, part) if own is not None else None
    if value is not None:
        return value
    port = port_of(view, service, number)
    found = _part(view, service, port.name if port is not None else "", part)
    return found.value if found is not None else None


@derived
def load_balancer_of(view: View, service: Key, number: int, subset: str) -> LoadBalancer:
    """How an endpoint is chosen: as a policy says; else by the client's address for a Service of that session affinity."""
    value = _value(view, service, number, subset, "load_balancer")
    if value is not None:
        return policy_connection.load_balancer(value)
    row: Service | None = view.get("Service", service)
    if row is not None and row.session_affinity:
        return LoadBalancer("RingHash", (Hash("sourceIP"),))
    return LoadBalancer()


@derived
def connection_of(view: View, service: Key, number: int, subset: str = "") -> Connection:
    """How to connect to a service's port, or to a subset of it."""
    options = _value(view, service, number, subset, "connection")
    breaker = _value(view, service, number, subset, "circuit_breaker")
    outliers = _value(view, service, number, subset, "outlier_detection")
    found = policy_connection.connection(options) if options is not None else Connection()
    default = settings_of(view, service.namespace).connect_timeout
    if default is not None and (options is None or options.connect_timeout is None):
        found = replace(found, connect_timeout=default)
    limits = policy_connection.circuit_breaker(breaker) if breaker is not None else found.circuit_breaker
    budgets = [
        budget for budget in _budgets_for(view, service) if budget.destination == names.cluster(service, number, subset)
    ]
    if budgets:
        limits = replace(
            limits,
            retry_budget_percent=max(budget.percent for budget in budgets),
            retry_budget_minimum=max(budget.minimum for budget in budgets),
        )
    return replace(
        found,
        load_balancer=load_balancer_of(view, service, number, subset),
        circuit_breaker=limits,
        outlier_detection=policy_connection.outlier_detection(outliers) if outliers is not None else None,
    )


@derived
def _budgets_for(view: View, service: Key) -> tuple[Budget, ...]:
    """The budgets that routes give to destinations of a service: its own routes, and those that name it as a backend."""
    sources = {service} if policies_for(view, service) or settings_of(view, service.namespace).retry else set()
    for key in view.select("TrafficPolicy", "backend", service):
        policy: TrafficPolicy | None = view.get("TrafficPolicy", key)
        if policy is not None:
            sources.update(Key(key.namespace, target.name) for target in policy.spec.target_refs)
    return tuple(
        budget
        for source in sorted(sources)
        for port in ports_of(view, source)
        for budget in translation_of(view, source, port.number).budgets
    )


def locality_mode_of(
    view: View, service: Key, number: int | None = None
) -> Literal["Failover", "Weighted", "None"] | None:
    """How zones count for a service, or for one of its ports; None: as the Service's `trafficDistribution` says."""
    port = port_of(view, service, number) if number is not None else None
    part = _part(view, service, port.name if port is not None else "", "load_balancer")
    if part is None or part.value.locality is None:
        return None
    mode: Literal["Failover", "Weighted", "None"] = part.value.locality.mode
    return mode


# -- explicit mode -------------------------------------------------------------------------------------------------------


@derived
def tcp_listeners_of(view: View, node: Key) -> tuple[TcpListener, ...]:
    """Explicit mode: the TCP services on loopback ports of a Pod or Workload; its own go before the MeshPolicies'.

    A service without such a port has no listener.
    """
    workload = view.get("Workload", node)
    entries = settings_of(view, node.namespace).explicit_tcp
    address = LOOPBACK
    if workload is not None:
        entries = (*workload.spec.tcp, *entries)
        address = (workload.spec.explicit.address if workload.spec.explicit is not None else None) or LOOPBACK
    found: dict[int, TcpListener] = {}
    for entry in entries:
        service = Key(entry.service.namespace or node.namespace, entry.service.name)
        number = entry.listen_port or entry.port
        if number not in found and port_of(view, service, entry.port) is not None:
            route = tcp_route_of(view, service, entry.port)
            found[number] = TcpListener(f"out/{number}", address, number, route)
    return tuple(found[number] for number in sorted(found))


# -- problems ------------------------------------------------------------------------------------------------------------


@derived
def traffic_problems(view: View, policy: Key) -> tuple[Problem, ...]:
    """What is wrong with a TrafficPolicy beside its form; see `CONDITIONS` for the condition that each belongs to."""
    row: TrafficPolicy | None = view.get("TrafficPolicy", policy)
    if row is None:
        return ()
    found: list[Problem] = []
    for position, target in enumerate(row.spec.target_refs):
        service = Key(policy.namespace, target.name)
        ports = ports_of(view, service)
        field = f"spec.targetRefs[{position}]"
        if view.get("Service", service) is None:
            found.append(_not_found(policy, field, f"Service {service} does not exist"))
        elif target.section_name and all(port.name != target.section_name for port in ports):
            known = ", ".join(port.name for port in ports if port.name) or "no named port"
            message = f"Service {service} has no port named {target.section_name}; it has {known}"
            found.append(_not_found(policy, f"{field}.sectionName", message))
    for service in dict.fromkeys(Key(policy.namespace, target.name) for target in row.spec.target_refs):
        found += conflicts_of(view, row, service)
        for port in ports_of(view, service):
            found += (each for each in translation_of(view, service, port.number).problems if each.key == policy)
    return tuple(dict.fromkeys(found))


def _not_found(policy: Key, field: str, message: str) -> Problem:
    return Problem("TrafficPolicy", policy, "TargetNotFound", f"{field}: {message}", field=field)
