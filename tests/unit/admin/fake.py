"""A control plane of fixed facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xdscp.admin.facts import ObjectState, StreamState
from xdscp.resources.core import Key, Problem
from xdscp.snapshot import Resource, ResourceType


@dataclass
class FixedFacts:
    reason: str = ""
    states: list[ObjectState] = field(default_factory=list)
    findings: list[Problem] = field(default_factory=list)
    open: list[StreamState] = field(default_factory=list)
    served: dict[Key, list[tuple[Resource, tuple[str, ...]]]] = field(default_factory=dict)

    def unready(self) -> str:
        return self.reason

    def counts(self) -> Mapping[str, int]:
        kinds = [state.kind for state in self.states]
        return {kind: kinds.count(kind) for kind in kinds}

    def objects(self, kind: str | None = None) -> Iterable[ObjectState]:
        return (state for state in self.states if kind in {None, state.kind})

    def problems(self) -> Iterable[Problem]:
        return iter(self.findings)

    def streams(self) -> Iterable[StreamState]:
        return iter(self.open)

    def resources(
        self, node: Key, type: ResourceType | None = None
    ) -> Iterable[tuple[Resource, tuple[str, ...]]] | None:
        found = self.served.get(node)
        return None if found is None else [entry for entry in found if type in {None, entry[0].type}]
