"""The rows of a batch: typed objects, and beside them what is wrong with any.

Place in the flow: between the sources and the store; `pipeline` writes the rows. An object that is refused keeps the row
that it has, which is its last good version, and gets a `Problem` row; mending or deleting it takes that away.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from xdscp.resources.core import Key, Problem
from xdscp.resources.kinds import parse
from xdscp.resources.rejection import Rejected
from xdscp.sources.changes import Batch, Change
from xdscp.sources.folder import place_of

SHOWN_FINDINGS = 10
"""Findings about one object that its problem tells; more are counted."""


class Row(NamedTuple):
    """What the store is to hold under `(kind, key)`; None removes it. The key of a `Problem` is its subject's kind and key."""

    kind: str
    key: Hashable
    row: Any | None


def rows_of(batch: Batch) -> Iterator[Row]:
    """The rows to write for a batch, in its order. Never raises."""
    for change in batch.changes:
        yield from _rows(change)
    for trouble in batch.troubles:
        yield Row("Problem", ("File", Key("", trouble.origin)), trouble.problem)


def _rows(change: Change) -> Iterator[Row]:
    subject = (change.kind, change.key)
    if change.manifest is None:
        yield Row(change.kind, change.key, None)
        yield Row("Problem", subject, None)
        return
    try:
        row = parse(change.kind, change.key, change.manifest)
    except Rejected as error:
        yield Row("Problem", subject, _problem(change, error))
    else:
        yield Row(change.kind, change.key, row)
        yield Row("Problem", subject, None)


def _problem(change: Change, error: Rejected) -> Problem:
    file, document = place_of(change.origin)
    told = "; ".join(map(str, error.findings[:SHOWN_FINDINGS]))
    untold = len(error.findings) - SHOWN_FINDINGS
    message = f"{told}; and {untold} more" if untold > 0 else told
    return Problem(change.kind, change.key, "Invalid", message, file, document, error.findings[0].field)
