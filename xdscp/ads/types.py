"""The table of xDS types: their URLs, and what is particular to each on the wire.

Place in the flow: read by every module of `ads`. The order of `RULES` is the order on the wire inside one push
(SPEC "Eventual consistency considerations"): what is referred to goes before what refers to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdscp.snapshot import ResourceType


@dataclass(frozen=True, slots=True)
class Rule:
    """How a type behaves on a stream.

    `order` is its place in a push; `wildcard`: a first subscription without names means all; `complete`: in SotW a
    response is the whole set, and absence is removal; `routes`: its resources send traffic to clusters, so they are
    held until these are warm; `separate`: removals go in a response of their own, since a client that rejects a
    response applies its removals all the same; `trusted`: versions that a client reports on a new stream are believed
    (after a rejected response Envoy reports clusters and listeners that it no longer has).
    """

    type: ResourceType
    url: str
    order: int
    wildcard: bool = False
    complete: bool = False
    routes: bool = False
    separate: bool = False
    trusted: bool = True
    incremental_only: bool = False


_PREFIX = "type.googleapis.com/envoy."

CDS = Rule(
    ResourceType.CDS,
    _PREFIX + "config.cluster.v3.Cluster",
    0,
    wildcard=True,
    complete=True,
    separate=True,
    trusted=False,
)
EDS = Rule(ResourceType.EDS, _PREFIX + "config.endpoint.v3.ClusterLoadAssignment", 1)
LDS = Rule(
    ResourceType.LDS,
    _PREFIX + "config.listener.v3.Listener",
    2,
    wildcard=True,
    complete=True,
    routes=True,
    separate=True,
    trusted=False,
)
RDS = Rule(ResourceType.RDS, _PREFIX + "config.route.v3.RouteConfiguration", 3, routes=True, separate=True)
VHDS = Rule(
    ResourceType.VHDS, _PREFIX + "config.route.v3.VirtualHost", 4, wildcard=True, routes=True, incremental_only=True
)
SDS = Rule(ResourceType.SDS, _PREFIX + "extensions.transport_sockets.tls.v3.Secret", 5)

RULES = (CDS, EDS, LDS, RDS, VHDS, SDS)
BY_URL = {rule.url: rule for rule in RULES}
BY_TYPE = {rule.type: rule for rule in RULES}
