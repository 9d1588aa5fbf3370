"""The metrics of the control plane, in a registry of their own; docs/operations.md lists them.

Place in the flow: `pipeline` and `ads.server` count here, `admin.server` exposes. What can be counted by looking
(objects, problems, streams) is looked at when scraped, so no label outlives what it names. No label holds a node, an
object's name or other words from outside.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xdscp import __version__
from xdscp.admin.facts import Facts, SyncStatus
from xdscp.snapshot import ResourceType

REFUSALS = (
    "malformed",
    "oversized",
    "unknown_type",
    "unknown_node",
    "unauthenticated",
    "unready",
    "overloaded",
    "other",
)
"""Why a stream or a request is refused; the label's only values."""

OPERATIONS = ("upsert", "delete", "refused")
"""What a source's event is: an object to hold, one to remove, a manifest that cannot be read."""

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Buckets from a millisecond: at rest a change is acknowledged within one."""
FINE = (0.0001, 0.0002, 0.0005, *SECONDS)


class Metrics:
    """The counters, by name. Those counted per response are mappings by type, so that a push looks up no label."""

    def __init__(self) -> None:
        # Else each counter has a second series that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types there
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Gauge(
            "xdscp_build_info", "The version that runs, as a label; always 1.", ["version"], registry=registry
        ).labels(__version__).set(1)

        def by_type(name: str, help: str) -> Mapping[ResourceType, Counter]:
            counter = Counter(name, help, ["type"], registry=registry)
            return {type: counter.labels(type.value) for type in ResourceType}

        self.pushes = by_type("xdscp_pushes", "Responses written to streams.")
        self.response_bytes = by_type("xdscp_response_bytes", "Bytes of responses written to streams.")
        self.acks = by_type("xdscp_acks", "Responses that proxies acknowledged.")
        self.nacks = by_type("xdscp_nacks", "Responses that proxies refused.")
        self.streams_opened = Counter("xdscp_streams_opened", "Streams accepted.", registry=registry)
        refused = Counter("xdscp_requests_refused", "Streams and requests refused.", ["reason"], registry=registry)
        self._refused = {reason: refused.labels(reason) for reason in REFUSALS}

        self.convergence = Histogram(
            "xdscp_convergence_seconds",
            "From the arrival of a change at the control plane to the last acknowledgement of what it changed.",
            buckets=SECONDS,
            registry=registry,
        )
        self.settle = Histogram(
            "xdscp_settle_seconds",
            "Time of one settle: derivations, translation and encoding of a batch of changes.",
            buckets=FINE,
            registry=registry,
        )
        self.derivations = Counter("xdscp_derivations", "Derivations that ran.", registry=registry)
        self.derivation_failures = Counter(
            "xdscp_derivation_failures", "Derivations that raised; the last good value stays served.", registry=registry
        )
        self.verify_failures = Counter(
            "xdscp_verify_failures", "Differences to the full recompute (XDSCP_VERIFY).", registry=registry
        )
        events = Counter("xdscp_source_events", "Events from the source.", ["operation"], registry=registry)
        self.source_events = {operation: events.labels(operation) for operation in OPERATIONS}
        self.source_synced = Gauge(
            "xdscp_source_synced", "1 once the source has told all that it holds.", registry=registry
        )
        self.loop_lag = Histogram(
            "xdscp_event_loop_lag_seconds", "How late the event loop wakes a timer.", buckets=FINE, registry=registry
        )

    def refuse(self, reason: str) -> None:
        """Counts a refusal; a reason outside of `REFUSALS` counts as `other`."""
        self._refused.get(reason, self._refused["other"]).inc()

    def watch(self, facts: Facts) -> None:
        """From now on each scrape also shows what `facts` holds."""
        self.registry.register(FactsCollector(facts))


class FactsCollector(Collector):
    """Gauges counted at each scrape. Kinds and reasons are words of the code, types those of `ResourceType`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def describe(self) -> Iterable[Metric]:
        """The gauges without samples: the registry asks for names at registration, before there is state."""
        return (GaugeMetricFamily(name, help, labels=labels) for name, help, labels in _GAUGES)

    def collect(self) -> Iterator[Metric]:
        """The gauges now."""
        streams = list(self._facts.streams())
        standing = Tally((name, sync.status.value) for stream in streams for name, sync in stream.types.items())
        tallies: list[dict[tuple[str, ...], int]] = [
            {(): int(not self._facts.unready())},
            dict(Tally((stream.role, stream.variant) for stream in streams)),
            # All pairs, so that a graph falls to 0; and no others, whatever types a client has asked for.
            {
                (type.value, each.value): standing[type.value, each.value]
                for type in ResourceType
                for each in SyncStatus
            },
            {(kind,): count for kind, count in self._facts.counts().items()},
            dict(Tally((problem.kind, problem.reason) for problem in self._facts.problems())),
        ]
        for (name, help, labels), tally in zip(_GAUGES, tallies, strict=True):
            family = GaugeMetricFamily(name, help, labels=labels)
            for values, count in sorted(tally.items()):
                family.add_metric(values, count)
            yield family


_GAUGES = (
    ("xdscp_ready", "1 while streams are answered.", ()),
    ("xdscp_streams", "Open streams.", ("role", "variant")),
    ("xdscp_stream_types", "Types of open streams by how they stand.", ("type", "status")),
    ("xdscp_objects", "Objects held.", ("kind",)),
    ("xdscp_problems", "Findings.", ("kind", "reason")),
)
