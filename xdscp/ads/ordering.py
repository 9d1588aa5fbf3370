"""Make before break: what waits for what on a stream.

Place in the flow: `planning` asks it for every resource. A route goes out when its clusters are warm, a removal when
nothing that the client has refers to the name any more. Envoy acknowledges clusters only once they are warm, so
acknowledgements tell. What a client does not subscribe to is never waited for, and gRPC clients need none of this:
they keep what they have until the new is ready.
"""

from __future__ import annotations

from enum import Enum

from xdscp.ads.subscription import Had, Subscription
from xdscp.ads.types import CDS, EDS, LDS, RDS, RULES, VHDS, Rule
from xdscp.snapshot import Resource, Snapshot


class Hold(Enum):
    """Why a resource waits for a cluster: it is on its way, or the client rejected it."""

    WARMING = 1
    REJECTED = 2


class Order:
    """All subscriptions of a stream, in push order, as far as they wait for each other.

    `patient` is False when the acknowledgement of clusters has taken too long to be waited for.
    """

    __slots__ = ("ordered", "patient", "subscriptions")

    def __init__(self, *, ordered: bool) -> None:
        self.ordered = ordered
        self.patient = True
        self.subscriptions: list[Subscription | None] = [None] * len(RULES)

    def of(self, rule: Rule) -> Subscription | None:
        """The subscription of a type."""
        return self.subscriptions[rule.order]

    @property
    def holding(self) -> bool:
        """Whether something waits for the acknowledgement of clusters on their way."""
        clusters = self.of(CDS)
        return (
            self.patient
            and clusters is not None
            and clusters.flight is not None
            and any(one is not None and one.rule.routes and one.exceptions for one in self.subscriptions)
        )

    def warm(self, subscription: Subscription, target: Snapshot) -> bool:
        """Whether nothing of a type waits for a cluster; its first response only waits until all clusters are sent."""
        clusters = self.of(CDS)
        return (
            clusters is None
            or not self.ordered
            or not subscription.rule.routes
            or (
                clusters.sent is target
                and not clusters.exceptions
                and (clusters.flight is None or not clusters.flight.arriving or subscription.number == 0)
                and not self._endpoints_wait(target)
            )
        )

    def held(self, subscription: Subscription, want: Resource, had: Had, target: Snapshot) -> Hold | None:
        """Why a resource waits, when it sends traffic to a cluster that the client does not have warm."""
        clusters = self.of(CDS)
        if not self.ordered or clusters is None or not subscription.rule.routes:
            return None
        first = subscription.number == 0 and not subscription.exceptions  # nothing is in use yet
        arriving = clusters.flight.arriving if clusters.flight is not None else frozenset()
        for name in want.refers:
            if name in arriving:
                if self.patient and not first:
                    return Hold.WARMING
            elif clusters.rejected and name in clusters.rejected:
                # what the client has stays, unless that sends traffic there as well; a whole table or listener that it
                # has no version of does not wait for one bad cluster
                stays = subscription.rule is VHDS if had.resource is None else name not in had.resource.refers
                if stays and clusters.has(name).resource is None:
                    return Hold.REJECTED
            elif (self.patient and clusters.has(name).resource is None and target.find(CDS.type, name) is not None) or (
                not first and self._starved(name, target)
            ):
                return Hold.WARMING
        return None

    def _endpoints_wait(self, target: Snapshot) -> bool:
        """Whether endpoints are to be sent, and wait for the acknowledgement of others."""
        endpoints = self.of(EDS)
        return endpoints is not None and endpoints.flight is not None and endpoints.sent is not target

    def _starved(self, name: str, target: Snapshot) -> bool:
        """Whether the client warmed a cluster without endpoints, since it had none then, and has not been sent those of now."""
        endpoints = self.of(EDS)
        return (
            endpoints is not None
            and self._endpoints_wait(target)
            and endpoints.covers(name)
            and endpoints.has(name).resource is None
            and target.find(EDS.type, name) is not None
        )

    def removable(self, rule: Rule, name: str, target: Snapshot) -> bool:
        """Whether nothing that the client has refers to the name any more."""
        if not self.ordered:
            return True
        if rule is CDS:
            return all(self._without(self.of(other), name, target) for other in (LDS, RDS, VHDS))
        if rule is RDS:
            listeners = self.of(LDS)
            return listeners is None or (listeners.settled(target) and not listeners.exceptions)
        if rule is EDS:
            clusters = self.of(CDS)
            return clusters is None or clusters.has(name).resource is None
        return True

    def _without(self, routes: Subscription | None, cluster: str, target: Snapshot) -> bool:
        """Whether the client has no resource of a type that refers to the cluster, given that `target` has none."""
        if routes is None:
            return True
        if not routes.settled(target):
            return False
        kept = (had.resource for had in (routes.exceptions or {}).values())
        return not any(one is not None and (not one.body or cluster in one.refers) for one in kept)
