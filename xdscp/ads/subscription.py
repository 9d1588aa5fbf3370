"""The state of one type on one stream: what the client asked for, and what it has.

Place in the flow: `session` holds one for every type subscribed. What a client has is told by reference to the shared
snapshot last sent, and by the few exceptions from it (held, retained, rejected), so a stream costs bytes, not names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from xdscp.ads.client import Client
from xdscp.ads.responses import Names, Response, Responses
from xdscp.ads.types import Rule
from xdscp.ads.wire import Request
from xdscp.snapshot import EMPTY, Resource, Snapshot

NO_NAMES: Names = frozenset()
WILDCARD = "*"


class Had(NamedTuple):
    """What a client has of a name: a resource, or None for nothing; not certain after a rejected response."""

    resource: Resource | None
    certain: bool = True


@dataclass(slots=True)
class Flight:
    """A response on its way: what it changes, and what the client had before.

    `changed` are the resources to be blamed if it is rejected; `fresh` those among them that the client did not have
    in that version, so that it warms them; `arriving` the names that it did not have at all; `removes` tells that
    names which the client had are taken away.
    """

    response: Response
    changed: tuple[Resource, ...]
    fresh: tuple[Resource, ...]
    arriving: Names
    removes: bool
    before: Snapshot
    exceptions: dict[str, Had] | None


class Subscription:
    """A type's subscription on a stream; `session` is the only writer."""

    __slots__ = (
        "acked",
        "answer",
        "error",
        "exceptions",
        "failures",
        "flight",
        "forced",
        "limit",
        "named",
        "names",
        "number",
        "rejected",
        "reported",
        "rule",
        "sent",
        "suspects",
        "version",
        "wildcard",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.wildcard = False
        self.names = NO_NAMES
        self.named = False
        """SotW: names were given on this stream, so that no names does not mean all any more."""
        self.sent: Snapshot = EMPTY
        self.exceptions: dict[str, Had] | None = None
        self.forced: set[str] | None = None
        """Names to send though the client may have them."""
        self.answer = False
        """A response is due though nothing may be in it."""
        self.rejected: dict[str, str] | None = None
        """Name to the version that the client rejected."""
        self.suspects: tuple[str, ...] = ()
        """Names among which one was rejected, it is not known which; tried again in halves, after a pause."""
        self.limit = 0
        """How many resources a response may change while a bad one is looked for; 0 for any number."""
        self.failures = 0
        """Rejections in a row."""
        self.reported = False
        """The client reported to have what it is about to be sent: nothing of it warms."""
        self.flight: Flight | None = None
        self.number = 0
        """Of the last response sent."""
        self.version = ""
        self.acked = 0
        """Number of the last response acknowledged."""
        self.error = ""

    def covers(self, name: str) -> bool:
        """Whether the client asked for the name."""
        return self.wildcard or name in self.names

    def has(self, name: str) -> Had:
        """What the client has of a name, taking what is on its way as received."""
        if self.exceptions is not None:
            found = self.exceptions.get(name)
            if found is not None:
                return found
        return Had(self.sent.find(self.rule.type, name))

    def had(self, name: str) -> Had:
        """What the client had of a name before the response on its way."""
        flight = self.flight
        if flight is None:
            return self.has(name)
        if flight.exceptions is not None and name in flight.exceptions:
            return flight.exceptions[name]
        return Had(flight.before.find(self.rule.type, name))

    def force(self, names: Names | set[str] | list[str]) -> None:
        """Send these names again, those that the client asked for."""
        asked = set(names) if self.wildcard else self.names.intersection(names)
        if asked:
            self.forced = (self.forced or set()).union(asked)

    def uncertain(self) -> list[str]:
        """Names that the client may or may not have, and that were not rejected by themselves."""
        rejected = self.rejected or {}
        return [name for name, had in (self.exceptions or {}).items() if not had.certain and name not in rejected]

    def settled(self, target: Snapshot) -> bool:
        """Whether the client has acknowledged all that `target` has for it, as far as it takes it."""
        return self.flight is None and self.sent is target and not self.forced and not self.answer

    def begin(self, request: Request, responses: Responses, target: Snapshot | None, client: Client) -> None:
        """The first request of the type on the stream; whatever nonce it carries is another stream's."""
        rule = self.rule
        names = _explicit(request.subscribe)
        self.wildcard = self._may_be_wild(client) and (not request.subscribe or WILDCARD in request.subscribe)
        self.named = bool(request.subscribe)
        self.names = responses.names(NO_NAMES, names, _explicit(request.unsubscribe))
        self.answer = self.wildcard or (rule.complete and not client.incremental and bool(names))
        current = responses.versions(target, rule.type) if target is not None else {}
        if not request.known:
            self._answer(self.names.difference(current))
            return
        self.answer = self.answer or rule.complete
        if request.known == current and (self.wildcard or self.names.issuperset(current)):
            self.reported = not rule.trusted
            self.sent = target if target is not None and rule.trusted else EMPTY
        else:
            self.exceptions = {
                name: Had(Resource(rule.type, name, version, b""), rule.trusted)
                for name, version in request.known.items()
            }
        self._answer(self.names.difference(current) | self.names.difference(request.known))

    def change(self, request: Request, responses: Responses, client: Client) -> None:
        """A later request: the names may be others."""
        if client.incremental:
            self._change_delta(request, responses, client)
        else:
            self._change_sotw(request, responses, client)

    def _change_sotw(self, request: Request, responses: Responses, client: Client) -> None:
        names = _explicit(request.subscribe)
        before, was = self.names, self.wildcard
        same = len(names) == len(before) and before.issuperset(names)
        after = before if same else responses.names(NO_NAMES, names, ())
        self.named = self.named or bool(request.subscribe)
        self.wildcard = self._may_be_wild(client) and (not self.named or WILDCARD in request.subscribe)
        self.names = after
        if was and not self.wildcard:
            self._forget_uncovered()
            added = after
        else:
            added = after.difference(before)
            self._forget(before.difference(after))
        if added and not was:
            self._ask(added)
            self.answer = self.answer or self.rule.complete
        if self.wildcard and not was:
            self._restart()

    def _change_delta(self, request: Request, responses: Responses, client: Client) -> None:
        if not request.subscribe and not request.unsubscribe:
            return
        added, dropped = _explicit(request.subscribe), _explicit(request.unsubscribe)
        before, was = self.names, self.wildcard
        self.names = responses.names(before, added, dropped)
        if WILDCARD in request.unsubscribe:
            self.wildcard = False
        if WILDCARD in request.subscribe:
            self.wildcard = self._may_be_wild(client)
        gone = before.intersection(dropped)
        if was and not self.wildcard:
            self._forget_uncovered()
        elif not self.wildcard:
            self._forget(gone)
        asked = set(added).difference(dropped)
        if self.wildcard:
            asked |= gone  # a client forgets a name that it unsubscribes, though the wildcard has it
        if was:
            for name in asked.intersection(self.rejected or ()):
                del self.rejected[name]  # type: ignore[union-attr] # an intersection with nothing is empty
            self._answer(asked)
        else:
            self._ask(asked)
        if self.wildcard and not was:
            self._restart()

    def _may_be_wild(self, client: Client) -> bool:
        return self.rule.wildcard and client.role != "grpc"

    def _ask(self, names: Names | set[str]) -> None:
        """The client asks for names that it says it does not have."""
        if names:
            self._forget(names)
            self.exceptions = (self.exceptions or {}) | dict.fromkeys(names, Had(None))
            self._answer(names)

    def _answer(self, names: Names | set[str]) -> None:
        if names:
            self.forced = (self.forced or set()).union(names)

    def _restart(self) -> None:
        """Send all again."""
        self.sent = EMPTY
        self.exceptions = None
        self.answer = True

    def _forget_uncovered(self) -> None:
        held = {*(self.exceptions or ()), *(self.rejected or ()), *(self.forced or ())}
        self._forget(frozenset(name for name in held if not self.covers(name)))

    def _forget(self, names: Names | set[str]) -> None:
        """The client dropped these names."""
        if not names:
            return
        if self.forced:
            self.forced -= names
        for held in (self.exceptions, self.rejected):
            for name in names.intersection(held or ()):
                del held[name]  # type: ignore[union-attr] # an intersection with nothing is empty


def _explicit(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != WILDCARD) if WILDCARD in names else names
