"""What the admin server may ask of the control plane: read-only facts, as values.

Place in the flow: `pipeline` implements `Facts`; `admin.server` and `metrics` read it. All methods are called on the
event loop between two changes, so what one answer gives is of one state; none of them may block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from xdscp.resources.core import Key, Problem
from xdscp.snapshot import Resource, ResourceType

Role = Literal["sidecar", "gateway", "grpc"]
Variant = Literal["delta", "sotw"]


class SyncStatus(StrEnum):
    """How a stream stands for one type. In this order the worst is last."""

    IDLE = "IDLE"
    """Subscribed, and nothing was ever sent."""
    SYNCED = "SYNCED"
    """The last response was acknowledged, and nothing newer waits."""
    STALE = "STALE"
    """A response is not acknowledged yet, or a newer one waits."""
    NACK = "NACK"
    """The last response was refused, and no later one was acknowledged."""


@dataclass(frozen=True, slots=True)
class TypeSync:
    """One type of one stream.

    `version` and `nonce_sent` are of the last response sent, `nonce_acked` of the last one acknowledged, `last_error`
    the proxy's words for the last refusal; it is empty again after the next acknowledgement.
    """

    status: SyncStatus
    version: str = ""
    nonce_sent: str = ""
    nonce_acked: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class StreamState:
    """An open stream: whose it is, what it speaks, and its subscribed types by name (`cds`, `eds`, …)."""

    node: Key
    role: Role
    variant: Variant
    types: Mapping[str, TypeSync]


@dataclass(frozen=True, slots=True)
class ObjectState:
    """An object that is held: `body` the typed object, `file` and `document` its origin, `problems` its findings."""

    kind: str
    key: Key
    body: Any
    file: str = ""
    document: int = 0
    problems: tuple[Problem, ...] = field(default=())


class Facts(Protocol):
    """The read side of the control plane."""

    def unready(self) -> str:
        """Why no stream is answered yet (or any more), in words; empty when ready."""
        ...

    def counts(self) -> Mapping[str, int]:
        """How many objects are held, by kind; cheap, since each scrape of the metrics asks."""
        ...

    def objects(self, kind: str | None = None) -> Iterable[ObjectState]:
        """The objects held, of one kind or all."""
        ...

    def problems(self) -> Iterable[Problem]:
        """All findings."""
        ...

    def streams(self) -> Iterable[StreamState]:
        """The open streams."""
        ...

    def resources(
        self, node: Key, type: ResourceType | None = None
    ) -> Iterable[tuple[Resource, tuple[str, ...]]] | None:
        """What the pod `node` is served, with the objects `kind/namespace/name` each comes from; None for no such pod."""
        ...
