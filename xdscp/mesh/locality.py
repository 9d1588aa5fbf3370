"""Which endpoints a client tries first: localities and priorities, seen from where the client runs.

Place in the flow: between `mesh.endpoints` and `translators.eds`. A service that does not care about zones gives the
same value for every vantage, so its load assignment is encoded once for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdscp.derive import View, derived
from xdscp.mesh import traffic
from xdscp.mesh.destination import Endpoint, Locality, LocalityEndpoints
from xdscp.mesh.endpoints import endpoints_of, subset_endpoints
from xdscp.resources.core import Key, Labels, Service


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where a client runs. `node` is only filled in while some service asks for node-local traffic."""

    locality: Locality = Locality()
    node: str = ""


NOWHERE = Vantage()

CLOSE = {"PreferClose", "PreferSameZone", "PreferSameNode"}
"""The values of `trafficDistribution` that prefer endpoints near the client."""


@derived
def vantage_for(view: View, service: Key, number: int, vantage: Vantage, subset: str = "") -> Vantage:
    """As much of the vantage as the service's port, or a subset of it, cares about."""
    row: Service | None = view.get("Service", service)
    if row is None:
        return NOWHERE
    node = (
        vantage.node if row.internal_traffic_policy == "Local" or row.traffic_distribution == "PreferSameNode" else ""
    )
    mode = traffic.locality_mode_of(view, service, number, subset)
    near = mode == "Failover" or (mode is None and row.traffic_distribution in CLOSE)
    hinted = mode is None and any(endpoint.hint_zones for endpoint in endpoints_of(view, service, number))
    return Vantage(vantage.locality if near or hinted else Locality(), node)


@derived
def localities_of(
    view: View, service: Key, number: int, labels: Labels, vantage: Vantage
) -> tuple[LocalityEndpoints, ...]:
    """The endpoints of a service's port (of a subset where `labels` are given) by locality and priority.

    `vantage` is what `vantage_for` gave.
    """
    row: Service | None = view.get("Service", service)
    found = subset_endpoints(view, service, number, labels) if labels else endpoints_of(view, service, number)
    if row is None:
        return ()
    if row.internal_traffic_policy == "Local" and vantage.node:
        found = tuple(endpoint for endpoint in found if endpoint.node == vantage.node)
    return _grouped(found, vantage)


def _grouped(endpoints: Iterable[Endpoint], vantage: Vantage) -> tuple[LocalityEndpoints, ...]:
    groups: dict[tuple[int, Locality], list[Endpoint]] = {}
    for endpoint in endpoints:
        groups.setdefault((_distance(endpoint, vantage), endpoint.locality), []).append(endpoint)
    distances = sorted({distance for distance, _ in groups})
    return tuple(
        LocalityEndpoints(
            locality, distances.index(distance), sum(endpoint.weight for endpoint in members), tuple(members)
        )
        for (distance, locality), members in sorted(groups.items())
    )


def _distance(endpoint: Endpoint, vantage: Vantage) -> int:
    """0 on the client's node or hinted for its zone, 1 in its zone, 2 in its region, 3 elsewhere; 0 without a vantage."""
    here = vantage.locality
    if vantage.node and endpoint.node == vantage.node:
        return 0
    if not here.zone and not here.region:
        return 1 if vantage.node else 0
    if endpoint.hint_zones:
        return 1 if here.zone in endpoint.hint_zones else 3
    if here.zone and endpoint.locality.zone == here.zone:
        return 1
    return 2 if here.region and endpoint.locality.region == here.region else 3
