"""What a proxy is served, as values: resources, shards of them shared between proxies, and the snapshot of a workload.

Place in the flow: `assembly` derives these; `ads` streams them. An unchanged shard is the same object, so settling and
diffing skip it by `is`: one changed endpoint costs the path to its shard, whatever the number of services.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from xdscp.resources.core import Key
from xdscp.translators import names


class ResourceType(StrEnum):
    """The types that we serve; `ads.types` has their URLs and push order."""

    CDS = "cds"
    EDS = "eds"
    LDS = "lds"
    RDS = "rds"
    VHDS = "vhds"
    SDS = "sds"


@dataclass(frozen=True, slots=True)
class Resource:
    """An encoded resource.

    `version` is a hash of `body` (the message's bytes), so it is equal on every replica and after every restart.
    `refers` are the clusters that it sends traffic to (routes, listeners): they must be warm before it is used.
    """

    type: ResourceType
    name: str
    version: str
    body: bytes
    refers: tuple[str, ...] = ()
    lasting: bool = False
    """Not taken from a client when its route table goes: connections on the draining listener still use it."""

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Resource)
            and self.version == other.version
            and self.name == other.name
            and self.type == other.type
        )

    def __hash__(self) -> int:
        return hash((self.type, self.name, self.version))


Resources = Mapping[ResourceType, Mapping[str, Resource]]


@dataclass(frozen=True, slots=True)
class Shard:
    """The resources of one owner (a service, or a workload's own)."""

    resources: Resources


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Shards and branches below, by what `level` makes of the owner's key; equal when all below are the same objects."""

    level: Callable[[Key], Hashable]
    children: Mapping[Hashable, Branch | Shard]

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Branch)
            and self.level is other.level
            and self.children.keys() == other.children.keys()
            and all(other.children[token] is child for token, child in self.children.items())
        )

    def __hash__(self) -> int:
        return id(self)


Node = Branch | Shard


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a workload's proxies may know. Names are unique across `own`, `tables` and `services`.

    `own`: the workload's listeners and inbound clusters; `tables`: what belongs to no service (outbound listeners,
    route tables, catch-alls); `services`: the tree of what belongs to services; `namespace`: the client's.
    """

    own: Shard
    tables: Shard
    services: Node
    namespace: str = ""

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Snapshot)
            and self.own == other.own
            and self.tables == other.tables
            and self.services == other.services
        )

    def __hash__(self) -> int:
        return id(self)

    def __iter__(self) -> Iterator[Resource]:
        for node in (self.own, self.tables, self.services):
            for shard in _shards(node):
                for resources in shard.resources.values():
                    yield from resources.values()

    def find(self, type: ResourceType, name: str) -> Resource | None:
        """The resource of that name, or None. Costs the depth of the tree."""
        for shard in (self.own, self.tables):
            found = shard.resources.get(type, {}).get(name)
            if found is not None:
                return found
        owner = names.owner(name, self.namespace)
        node: Node | None = self.services
        while owner is not None and isinstance(node, Branch):
            node = node.children.get(node.level(owner))
        return node.resources.get(type, {}).get(name) if isinstance(node, Shard) else None

    def all(self, type: ResourceType) -> Iterator[Resource]:
        """All resources of a type."""
        for node in (self.own, self.tables, self.services):
            for shard in _shards(node):
                yield from shard.resources.get(type, {}).values()


Change = tuple[Resource | None, Resource | None]
"""A resource before and after; None where it does not exist."""

EMPTY = Snapshot(Shard({}), Shard({}), Shard({}))


def changes(before: Snapshot, after: Snapshot) -> dict[ResourceType, dict[str, Change]]:
    """What differs between two snapshots, by type and name; costs what changed, not what is there."""
    found: dict[ResourceType, dict[str, Change]] = {}
    for old, new in ((before.own, after.own), (before.tables, after.tables), (before.services, after.services)):
        _compare(old, new, found)
    return found


def _shards(node: Node) -> Iterator[Shard]:
    if isinstance(node, Shard):
        yield node
    else:
        for child in node.children.values():
            yield from _shards(child)


_NOTHING = Shard({})


def _compare(old: Node, new: Node, found: dict[ResourceType, dict[str, Change]]) -> None:
    if old is new:
        return
    if isinstance(old, Branch) and isinstance(new, Branch) and old.level is new.level:
        for token, child in new.children.items():
            _compare(old.children.get(token, _NOTHING), child, found)
        for token, child in old.children.items():
            if token not in new.children:
                _compare(child, _NOTHING, found)
        return
    olds, news = _flat(old), _flat(new)
    for type_, resources in news.items():
        held = olds.get(type_, {})
        for name, resource in resources.items():
            if held.get(name) != resource:
                found.setdefault(type_, {})[name] = (held.get(name), resource)
    for type_, resources in olds.items():
        for name, resource in resources.items():
            if name not in news.get(type_, {}):
                found.setdefault(type_, {})[name] = (resource, None)


def _flat(node: Node) -> Resources:
    if isinstance(node, Shard):
        return node.resources
    flat: dict[ResourceType, dict[str, Resource]] = {}
    for shard in _shards(node):
        for type_, resources in shard.resources.items():
            flat.setdefault(type_, {}).update(resources)
    return flat
