"""A control plane without streams: documents go in as files of a folder, the snapshots of clients are settled."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden.cases import Case, Client
from xdscp.assembly import snapshot_of
from xdscp.derive import Graph
from xdscp.findings import Findings
from xdscp.mesh.environment import ENVIRONMENT
from xdscp.mesh.status import problems_of
from xdscp.mesh.workload import Proxy, proxy_of
from xdscp.provenance import sources_of
from xdscp.resources.core import Problem
from xdscp.resources.kinds import INDEXES
from xdscp.snapshot import Resource, Snapshot, changes
from xdscp.sources.admission import rows_of
from xdscp.sources.folder import Folder
from xdscp.store import Store, Write


class World:
    """One graph over the documents given so far."""

    def __init__(self, case: Case) -> None:
        self.store = Store(INDEXES)
        self.graph = Graph(self.store)
        self.findings = Findings(self.store, self.graph)
        self.folder = Folder()
        self.proxies: dict[Client, Proxy] = {}
        self._write([Write("Environment", ENVIRONMENT, case.environment)])
        for client in case.clients:
            self.graph.watch(proxy_of, *client.identity)
            self.proxies[client] = self.graph.value(proxy_of, *client.identity)
            self.graph.watch(snapshot_of, self.proxies[client], client.incremental)
        self.settle()

    def give(self, contents: dict[int, bytes | None]) -> None:
        """Holds documents by their position, None takes one away; settles."""
        batch = self.folder.update({f"in.yaml/{position}": content for position, content in contents.items()})
        self._write([Write(*row) for row in rows_of(batch)])
        self.settle()

    def _write(self, writes: list[Write]) -> None:
        self.findings.watch(writes)
        self.graph.touch(self.store.apply(writes))

    def settle(self) -> None:
        """Brings all up to date; a client whose proxy changed watches the snapshot of that."""
        for derivation in self.graph.settle():
            if derivation.function.__name__ == problems_of.__name__:
                self.findings.take(derivation)
        for client, before in self.proxies.items():
            proxy = self.graph.value(proxy_of, *client.identity)
            if proxy != before:
                self.graph.watch(snapshot_of, proxy, client.incremental)
                self.graph.unwatch(snapshot_of, before, client.incremental)
                self.proxies[client] = proxy
        for _ in self.graph.settle():
            pass

    def snapshot(self, client: Client) -> Snapshot:
        return self.graph.value(snapshot_of, self.proxies[client], client.incremental)

    def snapshots(self) -> dict[Client, Snapshot]:
        return {client: self.snapshot(client) for client in self.proxies}

    def fresh(self, client: Client) -> Snapshot:
        """The snapshot of a graph that has never seen anything else."""
        graph = Graph(self.store)
        return graph.value(snapshot_of, graph.value(proxy_of, *client.identity), client.incremental)

    def sources(self, client: Client) -> Iterator[tuple[Resource, tuple[str, ...]]]:
        return sources_of(self.graph, self.store, client.identity, self.proxies[client], client.incremental)

    def problems(self) -> list[str]:
        """All that is wrong, in words, sorted."""
        return sorted(map(_told, self.findings))


def _told(problem: Problem) -> str:
    return f"{problem.kind} {problem.key}: {problem.reason}: {problem.message}"


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """The resources in which two snapshots differ."""
    found = changes(before, after)
    return sorted(f"{type} {name}" for type, names in found.items() for name in names)


def world_of(case: Case) -> World:
    """All documents of a case, given at once."""
    world = World(case)
    world.give(dict(enumerate(case.documents)))
    return world
