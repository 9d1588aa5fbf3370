"""The one writer: a batch of changes -> store -> settled graph -> snapshots published to streams.

Place in the flow: `app` feeds it with the source's batches; `ads.server` tells it of streams. Nothing else writes the
store, so within a flush all see one revision. `batching` decides when a batch comes.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from xdscp.ads.server import Stream
from xdscp.ads.session import Accepted, Rejected, Send
from xdscp.assembly import snapshot_of
from xdscp.derive import Graph
from xdscp.findings import REFUSED, Findings
from xdscp.fleet import Fleet
from xdscp.mesh.environment import ENVIRONMENT, Environment
from xdscp.metrics import Metrics
from xdscp.provenance import sources_of
from xdscp.resources.core import Key, Problem
from xdscp.resources.kinds import INDEXES
from xdscp.snapshot import ResourceType, Snapshot, changes
from xdscp.sources.admission import rows_of
from xdscp.sources.changes import Batch
from xdscp.store import Store, Write

log = structlog.get_logger()

GC_THRESHOLD = (50_000, 50, 100)
"""Rows and derivations live long: the collector should not walk them for every few hundred messages."""


MANY = 200
"""From so many outdated derivations on, a change is settled in slices, with turns of the event loop between them."""

SLICE = 0.02
"""Seconds that the event loop waits at most while objects are parsed or derivations run one by one."""

T = TypeVar("T")


async def _unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a turn of the event loop after each slice: ACKs and health checks must not wait for a large batch."""
    since = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - since > SLICE:
            await asyncio.sleep(0)
            since = time.monotonic()


WAVES = 64
"""Changes whose acknowledgement is awaited: a client that answers nothing must not make each change last for ever."""


@dataclass(slots=True)
class Wave:
    """The streams that have yet to acknowledge a change, since when."""

    since: float
    streams: set[Stream] = field(default_factory=set)


class Pipeline:
    """Store, graph, fleet and findings, and the one path by which they change. The registry of `ads.server`."""

    def __init__(self, environment: Environment, metrics: Metrics, *, verify: bool = False) -> None:
        self.store = Store(INDEXES)
        self.graph = Graph(self.store)
        self.findings = Findings(self.store, self.graph)
        self.fleet = Fleet(self.graph, self.findings.take)
        self.origins: dict[tuple[str, Key], str] = {}
        self._metrics = metrics
        self._verify = verify
        self._waves: list[Wave] = []
        self._refusing: set[tuple[Stream, ResourceType]] = set()
        self._told = 0, 0
        gc.disable()  # until the first rows are in: they only grow, and walking them again and again is quadratic
        self._write([Write("Environment", ENVIRONMENT, environment)])

    # -- what the source says ------------------------------------------------------------------------------------------

    async def take(self, batch: Batch) -> None:
        """Applies a batch, settles, and publishes what changed."""
        started = time.monotonic()
        writes = [Write(*row) async for row in _unhurried(rows_of(batch))]
        for change in batch.changes:
            if change.manifest is None:
                self.origins.pop((change.kind, change.key), None)
            else:
                self.origins[change.kind, change.key] = change.origin
        self._count(writes)
        self._write(writes)
        if batch.synced and not self.fleet.ready:
            self._become_ready()
        if self.graph.outdated > MANY:
            async for _ in _unhurried(self.graph.steps()):
                pass
        due = self._settled(started)
        await self.fleet.publish(due)
        for stream, _ in due:
            if stream.settled:  # nothing of the change is for it, so it will not acknowledge any
                self._settle_waves(stream)
        if due:
            log.info("change published", streams=len(due), ms=round((time.monotonic() - started) * 1000, 2))
        if self._verify:
            self._compare()

    def _write(self, writes: list[Write]) -> None:
        self.findings.watch(writes)
        self.graph.touch(self.store.apply(writes))

    def _settled(self, started: float) -> list[tuple[Stream, Snapshot]]:
        before = time.monotonic()
        due = self.fleet.settle()
        self._metrics.settle.observe(time.monotonic() - before)
        self._tell_runs()
        if due:
            wave = Wave(started, {stream for stream, _ in due})
            self._waves.append(wave)
            while len(self._waves) > WAVES:
                late = self._waves.pop(0)
                log.info("change not acknowledged by all", streams=len(late.streams), limit="late")
        return due

    def _tell_runs(self) -> None:
        """Counts the derivations that ran since the last time, and logs those that raised."""
        runs, failed = self.graph.runs, self.graph.failed_runs
        self._metrics.derivations.inc(runs - self._told[0])
        self._metrics.derivation_failures.inc(failed - self._told[1])
        self._told = runs, failed
        self.findings.tell_failures()

    def _become_ready(self) -> None:
        self.fleet.ready = True
        self._metrics.source_synced.set(1)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        gc.enable()
        log.info("source synced", objects=sum(self.store.counts().values()))

    def _count(self, writes: list[Write]) -> None:
        for write in writes:
            if write.kind == "Problem":
                if write.row is not None:
                    self._metrics.source_events["refused"].inc()
            else:
                self._metrics.source_events["delete" if write.row is None else "upsert"].inc()

    # -- what streams say (ads.server.Registry) ------------------------------------------------------------------------

    def join(self, stream: Stream) -> None:
        """A client named itself."""
        self._metrics.streams_opened.inc()
        client = stream.client
        log.info("stream opened", node=client.id, role=client.role, mode=client.mode, incremental=client.incremental)
        self.fleet.join(stream)
        self._tell_runs()

    def leave(self, stream: Stream) -> None:
        """A stream ended."""
        log.info("stream closed", node=stream.client.id)
        self.fleet.leave(stream)
        self._relent({each for each in self._refusing if each[0] is stream})
        self._settle_waves(stream)

    def sent(self, stream: Stream, command: Send) -> None:  # noqa: ARG002  # the registry's signature
        """A response goes out."""
        if command.type is not None:
            self._metrics.pushes[command.type].inc()
            self._metrics.response_bytes[command.type].inc(len(command.payload))

    def accepted(self, stream: Stream, command: Accepted) -> None:
        """A client acknowledged a response."""
        if command.type is None:
            return
        self._metrics.acks[command.type].inc()
        # An ACK may be of the neighbours of what is still refused: only a state without an error says that all is well.
        if self._refusing and not stream.state()[command.type.value].last_error:
            self._relent({(stream, command.type)})
        if self._waves:
            self._settle_waves(stream)

    def rejected(self, stream: Stream, command: Rejected) -> None:
        """A client refused a response: told with the objects that the resources come from."""
        if command.type is None:
            return
        self._metrics.nacks[command.type].inc()
        self._refusing.add((stream, command.type))
        log.warning(
            "response refused",
            node=stream.client.id,
            type=str(command.type),
            resources=sorted(command.versions),
            message=command.message,
            limit=f"{stream.client.id}/{command.type}",
        )
        self.findings.refuse(self._blamed(stream, command))

    def unsupported(self, stream: Stream, url: str) -> None:
        """A client asked for a type that we do not serve."""
        self._metrics.refuse("unknown_type")
        log.warning("type not served", node=stream.client.id, url=url, limit=stream.client.id)

    def refused(self, peer: str, reason: str, message: str) -> None:
        """A stream is ended for what its client sent."""
        self._metrics.refuse(reason)
        log.warning("stream refused", peer=peer, reason=reason, message=message, limit=reason)

    def _relent(self, done: set[tuple[Stream, ResourceType]]) -> None:
        """These refuse no longer; when none does, what was refused is forgotten."""
        if self._refusing:
            self._refusing -= done
            if not self._refusing:
                self.findings.relent()

    def _blamed(self, stream: Stream, command: Rejected) -> Iterator[Problem]:
        client = stream.client
        found = self.fleet.proxy(Key(client.namespace, client.name))
        if found is None:
            return
        identity, proxy = found
        for resource, sources in sources_of(self.graph, self.store, identity, proxy, client.incremental):
            if resource.type == command.type and resource.name in command.versions:
                for source in sources:
                    kind, namespace, name = source.split("/", 2)
                    message = f"{client.id} refuses {resource.name}: {command.message}"[:500]
                    yield Problem(kind, Key(namespace, name), REFUSED, message)

    def _settle_waves(self, stream: Stream) -> None:
        for wave in self._waves:
            if stream in wave.streams and (stream.settled or stream not in self.fleet):
                wave.streams.discard(stream)
                if not wave.streams:
                    elapsed = time.monotonic() - wave.since
                    self._metrics.convergence.observe(elapsed)
                    log.info("change acknowledged by all", ms=round(elapsed * 1000, 2))
        self._waves = [wave for wave in self._waves if wave.streams]

    # -- verification --------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Compares what is served with a full recompute; with a failure, history is served and may differ."""
        if any(True for _ in self.graph.failures()):
            return
        for view, held in self.fleet.snapshots():
            fresh = Graph(self.store)
            differing = changes(held, fresh.value(snapshot_of, *view))
            if differing:
                self._metrics.verify_failures.inc()
                names = sorted(name for resources in differing.values() for name in resources)
                log.error("incremental result differs from the full recompute", resources=names[:20])
