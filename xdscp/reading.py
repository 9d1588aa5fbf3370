"""The read side of the control plane: what `admin` and `/metrics` may ask, answered from the pipeline.

Place in the flow: a reader; called on the event loop between two flushes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from xdscp.admin.facts import ObjectState, StreamState, SyncStatus, TypeSync
from xdscp.ads.server import TypeState
from xdscp.assembly import snapshot_of
from xdscp.derive import Graph
from xdscp.mesh.workload import proxy_of
from xdscp.pipeline import Pipeline
from xdscp.provenance import sources_of
from xdscp.resources.core import Key, Problem
from xdscp.resources.kinds import KINDS
from xdscp.snapshot import Resource, ResourceType
from xdscp.sources.folder import place_of


class Reading:
    """`admin.facts.Facts` of a pipeline. `stopping` is set when the control plane shuts down."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.stopping = False

    def unready(self) -> str:
        """Why no stream is answered."""
        if self.stopping:
            return "the control plane is stopping"
        return "" if self._pipeline.fleet.ready else "the source is not synced yet"

    def counts(self) -> Mapping[str, int]:
        """Objects held, by kind."""
        return {kind: count for kind, count in self._pipeline.store.counts().items() if kind in KINDS}

    def objects(self, kind: str | None = None) -> Iterator[ObjectState]:
        """The objects held, with their origin and problems."""
        problems: dict[tuple[str, Key], list[Problem]] = {}
        for problem in self._pipeline.findings:
            problems.setdefault((problem.kind, problem.key), []).append(problem)
        for name in [kind] if kind is not None else sorted(self.counts()):
            for key, row in sorted(self._pipeline.store.rows(name)):
                assert isinstance(key, Key)
                file, document = place_of(self._pipeline.origins.get((name, key), ""))
                yield ObjectState(name, key, row, file, document, tuple(problems.get((name, key), ())))

    def problems(self) -> Iterator[Problem]:
        """All findings, and proxies that no object names."""
        yield from self._pipeline.findings
        store = self._pipeline.store
        for node in sorted({Key(stream.client.namespace, stream.client.name) for stream in self._pipeline.fleet}):
            if store.row("Pod", node) is None and store.row("Workload", node) is None:
                message = (
                    f"no Pod or Workload is named {node}; its proxy gets the mesh's services and no inbound listener"
                )
                yield Problem("Pod", node, "NodeUnknown", message)

    def streams(self) -> Iterator[StreamState]:
        """The open streams."""
        for stream in self._pipeline.fleet:
            client = stream.client
            types = {name: _sync(state) for name, state in stream.state().items()}
            yield StreamState(
                Key(client.namespace, client.name), client.role, "delta" if client.incremental else "sotw", types
            )

    def resources(
        self, node: Key, type: ResourceType | None = None
    ) -> Iterable[tuple[Resource, tuple[str, ...]]] | None:
        """What a connected node is served; of a Pod or Workload that is not connected, what its sidecar would be."""
        pipeline = self._pipeline
        graph, incremental = pipeline.graph, True
        found = pipeline.fleet.proxy(node)
        if found is not None:
            identity, proxy = found
            incremental = any(
                stream.client.incremental
                for stream in pipeline.fleet
                if (stream.client.namespace, stream.client.name) == node
            )
        else:
            if pipeline.store.row("Pod", node) is None and pipeline.store.row("Workload", node) is None:
                return None
            identity = (node, "sidecar", "interception")
            graph = Graph(pipeline.store)
            graph.watch(proxy_of, node, "sidecar", "interception")
            proxy = next(iter(graph.settle())).value
            graph.watch(snapshot_of, proxy, incremental)
            list(graph.settle())
        entries = sources_of(graph, pipeline.store, identity, proxy, incremental)
        return sorted(
            (entry for entry in entries if type is None or entry[0].type == type),
            key=lambda entry: (entry[0].type, entry[0].name),
        )


def _sync(state: TypeState) -> TypeSync:
    if state.last_error:
        status = SyncStatus.NACK
    elif not state.nonce_sent:
        status = SyncStatus.IDLE
    else:
        status = SyncStatus.SYNCED if state.settled else SyncStatus.STALE
    return TypeSync(status, state.version, state.nonce_sent, state.nonce_acked, state.last_error)
