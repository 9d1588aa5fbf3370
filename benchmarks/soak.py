"""A control plane that is harassed for long: what grows, and how late the loop is. `python -m benchmarks.soak [SCALE]`.

SCALE 1 takes about three minutes: 2,000 connections, 1,000 Services and policies that come and go, refused requests,
a change every 50 ms, a Service of 5,000 endpoints, a client that does not read. Growth is told after a warm-up.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fleet import EDS
from tests.hostile import endurance
from tests.hostile.control_plane import ControlPlane, policy, put, service
from tests.hostile.endurance import Health, lag, settled, state
from tests.hostile.peer import Peer, framed, request


def growth(name: str, control: ControlPlane, work: Callable[[int], None], rounds: int = 4) -> None:
    """Prints the state after a warm-up and after each round of work."""
    started = time.monotonic()
    work(0)
    settled(control)
    first = last = state(control)
    memory = [f"{first.rss:.1f}"]
    for each in range(1, rounds + 1):
        work(each)
        settled(control)
        last = state(control)
        memory.append(f"{last.rss:.1f}")
    print(
        f"{name:28} RSS {' → '.join(memory)} MB, descriptors {last.descriptors - first.descriptors:+d}, "
        f"threads {last.threads - first.threads:+d}, series {last.series - first.series:+d}, streams {last.streams:.0f} "
        f"({time.monotonic() - started:.0f} s)"
    )


def refused(control: ControlPlane, count: int) -> None:
    body = framed(request(EDS, names=[f"out/hostile/service-{number}/80" for number in range(1_000_000)]))
    for _ in range(count):
        with Peer(control.port) as peer:
            peer.open()
            peer.pour(body, timeout=20, patience=3)
            assert peer.ended()


def heavy(control: ControlPlane, policies: int) -> None:
    """All policies of a thousand Services at once, twice, beside a client and health checks."""
    crowd = control.folder / "crowd"
    crowd.mkdir()
    for number in range(policies):
        put(crowd, f"{number}.json", service(f"crowd-{number}", 2000 + number, endpoints=2))
    control.until(lambda: control.metrics()['xdscp_objects{kind="Service"}'] > policies, 60)
    fleet = endurance.Fleet(control.port, 1, namespace="heavy")
    fleet.until(lambda proxy: all(proxy.types[url] for url in endurance.ALL))
    before = control.metrics()
    with Health(control) as health:
        for generation in range(1, 6):
            seen = fleet.proxies[0].types[endurance.VHDS]
            text = "\n---\n".join(policy(f"crowd-{n}", n + generation) for n in range(policies))
            put(control.folder, "crowd.yaml", text)
            fleet.until(lambda proxy, seen=seen: proxy.types[endurance.VHDS] > seen)
            fleet.idle(1.5)
    fleet.close()
    print(
        f"{policies} policies at once, 5 times    /healthz worst {health.worst * 1e3:.0f} ms, lag p99 ≤ {lag(control, before)} s"
    )
    (control.folder / "crowd.yaml").unlink()
    for path in crowd.iterdir():
        path.unlink()


def main(scale: float = 1.0) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        control = ControlPlane(Path(scratch))
        try:
            connections, objects = int(400 * scale), int(200 * scale)
            growth(f"{connections * 5} connections", control, lambda _: endurance.connections(control, connections))
            growth(
                f"{objects * 5} Services, policies", control, lambda n: endurance.objects(control, objects, n * objects)
            )
            growth("20 refused requests of 30 MB", control, lambda _: refused(control, 4))
            growth("2,000 changes unread", control, lambda _: endurance.slow_reader(control, int(400 * scale)).close())
            print("100 changes a second for 1 s ", endurance.paced(control, 0.01, 1.0))
            print("a change every 50 ms for 10 s", endurance.paced(control, 0.05, 10 * scale))
            rss = control.rss
            times, size = endurance.flips(control, 5000, int(20 * scale), 0.3)
            print(
                f"5,000 endpoints, flips        worst {max(times) * 1e3:.0f} ms, {size} bytes, {control.rss - rss:+.1f} MB"
            )
            heavy(control, int(1000 * scale))
        finally:
            control.stop()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
