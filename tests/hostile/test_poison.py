"""A derivation that raises: its object stays as it was last good, the others go on, all surfaces tell it, and it heals."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
import structlog
from prometheus_client import generate_latest

from tests.hostile.control_plane import NAMESPACE, policy, service
from xdscp.ads.client import client
from xdscp.mesh.environment import Environment
from xdscp.metrics import Metrics
from xdscp.pipeline import Pipeline
from xdscp.reading import Reading
from xdscp.resources.kinds import identity_of
from xdscp.snapshot import ResourceType
from xdscp.sources.changes import Batch, Change

CDS, EDS, VHDS = ResourceType.CDS, ResourceType.EDS, ResourceType.VHDS


class Stream:
    """Of a proxy that takes what it is given."""

    settled = True

    def __init__(self, name="pod-1"):
        self.client = client(f"{NAMESPACE}/{name}", {"role": "sidecar", "mode": "interception"}, incremental=True)
        self.snapshot = None

    def publish(self, snapshot):
        self.snapshot = snapshot

    def state(self):
        return {}


def served(stream, name):
    """By type, the bodies of the resources of a Service."""
    return {
        type: {
            one.name: one.body
            for one in stream.snapshot.all(type)
            if f"{NAMESPACE}.{name}" in one.name or f"{NAMESPACE}/{name}/" in one.name
        }
        for type in (CDS, EDS, VHDS)
    }


def batch(*texts, gone=(), synced=False):
    """The batch that makes the objects of these texts be there, and those of the others not."""
    changes = []
    for listed, is_gone in [(texts, False), (gone, True)]:
        for text in listed:
            document = json.loads(text)
            for manifest in document.get("items", [document]):
                identity = identity_of(manifest)
                changes.append(Change(identity.kind, identity.key, None if is_gone else manifest, "world.yaml#1"))
    return Batch(tuple(changes), (), synced)


@pytest.fixture
async def world():
    """A pipeline with three Services and a stream: (pipeline, metrics, stream)."""
    metrics = Metrics()
    pipeline = Pipeline(Environment(), metrics)
    metrics.watch(Reading(pipeline))
    await pipeline.take(batch(*(service(name, at) for at, name in enumerate("abc", 1)), synced=True))
    stream = Stream()
    pipeline.join(stream)
    return pipeline, metrics, stream


@pytest.mark.parametrize("broken", ["eds.load_assignment_bytes", "cds.cluster", "rds.virtual_host"])
async def test_lc_10_a_translator_that_raises_for_one_service(world, monkeypatch, broken):
    """The poisoned Service is served as before, another one's change goes out, and the end of the poison heals it."""
    pipeline, metrics, stream = world
    module, name = broken.split(".")
    translator = import_module(f"xdscp.translators.{module}")
    sound = getattr(translator, name)

    def poisoned(model, *rest):
        if f"{NAMESPACE}/b" in repr(model) or f"{NAMESPACE}.b" in repr(model) or "10.0.2." in repr(model):
            raise RuntimeError("poison")
        return sound(model, *rest)

    before = {name: served(stream, name) for name in "abc"}
    monkeypatch.setattr(translator, name, poisoned)
    change = [
        *(service(name, at, endpoints=3) for at, name in enumerate("abc", 1)),
        *(policy(name, 77, connection={"connectTimeout": "3s"}) for name in "abc"),
    ]
    with structlog.testing.capture_logs() as logs:
        await pipeline.take(batch(*change))
    kind = {"eds": EDS, "cds": CDS, "rds": VHDS}[module]
    assert all(served(stream, name)[kind] != before[name][kind] for name in "ac"), "the others were held up"
    assert served(stream, "b")[kind] == before["b"][kind], "not the last good one is served"
    problems = [each for each in Reading(pipeline).problems() if each.reason == "Internal"]
    assert {each.key.name for each in problems} == {"b"}, problems
    assert all("poison" in each.message for each in problems)
    assert b'xdscp_problems{kind="Service",reason="Internal"}' in generate_latest(metrics.registry)
    assert metrics.derivation_failures._value.get() >= 1
    told = [each for each in logs if each["event"] == "derivation failed"]
    assert any("poison" in repr(each["exc_info"]) for each in told), "no log line tells it"

    monkeypatch.setattr(translator, name, sound)
    await pipeline.take(batch(service("b", 2, endpoints=4), policy("b", 78, connection={"connectTimeout": "4s"})))
    assert not list(pipeline.graph.failures())
    assert not [each for each in Reading(pipeline).problems() if each.reason == "Internal"]
    fresh = Stream("pod-2")
    pipeline.join(fresh)
    assert served(stream, "b")[kind] != before["b"][kind]
    assert served(stream, "b") == served(fresh, "b")


async def test_lc_08_what_went_leaves_nothing_in_the_graph(world):
    """Objects and proxies with names of their own that come and go leave the graph and all registers as they were."""
    pipeline, _, _ = world

    async def passing(first):
        for number in range(first, first + 60):
            texts = (service(f"passing-{number}", number), policy(f"passing-{number}", number))
            await pipeline.take(batch(*texts))
            guest = Stream(f"guest-{number}")
            pipeline.join(guest)
            pipeline.leave(guest)
            await pipeline.take(batch(gone=texts))
        graph, fleet, findings = pipeline.graph, pipeline.fleet, pipeline.findings
        sizes = [graph._derivations, graph._sources, graph._outdated, graph._due, graph._unread, graph._failed]
        sizes += [fleet._streams, fleet._proxies, fleet._members, fleet._snapshots, fleet._lingering]
        sizes += [findings._checked, findings._watched, findings._refused]
        sizes += [pipeline.origins, pipeline._waves, pipeline._refusing, pipeline.store._buckets]
        return list(map(len, sizes)), pipeline.store.counts()

    assert await passing(0) == await passing(1000)


async def test_streams_that_never_answer_keep_no_history(world):
    """Changes that a client does not acknowledge are remembered up to a number."""
    pipeline, _, stream = world
    stream.settled = False
    for number in range(200):
        await pipeline.take(batch(service("a", 1, endpoints=1 + number % 9)))
    assert len(pipeline._waves) <= 64
