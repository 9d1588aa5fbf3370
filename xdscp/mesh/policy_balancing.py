"""Which part of the policies counts for a destination, and how it is balanced.

Place in the flow: read by `mesh.policy_translation` (routes hash by what their backends balance by) and `mesh.traffic`.
"""

from __future__ import annotations

from typing import Any, Literal

from xdscp.derive import View
from xdscp.mesh import policy_connection
from xdscp.mesh.destination import Hash, LoadBalancer
from xdscp.mesh.policy_attachment import Part, part_for, policies_for, subset_policy
from xdscp.mesh.service import port_of
from xdscp.resources.core import Key, Service


def port_part(view: View, service: Key, port_name: str, part: str) -> Part | None:
    """The part that counts for a service's port by name ("": for the service as a whole)."""
    policies = policies_for(view, service)
    return part_for(policies, service, port_name, part) if policies else None


def destination_part(view: View, service: Key, number: int, subset: str, part: str) -> Any | None:
    """The part that counts for a destination: the subset's own, else that of the port."""
    own = subset_policy(view, service, subset) if subset else None
    value = getattr(own, part) if own is not None else None
    if value is not None:
        return value
    port = port_of(view, service, number)
    found = port_part(view, service, port.name if port is not None else "", part)
    return found.value if found is not None else None


def load_balancer_of(view: View, service: Key, number: int, subset: str) -> LoadBalancer:
    """How an endpoint is chosen: as a policy says; else by the client's address for a Service of that session affinity."""
    value = destination_part(view, service, number, subset, "load_balancer")
    if value is not None:
        return policy_connection.load_balancer(value)
    row: Service | None = view.get("Service", service)
    if row is not None and row.session_affinity:
        return LoadBalancer("RingHash", (Hash("sourceIP"),))
    return LoadBalancer()


def locality_mode_of(
    view: View, service: Key, number: int, subset: str = ""
) -> Literal["Failover", "Weighted", "None"] | None:
    """How zones count for a destination; None: as the Service's `trafficDistribution` says."""
    value = destination_part(view, service, number, subset, "load_balancer")
    if value is None or value.locality is None:
        return None
    mode: Literal["Failover", "Weighted", "None"] = value.locality.mode
    return mode
