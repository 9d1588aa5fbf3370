"""What the routes that count for a service's port come to: routes of the model, retry budgets, and problems.

Place in the flow: between `mesh.policy_attachment` (which policy counts) and `mesh.traffic`. `Translation` is derived
once for a port.

A request that no route matches goes to the service itself, with the mesh's default retries. A TCP port takes the
route without matches of a policy that names the port, or, where all ports are TCP, of one of the whole service: the
routes of a service with HTTP ports are about HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdscp.derive import View, derived
from xdscp.mesh import names, policy_routes
from xdscp.mesh.destination import Hash
from xdscp.mesh.mesh_settings import settings_of
from xdscp.mesh.policy_attachment import Part, part_for, policies_for, sections_of, subset_policy, subsets_of
from xdscp.mesh.policy_balancing import load_balancer_of
from xdscp.mesh.routing import Backend, Forward, Route
from xdscp.mesh.service import MeshPort, port_of, ports_of
from xdscp.resources.core import Key, Problem

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api import routes as api
    from xdscp.resources.mesh_api.traffic_policy import TrafficPolicy


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


@derived
def translation_of(view: View, service: Key, number: int) -> Translation:
    """What the policies of a service come to on one of its ports."""
    port = port_of(view, service, number)
    if port is None:
        return Translation()
    part = routes_for(view, service, port)
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


def routes_for(view: View, service: Key, port: MeshPort) -> Part | None:
    """The routes that count for a port, or None."""
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


def is_tcp_routed(view: View, service: Key, port: MeshPort | None) -> bool:
    """Whether a policy says where the connections to a TCP port go."""
    return port is not None and port.protocol == "tcp" and routes_for(view, service, port) is not None


def budgets_for(view: View, service: Key) -> tuple[Budget, ...]:
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
