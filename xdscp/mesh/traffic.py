"""What TrafficPolicies and MeshPolicies make of a service's port: its routes, its connection options, its subsets.

Place in the flow: the only module of the policies that others read: `mesh.outbound`, `mesh.locality`,
`mesh.workload` and `assembly`. Which policy counts is told in `mesh.policy_attachment`, what a route becomes in
`mesh.policy_translation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xdscp.derive import View, derived
from xdscp.mesh import names, policy_connection
from xdscp.mesh.destination import Connection
from xdscp.mesh.listening import TcpListener
from xdscp.mesh.mesh_settings import (
    egress_of,
    explicit_port_of,
    externals_allowed,
    mesh_policy_problems,
    settings_of,
)
from xdscp.mesh.policy_attachment import (
    conflicts_of,
    policies_for,
    subsets_of,
)
from xdscp.mesh.policy_balancing import destination_part, load_balancer_of, locality_mode_of, port_part
from xdscp.mesh.policy_translation import budgets_for, default_route, is_tcp_routed, translation_of
from xdscp.mesh.routing import Backend, Route, TcpRoute
from xdscp.mesh.service import port_of, ports_of
from xdscp.resources.core import Key, Problem

if TYPE_CHECKING:  # pydantic's models cost most of a start
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
    "workload_problems",
]

CONDITIONS = {
    "TargetNotFound": "Accepted",
    "UnsupportedProtocol": "Accepted",
    "Conflicted": "Conflicted",
    "BackendNotFound": "ResolvedRefs",
}
"""The status condition that a problem's reason belongs to."""


@derived
def routes_of(view: View, service: Key, number: int) -> tuple[Route, ...]:
    """The routes of a service's HTTP port, of which the last matches everything; empty for a port that is none."""
    port = port_of(view, service, number)
    if port is None or port.protocol == "tcp":
        return ()
    if not policies_for(view, service):
        return (default_route(view, service, number),)
    return translation_of(view, service, number).routes


@derived
def tcp_route_of(view: View, service: Key, number: int) -> TcpRoute:
    """Where the connections to a service's port go; without backends, where none of the policy's exists, nowhere."""
    name = names.cluster(service, number)
    port = port_of(view, service, number)
    part = port_part(view, service, port.name if port is not None else "", "connection")
    hashes = load_balancer_of(view, service, number, "").hashes
    return TcpRoute(
        name,
        translation_of(view, service, number).tcp if is_tcp_routed(view, service, port) else (Backend(name),),
        (part.value.idle_timeout or None) if part is not None else None,
        any(source.source == "sourceIP" for source in hashes),
    )


# -- connections ---------------------------------------------------------------------------------------------------------


@derived
def connection_of(view: View, service: Key, number: int, subset: str = "") -> Connection:
    """How to connect to a service's port, or to a subset of it."""
    options = destination_part(view, service, number, subset, "connection")
    breaker = destination_part(view, service, number, subset, "circuit_breaker")
    outliers = destination_part(view, service, number, subset, "outlier_detection")
    found = policy_connection.connection(options) if options is not None else Connection()
    default = settings_of(view, service.namespace).connect_timeout
    if default is not None and (options is None or options.connect_timeout is None):
        found = replace(found, connect_timeout=default)
    limits = policy_connection.circuit_breaker(breaker) if breaker is not None else found.circuit_breaker
    budgets = [
        budget for budget in budgets_for(view, service) if budget.destination == names.cluster(service, number, subset)
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


# -- explicit mode -------------------------------------------------------------------------------------------------------


@derived
def tcp_listeners_of(view: View, node: Key, address: str) -> tuple[TcpListener, ...]:
    """Explicit mode: the TCP services on ports of `address` of a Pod or Workload; its own go before the MeshPolicies'.

    A service without such a port has no listener.
    """
    workload = view.get("Workload", node)
    entries = settings_of(view, node.namespace).explicit_tcp
    if workload is not None:
        entries = (*workload.spec.tcp, *entries)
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


@derived
def workload_problems(view: View, workload: Key) -> tuple[Problem, ...]:
    """The TCP services of a Workload's explicit mode that do not exist."""
    row = view.get("Workload", workload)
    found = []
    for position, entry in enumerate(row.spec.tcp if row is not None else ()):
        service = Key(entry.service.namespace or workload.namespace, entry.service.name)
        if port_of(view, service, entry.port) is None:
            field = f"spec.tcp[{position}]"
            message = f"{field}: Service {service} does not exist, or has no TCP port {entry.port}"
            found.append(Problem("Workload", workload, "BackendNotFound", message, field=field))
    return tuple(found)


def _not_found(policy: Key, field: str, message: str) -> Problem:
    return Problem("TrafficPolicy", policy, "TargetNotFound", f"{field}: {message}", field=field)
