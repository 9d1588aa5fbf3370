"""One ADS stream without I/O: requests and snapshots go in, commands come out.

Place in the flow: `server` feeds it what a client sends (`receive`) and the pipeline what the client should have
(`publish`), and carries out the commands. SotW and delta are two ways to write the same difference. Rules that are not
in the protocol's text come from measurements of Envoy: it withholds the acknowledgement of a cluster until the cluster
is warm, asks for endpoints only of clusters it newly knows, and ignores the removal of endpoints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xdscp.ads.client import Client
from xdscp.ads.ordering import Order
from xdscp.ads.planning import Planning
from xdscp.ads.responses import Response, Responses
from xdscp.ads.subscription import WILDCARD, Flight, Had, Subscription
from xdscp.ads.types import BY_URL, CDS, EDS, LDS, RDS, SDS, VHDS
from xdscp.ads.wire import MAX_NAMES, Request
from xdscp.snapshot import Resource, ResourceType, Snapshot

_FOLLOWERS = {CDS: (EDS, SDS), LDS: (SDS,), RDS: (VHDS,)}

MAX_REJECTIONS = 20
"""In a row, after which a client is not tried again until something changes; enough to find one bad in thousands."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes. `changed` counts the resources that are new to the client; `type` None: one we do not serve."""

    type: ResourceType | None
    response: Response
    payload: bytes
    changed: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client acknowledged a response."""

    type: ResourceType | None
    nonce: str
    version: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The client rejected a response; `versions` are the resources blamed (name to version), none if it is not known."""

    type: ResourceType | None
    nonce: str
    message: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The client asked for a type that we do not serve."""

    url: str


@dataclass(frozen=True, slots=True)
class Close:
    """End the stream with INVALID_ARGUMENT."""

    message: str


Command = Send | Accepted | Rejected | Unsupported | Close


class Session:
    """The state of a stream. `responses` is shared by all sessions of a control plane."""

    __slots__ = ("_order", "_responses", "_target", "client")

    def __init__(self, client: Client, responses: Responses) -> None:
        self.client = client
        self._responses = responses
        self._order = Order(ordered=client.role != "grpc")
        self._target: Snapshot | None = None

    @property
    def target(self) -> Snapshot | None:
        """The snapshot last published; None before."""
        return self._target

    @property
    def subscriptions(self) -> list[Subscription]:
        """What the client subscribed to, in push order; to read."""
        return [one for one in self._order.subscriptions if one is not None]

    @property
    def settled(self) -> bool:
        """Whether the client has acknowledged all of the snapshot that it takes."""
        target = self._target
        return target is not None and all(one.settled(target) for one in self.subscriptions)

    @property
    def holding(self) -> bool:
        """Whether something waits for the acknowledgement of clusters on their way."""
        return self._order.holding

    def publish(self, snapshot: Snapshot) -> list[Command]:
        """The client should have this snapshot from now on."""
        if snapshot is self._target:
            return []
        self._target = snapshot
        return self._advance()

    def expire(self) -> list[Command]:
        """Wait no longer for the acknowledgement of clusters on their way; the shell calls it when that took too long."""
        clusters = self._order.of(CDS)
        if clusters is None or clusters.flight is None:
            return []
        self._order.patient = False
        return self._advance()

    def receive(self, request: Request) -> list[Command]:
        """The client sent a request. `request.url` is not empty."""
        rule = BY_URL.get(request.url)
        if rule is None or (rule.incremental_only and not self.client.incremental):
            return self._refusal(request)
        commands: list[Command] = []
        subscription = self._order.of(rule)
        if subscription is None:
            subscription = self._order.subscriptions[rule.order] = Subscription(rule)
            subscription.begin(request, self._responses, self._target, self.client)
            if request.known:  # what it reports to have came before what is on its way
                for other, followers in _FOLLOWERS.items():
                    leader = self._order.of(other)
                    if rule in followers and leader is not None and leader.flight is not None:
                        self._follow(leader.flight.fresh, subscription)
        else:
            flight = subscription.flight
            if flight is not None and request.nonce == flight.response.nonce:
                commands.append(self._answered(subscription, flight, request.error))
            subscription.change(request, self._responses, self.client)
        if len(subscription.names) > MAX_NAMES:
            return [*commands, Close(f"more than {MAX_NAMES} names of one type")]
        return commands + self._advance()

    def _refusal(self, request: Request) -> list[Command]:
        commands: list[Command] = [Unsupported(request.url)]
        if self.client.incremental and request.subscribe and not request.nonce:
            names = tuple(dict.fromkeys(name for name in request.subscribe if name != WILDCARD))
            if names:
                response = self._responses.denial(request.url, names)
                commands.append(Send(response.type, response, response.payload, 0))
        return commands

    # -- what the client says of a response

    def _answered(self, subscription: Subscription, flight: Flight, error: str | None) -> Command:
        response = flight.response
        subscription.flight = None
        if subscription.rule is CDS:
            self._order.patient = True
        if error is not None:
            return self._rejected(subscription, flight, error or "rejected without a message")
        subscription.acked = response.number
        subscription.failures = 0
        if subscription.limit:
            pending = subscription.uncertain()
            subscription.limit = subscription.limit * 2 if pending else 0
        if flight.removes:
            subscription.rejected = None  # what stood in the way may be gone: one more try
        if not subscription.rejected:
            subscription.error = ""
        return Accepted(response.type, response.nonce, response.version)

    def _rejected(self, subscription: Subscription, flight: Flight, error: str) -> Command:
        """Nothing of a rejected response is certain; what is blamed is not sent again, the rest is."""
        response = flight.response
        subscription.error = error
        subscription.failures += 1
        blamed = _blamed(flight.changed, error)
        exceptions = dict(subscription.exceptions or {})
        rejected = dict(subscription.rejected or {})
        for one in flight.changed:
            kept = exceptions.get(one.name)
            if kept is not None and kept.resource == one:  # it stood in for one rejected before
                again = bool(blamed) and one.name not in blamed
                exceptions[one.name] = Had(_before(flight, one), certain=not again)
            elif kept is None and subscription.covers(one.name):
                exceptions[one.name] = Had(_before(flight, one), certain=False)
                if one.name in blamed:
                    rejected[one.name] = one.version
        subscription.exceptions = exceptions or None
        subscription.rejected = rejected or None
        if not blamed and flight.changed:
            if subscription.limit == 0:
                subscription.suspects = tuple(one.name for one in flight.changed)
                self._give_up(subscription)
            subscription.limit = max(1, len(flight.changed) // 2)
        if subscription.failures > MAX_REJECTIONS:
            subscription.suspects, subscription.limit = (), 0
            self._give_up(subscription)
        if flight.changed and response.removed:  # whether removals beside what is bad were taken is not known
            subscription.force([name for name in response.removed if subscription.covers(name)])
        return Rejected(response.type, response.nonce, subscription.error, blamed)

    def _give_up(self, subscription: Subscription) -> None:
        """Send nothing again of what was rejected, until it changes."""
        if self._target is None:
            return
        rejected = subscription.rejected or {}
        for name in subscription.uncertain():
            want = self._target.find(subscription.rule.type, name)
            if want is not None:
                rejected[name] = want.version
        subscription.rejected = rejected or None

    @property
    def doubtful(self) -> bool:
        """Whether a client rejected something without saying what; `retry` looks for it."""
        return any(one.suspects for one in self.subscriptions)

    def retry(self) -> list[Command]:
        """Send again, in halves, what was rejected as a whole; the shell calls it after a pause."""
        for subscription in self.subscriptions:
            for name in subscription.suspects:
                if subscription.rejected:
                    subscription.rejected.pop(name, None)
            subscription.suspects = ()
        return self._advance()

    # -- what the client gets

    def _advance(self) -> list[Command]:
        target = self._target
        if target is None:
            return []
        commands: list[Command] = []
        for _ in range(3):  # removals wait for what comes later in the order, and may be free when that needs nothing
            again = False
            for subscription in self._order.subscriptions:
                if subscription is None or subscription.flight is not None:
                    continue
                if subscription.sent is target and not (
                    subscription.exceptions or subscription.forced or subscription.answer
                ):
                    continue
                command = self._push(subscription, target)
                if command is not None:
                    commands.append(command)
                again = again or (subscription.exceptions is not None and subscription.rule.separate)
            if not again:
                break
        return commands

    def _push(self, subscription: Subscription, target: Snapshot) -> Send | None:
        rule = subscription.rule
        names = None if subscription.wildcard else subscription.names
        if not (subscription.exceptions or subscription.forced or subscription.rejected) and self._order.warm(
            subscription, target
        ):
            chosen = self._responses.selected(rule, subscription.sent, target, names)
            if chosen is not None:
                return self._push_same(subscription, target, chosen)
        return self._push_own(subscription, target)

    def _push_same(self, subscription: Subscription, target: Snapshot, chosen: tuple[Resource, ...]) -> Send | None:
        """Send what every client in the same state gets."""
        if not chosen and not subscription.answer:
            subscription.sent = target
            return None
        rule = subscription.rule
        carried = chosen
        if rule.complete and not self.client.incremental:
            carried = self._responses.complete(rule, target, None if subscription.wildcard else subscription.names)
        arriving: frozenset[str] = frozenset()
        if rule is CDS and not subscription.reported:
            arriving = self._responses.arriving(subscription.sent, target)
        fresh = () if subscription.reported else chosen
        return self._sent(subscription, target, (carried, ()), (chosen, fresh, arriving), None)

    def _push_own(self, subscription: Subscription, target: Snapshot) -> Send | None:
        """Send what this client needs, name by name."""
        rule = subscription.rule
        incremental = self.client.incremental
        plan = Planning(self._order, subscription, target, incremental=incremental).plan(self._responses)
        kept = plan.kept or None
        if not (plan.changed or plan.removed or plan.removes or subscription.answer):
            subscription.sent, subscription.exceptions, subscription.forced = target, kept, None
            return None
        carried = tuple(plan.changed)
        if rule.complete and not incremental:
            all_ = self._responses.complete(rule, target, None if subscription.wildcard else subscription.names)
            retained = (had.resource for had in plan.kept.values() if had.resource is not None)
            carried = (*(one for one in all_ if one.name not in plan.kept), *retained)
        changes = tuple(plan.changed), tuple(plan.fresh), frozenset(plan.arriving)
        sent = self._sent(subscription, target, (carried, tuple(plan.removed)), changes, kept)
        assert subscription.flight is not None
        subscription.flight.removes = plan.removes
        return sent

    def _sent(
        self,
        subscription: Subscription,
        target: Snapshot,
        content: tuple[tuple[Resource, ...], tuple[str, ...]],
        changes: tuple[tuple[Resource, ...], tuple[Resource, ...], frozenset[str]],
        kept: dict[str, Had] | None,
    ) -> Send:
        """Note a response as sent: its `content` (resources, removed), and its `changes` as `Flight` has them."""
        rule = subscription.rule
        changed, fresh, arriving = changes
        response = self._responses.response(
            rule, *content, incremental=self.client.incremental, after=subscription.number
        )
        subscription.flight = Flight(
            response, changed, fresh, arriving, False, subscription.sent, subscription.exceptions
        )
        subscription.number, subscription.version = response.number, response.version
        subscription.sent, subscription.exceptions = target, kept
        subscription.forced, subscription.answer, subscription.reported = None, False, False
        if subscription.rejected:
            for one in changed:
                if kept is None or one.name not in kept:
                    subscription.rejected.pop(one.name, None)
        if fresh:
            for other in _FOLLOWERS.get(rule, ()):
                follower = self._order.of(other)
                if follower is not None:
                    self._follow(fresh, follower)
        return Send(rule.type, response, response.payload, len(changed))

    def _follow(self, fresh: tuple[Resource, ...], follower: Subscription) -> None:
        """Force what must come again behind these resources: Envoy warms them anew, and does not ask."""
        if follower.rule is EDS:
            follower.force({one.name for one in fresh})
        elif follower.rule is SDS:
            follower.force(follower.names)
        elif self._target is not None:
            for one in fresh:
                follower.force(self._responses.virtual_hosts(self._target, one.name))


def _before(flight: Flight, one: Resource) -> Resource | None:
    if flight.exceptions is not None and one.name in flight.exceptions:
        return flight.exceptions[one.name].resource
    return flight.before.find(one.type, one.name)


def _blamed(changed: tuple[Resource, ...], message: str) -> dict[str, str]:
    """The resources that a client's message names, or the only one that there is; none when it is not known."""
    if len(changed) == 1:
        return {changed[0].name: changed[0].version}
    words = {word.rstrip(":.,") for word in re.split(r"[\s'\"`,;()]+", message)}
    return {one.name: one.version for one in changed if one.name in words}
