"""What a client is sent of a type now, name by name, and what stays for later.

Place in the flow: `session` comes here for a stream that differs from its fellows: with names asked for that do not
exist, resources held, retained or rejected. All others take the difference of two snapshots as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdscp.ads.ordering import Hold, Order
from xdscp.ads.responses import Responses
from xdscp.ads.subscription import Had, Subscription
from xdscp.ads.types import CDS, EDS, RDS
from xdscp.ads.wire import empty_assignment, takes_endpoints
from xdscp.snapshot import Resource, Snapshot


@dataclass(slots=True)
class Plan:
    """A response in the making.

    `fresh` are those among `changed` that the client does not have in that version; `kept` are the exceptions from the snapshot that remain; `arriving` the names among `changed` that the client has
    not; `removes` tells that names which it has are taken away; `held` that something waits for a cluster on its way.
    """

    changed: list[Resource] = field(default_factory=list)
    fresh: list[Resource] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: dict[str, Had] = field(default_factory=dict)
    arriving: set[str] = field(default_factory=set)
    removes: bool = False
    held: bool = False


class Planning:
    """The plan for one type of one stream, towards one snapshot."""

    __slots__ = ("_forced", "_incremental", "_order", "_subscription", "_target")

    def __init__(self, order: Order, subscription: Subscription, target: Snapshot, *, incremental: bool) -> None:
        self._order = order
        self._subscription = subscription
        self._target = target
        self._incremental = incremental
        self._forced: set[str] | frozenset[str] = subscription.forced or frozenset()

    def plan(self, responses: Responses) -> Plan:
        """What to send, by comparing what the client has with what it should have."""
        subscription, target, forced = self._subscription, self._target, self._forced
        type = subscription.rule.type
        difference = responses.difference(subscription.sent, target).get(type, {})
        extra = {name for name in (*(subscription.exceptions or ()), *forced) if name not in difference}
        plan = Plan()
        gone: list[str] = []
        for name in (*difference, *sorted(extra)):
            if not subscription.covers(name):
                continue
            had = subscription.has(name)
            want = target.find(type, name)
            if want is None and subscription.rule is EDS:
                want = self._empty(name, had)
            last = had.resource
            if want is None and last is not None and last.body and not had.certain and self._warming(name):
                plan.changed.append(last)  # its cluster goes once it has warmed
                plan.kept[name] = Had(last)
            elif want is not None:
                self._plan_change(plan, want, had)
            elif last is not None and last.lasting and self._without_table(name):
                continue  # the client keeps it, and gets it again when its table comes back
            elif name in forced or had.resource is not None or not had.certain:
                gone.append(name)
        if subscription.limit and len(plan.changed) > subscription.limit:
            self._halve(plan, subscription.limit)
        self._plan_removals(plan, gone)
        return plan

    def _halve(self, plan: Plan, limit: int) -> None:
        """Leave all but `limit` of the resources for later, since one of them is bad."""
        later = {one.name for one in plan.changed[limit:]}
        del plan.changed[limit:]
        plan.fresh = [one for one in plan.fresh if one.name not in later]
        plan.arriving -= later
        plan.kept |= {name: Had(self._subscription.has(name).resource, certain=False) for name in later}

    def _plan_change(self, plan: Plan, want: Resource, had: Had) -> None:
        name, subscription = want.name, self._subscription
        if subscription.rejected and subscription.rejected.get(name) == want.version:
            if (not had.certain or name in self._forced) and self._warming(name):
                last = had.resource if had.resource is not None and had.resource.body else _no_endpoints(name)
                plan.changed.append(last)
                had = Had(last)
            plan.kept[name] = had
            return
        if name not in self._forced and had.certain and had.resource == want:
            return
        hold = self._order.held(subscription, want, had, self._target)
        if hold is not None:
            plan.kept[name] = Had(had.resource, had.certain and name not in self._forced)
            plan.held = plan.held or hold is Hold.WARMING
            return
        plan.changed.append(want)
        if had.resource != want or (not had.certain and subscription.number > 0):
            plan.fresh.append(want)  # uncertain after a rejection; on a new stream its reports are believed in this
        if had.resource is None:
            plan.arriving.add(name)

    def _plan_removals(self, plan: Plan, gone: list[str]) -> None:
        rule = self._subscription.rule
        if not self._incremental and not rule.complete:  # SotW has no way to say it: the client keeps them
            for name in gone:
                if rule is EDS or not self._order.removable(rule, name, self._target):
                    plan.kept[name] = self._subscription.has(name)
            return
        # what a reconnecting client should drop may still be in use by what it has not asked for yet on this stream
        first = rule.complete and self._incremental and self._subscription.number == 0
        waiting = plan.held or first or (rule.separate and bool(plan.changed))
        for name in gone:
            had = self._subscription.has(name)
            unknown = had.resource is None and (had.certain or rule is EDS)
            if unknown or (name in self._forced and not rule.separate):
                plan.removed.append(name)  # says that it does not exist
                if rule is EDS and had.resource is not None and not self._order.removable(rule, name, self._target):
                    plan.kept[name] = had  # Envoy keeps live endpoints, but does not warm their cluster any longer
            elif waiting or not self._order.removable(rule, name, self._target):
                plan.kept[name] = had
            else:
                plan.removed.append(name)
                plan.removes = True
        if not self._incremental:
            plan.removed.clear()  # by absence

    def _without_table(self, name: str) -> bool:
        """Whether the route table of a virtual host is gone."""
        return self._target.find(RDS.type, name.rpartition("/")[0]) is None

    def _warming(self, name: str) -> bool:
        """Whether these are endpoints without which a cluster on its way would warm to Envoy's time limit."""
        clusters = self._order.of(CDS)
        return (
            self._subscription.rule is EDS
            and clusters is not None
            and clusters.flight is not None
            and any(one.name == name for one in clusters.flight.fresh)
        )

    def _empty(self, name: str, had: Had) -> Resource | None:
        """Endpoints that do not exist, as a resource without any, where Envoy ignores a removal."""
        clusters, cluster = self._order.of(CDS), self._target.find(CDS.type, name)
        exists = cluster is not None
        if clusters is not None and cluster is not None and not takes_endpoints(cluster.body):
            return None  # its former endpoints serve until Envoy has taken it, and are forgotten with that
        if self._incremental:
            empty = exists and (had.resource is not None or not had.certain)
        else:
            empty = exists or name in self._forced or clusters is None or not had.certain
        return _no_endpoints(name) if empty else None


def _no_endpoints(name: str) -> Resource:
    return Resource(EDS.type, name, "empty", empty_assignment(name))
