"""What is done to a control plane for long, and what it costs; short in tests, long in `benchmarks.soak`."""

from __future__ import annotations

import json
import random
import struct
import threading
import time
import urllib.request
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.fleet import CDS, EDS, LDS, RDS, VHDS, Fleet, frame
from tests.hostile.control_plane import WITNESS, policy, put, service
from tests.hostile.peer import RST_STREAM, Peer, data, request

ALL = (CDS, EDS, LDS, RDS, VHDS)


@dataclass(frozen=True)
class State:
    """What must not grow: MB, descriptors, threads, series of metrics, open streams."""

    rss: float
    descriptors: int
    threads: int
    series: int
    streams: float


def state(control):
    """The state now, when what ended has been noticed."""
    time.sleep(0.3)
    metrics = control.metrics()
    streams = sum(value for name, value in metrics.items() if name.partition("{")[0] == "xdscp_streams")
    return State(control.rss, control.descriptors, control.status("Threads"), len(metrics), streams)


def settled(control, streams=0):
    """Waits until no more streams are open."""
    control.until(lambda: control.metric("xdscp_streams") == streams, 20, "all streams being closed")


def connections(control, cycles):
    """Clients with names of their own that connect, subscribe and vanish: in silence, by reset, with responses unread."""
    for number in range(cycles):
        incremental = number % 4 != 3
        with Peer(control.port, window=0 if number % 3 == 0 else (1 << 31) - 1) as peer:
            peer.open(1, request(CDS, node=f"shop/cycle-{number}", incremental=incremental), incremental)
            if number % 3 == 1:
                peer.send(data(1, request(EDS, names=["out/hostile/witness/80"], incremental=incremental)))
                next((each for each in peer.frames(0.2) if each[0] == 0), None)
            elif number % 3 == 2:
                peer.send(frame(RST_STREAM, 0, 1, struct.pack(">I", 8)))


def objects(control, count, first=0):
    """Services and policies with names of their own, half of them bad, that come and go one after another."""
    for number in range(first, first + count):
        name = f"passing-{number}"
        put(control.folder, "passing.json", service(name, number % 60_000 + 1000))
        bad = {"targetRefs": [{"group": "", "kind": "Service", "name": "nobody"}]} if number % 2 else {}
        put(control.folder, "passing-policy.yaml", policy(name, number + 1, **bad))
        time.sleep(0.01)
    for name in ("passing.json", "passing-policy.yaml"):
        (control.folder / name).unlink()
    control.until(lambda: "passing" not in control.get("/debug/objects"), 20, "the end of the objects")


@dataclass(frozen=True)
class Paced:
    """Changes at a pace: how many were written, pushed, and the longest pause between two pushes, and until the last."""

    changes: int
    pushes: int
    pause: float
    last: float


def paced(control, interval, seconds):
    """Changes one Service's endpoints every `interval` seconds, and counts what comes."""
    fleet = Fleet(control.port, 1, namespace="paced")
    proxy = fleet.proxies[0]
    fleet.until(lambda proxy: all(proxy.types[url] for url in ALL))
    fleet.idle(0.3)
    before, seen, times = proxy.types[EDS], proxy.types[EDS], [time.time()]
    started = time.monotonic()
    changes = 0
    written = 0.0
    while time.monotonic() - started < seconds:
        changes += 1
        written = put(control.folder, "witness.json", service(WITNESS, endpoints=1 + changes % 50))
        until = started + changes * interval
        while (left := until - time.monotonic()) > 0:
            fleet.idle(min(left, 0.005))
            if proxy.types[EDS] > seen:
                seen = proxy.types[EDS]
                times.append(proxy.acked_at)
    fleet.idle(0.5)
    pause = max(after - earlier for earlier, after in pairwise(times))
    found = Paced(changes, proxy.types[EDS] - before, pause, proxy.acked_at - written)
    fleet.close()
    return found


def flips(control, endpoints, count, pause):
    """One endpoint of a big Service goes and comes; seconds until a client has each, bytes of the last."""
    addresses = [f"10.77.{number >> 8}.{number & 255}" for number in range(endpoints)]
    listing = json.loads(service("big", 200))

    def big(down):
        listing["items"][1]["endpoints"] = [
            {"addresses": [each], "conditions": {"ready": at != down}} for at, each in enumerate(addresses)
        ]
        return json.dumps(listing)

    put(control.folder, "big.json", big(-1))
    control.until(lambda: '"big-abcde"' in control.get("/debug/objects?kind=EndpointSlice"), 20, "the big Service")
    time.sleep(0.5)
    fleet = Fleet(control.port, 1, namespace="flips")
    fleet.until(lambda proxy: all(proxy.types[url] for url in ALL))
    fleet.idle(1.0)
    times = []
    proxy = fleet.proxies[0]
    try:
        for number in range(count):
            before, received = proxy.types[EDS], proxy.received
            written = put(control.folder, "big.json", big(number * 7 % endpoints))
            fleet.until(lambda proxy, before=before: proxy.types[EDS] > before, 10)
            times.append(proxy.acked_at - written)
            assert proxy.types[EDS] == before + 1
            size = proxy.received - received
            fleet.idle(pause)
    finally:
        fleet.close()
        (control.folder / "big.json").unlink()
    return times, size


class Health(threading.Thread):
    """Asks for a page again and again; `worst` is the longest wait in seconds."""

    def __init__(self, control, path="/healthz", pause=0.02):
        super().__init__(daemon=True)
        self.url, self.pause = f"http://127.0.0.1:{control.admin}{path}", pause
        self.worst, self.count, self.done = 0.0, 0, threading.Event()
        self.failure = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(30)

    def run(self):
        while not self.done.is_set():
            started = time.monotonic()
            try:
                with urllib.request.urlopen(self.url, timeout=30) as answer:
                    answer.read()
            except Exception as error:
                self.failure = error
                return
            self.worst = max(self.worst, time.monotonic() - started)
            self.count += 1
            time.sleep(self.pause)


def lag(control, before, quantile=0.99):
    """The bucket in which a quantile of the event loop's lag lies since the metrics `before`."""
    now = control.metrics()
    name = "xdscp_event_loop_lag_seconds_bucket"
    counts = sorted(
        (float(key.split('"')[1]), value - before.get(key, 0)) for key, value in now.items() if key.startswith(name)
    )
    return next(bound for bound, count in counts if count >= quantile * counts[-1][1])


def edits(control, count, seed):
    """Random edits of a folder: Services, slices and policies, good and bad, that come, change and go."""
    chosen = random.Random(seed)
    for _ in range(count):
        number = chosen.randrange(12)
        name = f"service-{number}"
        subset = {"subsets": [{"name": "v1", "labels": {"v": "1"}}], "routes": [{"backends": [{"subset": "v1"}]}]}
        balancer = {"loadBalancer": {"type": chosen.choice(["RingHash", "Random"])}}
        endpoints = service(name, number, chosen.random() < 0.5, chosen.randrange(1, 5))
        policies = [policy(name, chosen.randrange(1, 99), **spec) for spec in ({}, balancer, subset, {"wrong": 1})]
        policy_file = f"{name}-policy.json"
        file, text = chosen.choice(
            [(f"{name}.json", endpoints), (f"{name}.json", "{half"), *((policy_file, each) for each in policies)]
        )
        if chosen.random() < 0.25:
            (control.folder / file).unlink(missing_ok=True)
        else:
            put(control.folder, file, text)
        time.sleep(0.005 if chosen.random() < 0.5 else 0.04)


def slow_reader(control, changes):
    """A client that takes nothing while endpoints change; returns the peer, still open."""
    peer = Peer(control.port, window=0)
    peer.open(1, request(CDS, node="shop/sleeper"))
    names = ["out/hostile/witness/80", *(f"out/hostile/service-{number}/80" for number in range(1, 20))]
    peer.send(data(1, request(EDS, names=names)))
    for number in range(changes):
        put(control.folder, "service-7.json", service("service-7", 7, endpoints=1 + number % 100))
        time.sleep(0.008)
    return peer
