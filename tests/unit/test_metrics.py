from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.exposition import generate_latest

from tests.unit.admin.fake import FixedFacts
from xdscp.admin.facts import ObjectState, StreamState, SyncStatus, TypeSync
from xdscp.metrics import Metrics
from xdscp.resources.core import Key, Problem
from xdscp.snapshot import ResourceType


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_counted() -> None:
    """what is counted is exposed under its documented name."""
    metrics = Metrics()

    metrics.pushes[ResourceType.CDS].inc()
    metrics.refuse("malformed")
    metrics.refuse("words from outside")
    metrics.convergence.observe(0.0015)

    assert value(metrics, "xdscp_pushes_total", type="cds") == 1
    assert value(metrics, "xdscp_pushes_total", type="eds") == 0
    assert value(metrics, "xdscp_requests_refused_total", reason="malformed") == 1
    assert value(metrics, "xdscp_requests_refused_total", reason="other") == 1
    assert value(metrics, "xdscp_convergence_seconds_bucket", le="0.001") == 0
    assert value(metrics, "xdscp_convergence_seconds_bucket", le="0.002") == 1


def test_own_registry() -> None:
    """two control planes in one process count apart."""
    one, two = Metrics(), Metrics()

    one.derivations.inc(5)

    assert value(two, "xdscp_derivations_total") == 0


def test_looked_at() -> None:
    """streams, objects and problems are counted when scraped, and labels go with what they name."""
    metrics, facts = Metrics(), FixedFacts(reason="not synced")
    metrics.watch(facts)
    facts.open = [
        StreamState(
            Key("a", str(number)),
            "sidecar",
            "delta",
            {"cds": TypeSync(SyncStatus.NACK), "forged": TypeSync(SyncStatus.IDLE)},
        )
        for number in range(3)
    ]
    facts.states = [ObjectState("Service", Key("a", "b"), None)]
    facts.findings = [Problem("Service", Key("a", "b"), "Invalid", "words")]

    assert value(metrics, "xdscp_ready") == 0
    assert value(metrics, "xdscp_streams", role="sidecar", variant="delta") == 3
    assert value(metrics, "xdscp_stream_types", type="cds", status="NACK") == 3
    assert value(metrics, "xdscp_stream_types", type="cds", status="SYNCED") == 0
    assert value(metrics, "xdscp_stream_types", type="forged", status="IDLE") is None
    assert value(metrics, "xdscp_objects", kind="Service") == 1
    assert value(metrics, "xdscp_problems", kind="Service", reason="Invalid") == 1
    facts.reason, facts.open, facts.states, facts.findings = "", [], [], []
    assert value(metrics, "xdscp_ready") == 1
    assert value(metrics, "xdscp_streams", role="sidecar", variant="delta") is None
    assert value(metrics, "xdscp_objects", kind="Service") is None


def test_documented() -> None:
    """docs/operations.md names each metric, and none that does not exist."""
    metrics = Metrics()
    metrics.watch(FixedFacts())
    text = generate_latest(metrics.registry).decode()
    exposed = set(re.findall(r"^# TYPE (xdscp_\w+) ", text, re.MULTILINE))

    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

    assert exposed == set(re.findall(r"^\| `(xdscp_\w+)", page, re.MULTILINE))
