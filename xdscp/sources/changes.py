"""What a source says: which manifests are there now, and what it cannot read.

Place in the flow: both sources yield batches; `pipeline` makes rows of them with `resources.admission`. The first batch of
a source is all that it holds; each later one is what changed together, and becomes visible together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xdscp.resources.core import Key, Problem


@dataclass(frozen=True, slots=True)
class Change:
    """The manifest that an object has now; None: it is gone. `origin` says where it stands, for a folder `file#document`."""

    kind: str
    key: Key
    manifest: Mapping[str, Any] | None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What cannot be read at `origin` (a file, or `file#document`) now; None: nothing any more."""

    origin: str
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed together. `synced`: with this batch, all that was there when the source started has been said."""

    changes: tuple[Change, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    synced: bool = False

    def __bool__(self) -> bool:
        return bool(self.changes or self.troubles or self.synced)
