"""Which TrafficPolicies are attached to a service, and which of several counts.

Place in the flow: read by `mesh.traffic`, which translates what counts. The rule:

    a part (routes, loadBalancer, circuitBreaker, outlierDetection, connection) of a port is that of one policy:
    one that names the port by `sectionName` goes before one of the whole service; then the oldest; then namespace/name
    a subset is that of the oldest policy that defines its name; subsets of all policies are put together
    the younger of two that give the same part for the same target is Conflicted for that part, its other parts count
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from xdscp.derive import View, derived
from xdscp.resources.core import Key, Labels, Problem

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api.traffic_policy import Subset, TrafficPolicy

PARTS = ("routes", "load_balancer", "circuit_breaker", "outlier_detection", "connection")
FIELDS = {
    "load_balancer": "loadBalancer",
    "circuit_breaker": "circuitBreaker",
    "outlier_detection": "outlierDetection",
}
"""The names of parts in manifests, where they differ."""

YOUNGEST = "9"
"""Sorts behind every date: an object without creationTimestamp is younger than one that has it."""


def age(policy: Any) -> tuple[str, Key]:
    """Sorts policies from the oldest; of equal age by namespace and name."""
    return policy.created or YOUNGEST, policy.key


@derived
def policies_for(view: View, service: Key) -> tuple[TrafficPolicy, ...]:
    """The policies attached to a service or to a port of it, the oldest first."""
    rows = (view.get("TrafficPolicy", key) for key in view.select("TrafficPolicy", "target", service))
    return tuple(sorted((row for row in rows if row is not None), key=age))


class Part(NamedTuple):
    """The value of a part that counts for a port, and the policy that gives it."""

    policy: TrafficPolicy
    value: Any


def sections_of(policy: TrafficPolicy, service: Key) -> set[str]:
    """The ports that the policy names for the service; "" is the whole service."""
    return {target.section_name or "" for target in policy.spec.target_refs if target.name == service.name}


def part_for(policies: tuple[TrafficPolicy, ...], service: Key, port_name: str, part: str) -> Part | None:
    """The part that counts for a port of that name ("": for the service as a whole), or None when no policy gives it."""
    for section in dict.fromkeys((port_name, "")):
        for policy in policies:
            value = getattr(policy.spec, part)
            if value and section in sections_of(policy, service):
                return Part(policy, value)
    return None


@derived
def subset_policies(view: View, service: Key) -> tuple[tuple[str, Subset], ...]:
    """The subsets of a service as its policies define them, sorted by name."""
    found: dict[str, Subset] = {}
    for policy in policies_for(view, service):
        for subset in policy.spec.subsets:
            found.setdefault(subset.name, subset)
    return tuple(sorted(found.items()))


def subset_policy(view: View, service: Key, name: str) -> Subset | None:
    """The subset of that name, or None."""
    return dict(subset_policies(view, service)).get(name)


@derived
def subsets_of(view: View, service: Key) -> tuple[tuple[str, Labels], ...]:
    """Names and labels of the subsets of a service, sorted by name."""
    return tuple((name, subset.labels) for name, subset in subset_policies(view, service))


def conflicts_of(view: View, policy: TrafficPolicy, service: Key) -> Iterator[Problem]:
    """The parts of a policy for a service that an older policy of the same target gives too."""
    older = [other for other in policies_for(view, service) if age(other) < age(policy)]
    for section in sorted(sections_of(policy, service)):
        rivals = [other for other in older if section in sections_of(other, service)]
        target = f"{service} port {section}" if section else str(service)
        for part in PARTS:
            rival = next((other for other in rivals if getattr(other.spec, part)), None)
            if rival is not None and getattr(policy.spec, part):
                yield _conflict(
                    policy, FIELDS.get(part, part), f"TrafficPolicy {rival.key}, which is older, for {target}"
                )
    for position, subset in enumerate(policy.spec.subsets):
        for other in older:
            if any(rival.name == subset.name and rival != subset for rival in other.spec.subsets):
                yield _conflict(
                    policy, f"subsets[{position}]", f"another subset {subset.name} of TrafficPolicy {other.key}"
                )
                break


def _conflict(policy: TrafficPolicy, field: str, winner: str) -> Problem:
    field = f"spec.{field}"
    return Problem("TrafficPolicy", policy.key, "Conflicted", f"{field} gives way to {winner}", field=field)
