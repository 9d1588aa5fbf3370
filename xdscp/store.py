"""The tables: what the sources said last, by kind and key, with indexes. The only mutable state.

Place in the flow: `pipeline` applies a batch of changes here, and gives the touched cells to the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xdscp.derive import Cell

Index = Callable[[Any], Iterable[Hashable]]
"""Gives the values under which a row is found."""


@dataclass(frozen=True, slots=True)
class Write:
    """A row to hold under `(kind, key)`; None removes it."""

    kind: str
    key: Hashable
    row: Any | None


class Store:
    """Rows by kind and key, and the buckets of their indexes.

    `indexes` gives for each kind its indexes by name; a kind without any need not be named.
    """

    def __init__(self, indexes: Mapping[str, Mapping[str, Index]]) -> None:
        self._indexes = indexes
        self._rows: dict[str, dict[Hashable, Any]] = {}
        self._buckets: dict[Cell, set[Any]] = {}

    def row(self, kind: str, key: Hashable) -> Any | None:
        """The row of `kind` named `key`, or None."""
        return self._rows.get(kind, {}).get(key)

    def bucket(self, kind: str, index: str, value: Hashable) -> tuple[Any, ...]:
        """The sorted keys of the rows of `kind` whose `index` gives `value`."""
        return tuple(sorted(self._buckets.get((kind, index, value), ())))

    def rows(self, kind: str) -> Iterator[tuple[Hashable, Any]]:
        """All rows of a kind with their keys; for readers outside of derivations."""
        return iter(self._rows.get(kind, {}).items())

    def counts(self) -> dict[str, int]:
        """How many rows there are, by kind; kinds without any are left out."""
        return {kind: len(rows) for kind, rows in self._rows.items() if rows}

    def apply(self, writes: Iterable[Write]) -> set[Cell]:
        """Holds or removes rows; returns the cells that changed. A row equal to the one held changes nothing."""
        touched: set[Cell] = set()
        for write in writes:
            rows = self._rows.setdefault(write.kind, {})
            before = rows.get(write.key)
            if before == write.row:
                continue
            if write.row is None:
                del rows[write.key]
            else:
                rows[write.key] = write.row
            touched.add((write.kind, write.key))
            for name, index in self._indexes.get(write.kind, {}).items():
                old = set(index(before)) if before is not None else set()
                new = set(index(write.row)) if write.row is not None else set()
                for value in old - new:
                    cell = (write.kind, name, value)
                    self._buckets[cell].discard(write.key)
                    if not self._buckets[cell]:
                        del self._buckets[cell]
                    touched.add(cell)
                for value in new - old:
                    cell = (write.kind, name, value)
                    self._buckets.setdefault(cell, set()).add(write.key)
                    touched.add(cell)
        return touched
