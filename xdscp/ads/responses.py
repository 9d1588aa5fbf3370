"""What all streams share: differences between snapshots, and encoded responses with their nonces.

Place in the flow: a `session` decides what its client gets, and takes the bytes from here. A difference is computed
once for a pair of snapshots, and a response is encoded once for all streams that get the same resources, nonce
included; so a push to a thousand streams encodes nothing a second time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from xdscp.ads import wire
from xdscp.ads.types import Rule
from xdscp.snapshot import Change, Resource, ResourceType, Snapshot, changes

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Names = frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """An encoded response, shared by all streams that get it.

    `number` orders the nonces of a type; `resources` and `removed` are what it carries, by whole resources so that
    their versions are at hand when a client rejects it.
    """

    type: ResourceType | None
    number: int
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    payload: bytes

    @property
    def nonce(self) -> str:
        """The number as it goes on the wire."""
        return f"{self.number:x}"


class Bounded(Generic[K, V]):
    """A memo that forgets what was not used for longest, by the total weight of what it holds."""

    __slots__ = ("_held", "_limit", "_weight")

    def __init__(self, limit: int) -> None:
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._limit = limit
        self._weight = 0

    def get(self, key: K, make: Callable[[], V], weigh: Callable[[V], int]) -> V:
        """The value of a key, made when it is not held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found[0]
        made = make()
        weight = weigh(made)
        self._held[key] = made, weight
        self._weight += weight
        while self._weight > self._limit and len(self._held) > 1:
            _, (_, freed) = self._held.popitem(last=False)
            self._weight -= freed
        return made

    def drop(self, key: K) -> None:
        """Forgets the value of a key."""
        found = self._held.pop(key, None)
        if found is not None:
            self._weight -= found[1]


class Responses:
    """The memo of one control plane. Bounded: differences by count of names, responses by bytes."""

    def __init__(self, *, bytes_held: int = 64 << 20, names_held: int = 1 << 20) -> None:
        self._differences: Bounded[tuple[Snapshot, Snapshot], dict[ResourceType, dict[str, Change]]] = Bounded(
            names_held
        )
        self._versions: Bounded[tuple[Snapshot, ResourceType], dict[str, str]] = Bounded(names_held)
        self._tables: Bounded[Snapshot, dict[str, list[str]]] = Bounded(names_held)
        self._selected: Bounded[Hashable, tuple[Resource, ...] | None] = Bounded(names_held)
        self._responses: Bounded[Hashable, Response] = Bounded(bytes_held)
        self._names: Bounded[Hashable, Names] = Bounded(names_held)
        self._numbers: dict[ResourceType, int] = {}
        self._denials = 0

    def difference(self, before: Snapshot, after: Snapshot) -> dict[ResourceType, dict[str, Change]]:
        """What differs between two snapshots, by type and name; computed once for a pair."""
        return self._differences.get(
            (before, after), lambda: changes(before, after), lambda made: 8 + sum(map(len, made.values()))
        )

    def versions(self, snapshot: Snapshot, type: ResourceType) -> dict[str, str]:
        """Name to version of all resources of a type."""
        return self._versions.get(
            (snapshot, type), lambda: {one.name: one.version for one in snapshot.all(type)}, lambda made: 8 + len(made)
        )

    def virtual_hosts(self, snapshot: Snapshot, table: str) -> list[str]:
        """Names of the virtual hosts of a route table."""

        def grouped() -> dict[str, list[str]]:
            tables: dict[str, list[str]] = {}
            for one in snapshot.all(ResourceType.VHDS):
                tables.setdefault(one.name.rpartition("/")[0], []).append(one.name)
            return tables

        return self._tables.get(snapshot, grouped, lambda made: 8 + sum(map(len, made.values()))).get(table, [])

    def names(self, before: Names, added: tuple[str, ...], dropped: tuple[str, ...]) -> Names:
        """`before` with `added` and without `dropped`; the same object for all streams that come to it the same way."""
        return self._names.get(
            (before, added, dropped),
            lambda: before.union(added).difference(dropped),
            lambda made: 8 + len(made) + sum(map(len, added)) // 20,  # names may be long: some are a client's own words
        )

    def selected(
        self, rule: Rule, before: Snapshot, after: Snapshot, names: Names | None
    ) -> tuple[Resource, ...] | None:
        """What a client that has `before` needs to have `after`, if that is resources only; None if some are gone.

        `names` None means all. The tuple is the same object for all streams that ask the same.
        """
        difference = self.difference(before, after).get(rule.type)
        if difference is None:
            return ()
        if len(difference) == 1:  # not worth a memo's look-up
            ((name, (_, new)),) = difference.items()
            if names is not None and name not in names:
                return ()
            if new is None:
                return None

        def select() -> tuple[Resource, ...] | None:
            chosen = [one for name, (_, one) in difference.items() if names is None or name in names]
            present = tuple(one for one in chosen if one is not None)
            return present if len(present) == len(chosen) else None

        return self._selected.get((rule.type, before, after, names), select, lambda made: 8 + len(made or ()))

    def complete(self, rule: Rule, snapshot: Snapshot, names: Names | None) -> tuple[Resource, ...]:
        """All resources of a type that a subscription covers; the same object for all streams that ask the same."""

        def select() -> tuple[Resource, ...]:
            return tuple(one for one in snapshot.all(rule.type) if names is None or one.name in names)

        return self._selected.get((rule.type, snapshot, names), select, lambda made: 8 + len(made or ())) or ()

    def response(
        self, rule: Rule, resources: tuple[Resource, ...], removed: tuple[str, ...], *, incremental: bool, after: int
    ) -> Response:
        """The encoded response with these resources, its nonce newer than number `after`."""
        key: Hashable = (rule.type, incremental, _Same(resources), removed)

        def make() -> Response:
            return self._encoded(rule, resources, removed, incremental)

        def weigh(made: Response) -> int:
            return 200 + len(made.payload)

        made = self._responses.get(key, make, weigh)
        if made.number <= after:  # what was sent before is sent again, as when an endpoint flaps: once for all streams
            self._responses.drop(key)
            made = self._responses.get(key, make, weigh)
        return made

    def arriving(self, before: Snapshot, after: Snapshot) -> Names:
        """Names of the clusters that `after` has and `before` has not."""
        return self._names.get(
            (before, after),
            lambda: frozenset(
                name
                for name, (old, new) in self.difference(before, after).get(ResourceType.CDS, {}).items()
                if old is None and new is not None
            ),
            lambda made: 8 + len(made),
        )

    def denial(self, url: str, names: tuple[str, ...]) -> Response:
        """A delta response that says that names of a type that we do not serve do not exist."""
        self._denials += 1
        payload = wire.delta_response(url, f"{self._denials:x}", "0", (), names)
        return Response(None, self._denials, "0", (), names, payload)

    def _encoded(
        self, rule: Rule, resources: tuple[Resource, ...], removed: tuple[str, ...], incremental: bool
    ) -> Response:
        number = self._numbers[rule.type] = self._numbers.get(rule.type, 0) + 1
        digest = blake2b(digest_size=8)
        for one in resources:
            digest.update(one.version.encode())
        for name in removed:
            digest.update(b"-" + name.encode())
        version, nonce = digest.hexdigest(), f"{number:x}"
        if incremental:
            payload = wire.delta_response(rule.url, nonce, version, resources, removed)
        else:
            payload = wire.sotw_response(rule.url, nonce, version, resources)
        return Response(rule.type, number, version, resources, removed, payload)


class _Same:
    """A tuple of resources as a key: hashed by its length and ends, equal when all are equal.

    Hashing a thousand resources costs more than comparing a thousand references, which a hit does anyway.
    """

    __slots__ = ("hash", "held")

    def __init__(self, held: Sequence[Resource]) -> None:
        self.held = held
        self.hash = hash((len(held), held[0], held[-1])) if held else 0

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and (self.held is other.held or self.held == other.held)
