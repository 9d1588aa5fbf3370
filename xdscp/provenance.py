"""Where resources come from: the objects that the derivation of each has read, by the graph's recorded edges.

Place in the flow: read by `admin` (`/debug/resources`), by `xdscp translate`, and for the blame of a refused resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xdscp.assembly import snapshot_of
from xdscp.derive import Cell, Derivation, Graph
from xdscp.mesh.workload import Proxy, proxy_of
from xdscp.resources.core import Key
from xdscp.snapshot import Resource, Snapshot
from xdscp.store import Store


def sources_of(
    graph: Graph, store: Store, identity: tuple[Key, Any, Any], proxy: Proxy, incremental: bool
) -> Iterator[tuple[Resource, tuple[str, ...]]]:
    """All resources of a proxy, each with its sources as `kind/namespace/name`.

    `identity` are the arguments of `proxy_of`: what that read is where the proxy's own listeners come from. `graph` is
    settled, and holds the proxy's `snapshot_of`.
    """
    memo: dict[Derivation, frozenset[Cell]] = {}
    origins: dict[Resource, tuple[str, ...]] = {}
    snapshot: Snapshot | None = None
    for derivation in graph.derivations(snapshot_of, proxy, incremental):
        if isinstance(derivation.value, Resource):
            origins[derivation.value] = _objects(store, graph.cells(derivation, memo))
        elif isinstance(derivation.value, Snapshot):
            snapshot = derivation.value
    own = next(graph.derivations(proxy_of, *identity), None)
    own_sources = _objects(store, graph.cells(own, memo)) if own is not None else ()
    if snapshot is not None:
        for resource in snapshot:
            yield resource, origins.get(resource, own_sources)


def _objects(store: Store, cells: frozenset[Cell]) -> tuple[str, ...]:
    """The objects among the cells that exist; what was looked for and not found is no source."""
    found = []
    for cell in cells:
        if len(cell) == 2 and store.row(str(cell[0]), cell[1]) is not None:
            kind, key = cell
            found.append(f"{kind}/{key.namespace}/{key.name}" if isinstance(key, Key) else f"{kind}//{key}")
    return tuple(sorted(found))
