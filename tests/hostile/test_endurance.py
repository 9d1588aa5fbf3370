"""What lasts: nothing grows with what has gone, changes that crowd are joined, and nobody waits for the slow."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack

import pytest

from tests.hostile import endurance
from tests.hostile.control_plane import ControlPlane, policy, put, service
from tests.hostile.endurance import Health, lag, settled, state


def test_lc_08_connections_leave_nothing(control):
    """Clients that connect, subscribe and vanish leave no memory, descriptors, threads, metrics or streams."""
    endurance.connections(control, 150)
    settled(control)
    before = state(control)
    endurance.connections(control, 300)
    settled(control)
    after = state(control)
    print(f"\n{before} {after}")
    assert after.rss - before.rss < 5
    assert after.descriptors <= before.descriptors + 1
    assert after.threads <= before.threads + 1
    assert after.series <= before.series
    assert after.streams == 0


def test_lc_08_objects_leave_nothing(control):
    """Objects with names of their own that come and go leave no memory and no series of metrics."""
    endurance.objects(control, 60)
    before = state(control)
    endurance.objects(control, 120, first=60)
    after = state(control)
    print(f"\n{before} {after}")
    assert after.rss - before.rss < 5
    assert after.series <= before.series
    assert not control.problems()


def test_lc_09_the_loop_answers_during_a_heavy_change(control):
    """A thousand policies that come and change at once hold neither health checks nor a client up for long."""
    crowd = control.folder / "crowd"
    crowd.mkdir()
    for number in range(1000):
        put(crowd, f"{number}.json", service(f"crowd-{number}", 2000 + number, endpoints=2))
    control.until(lambda: control.metrics()['xdscp_objects{kind="Service"}'] > 1000, 20)
    fleet = endurance.Fleet(control.port, 1, namespace="heavy")
    fleet.until(lambda proxy: all(proxy.types[url] for url in endurance.ALL))
    before = control.metrics()
    with Health(control) as health:
        for generation in (1, 2):
            seen = fleet.proxies[0].types[endurance.VHDS]
            put(control.folder, "crowd.yaml", "\n---\n".join(policy(f"crowd-{n}", n + generation) for n in range(1000)))
            fleet.until(lambda proxy, seen=seen: proxy.types[endurance.VHDS] > seen, 20)
            fleet.idle(1.0)
    print(f"\nhealth worst {health.worst * 1000:.0f} ms of {health.count}, lag p99 ≤ {lag(control, before)} s")
    assert health.failure is None
    assert health.worst < 1
    assert lag(control, before) <= 0.2
    fleet.close()
    (control.folder / "crowd.yaml").unlink()
    for path in crowd.iterdir():
        path.unlink()
    crowd.rmdir()


def test_or_12_a_hundred_changes_in_a_second(control):
    """Changes that crowd are a few pushes, and the last one arrives."""
    found = endurance.paced(control, 0.01, 1.0)
    print(f"\n{found}")
    assert found.pushes <= found.changes / 4
    assert found.last < 0.5


def test_or_12_changes_that_never_rest(control):
    """Under a change every 50 ms pushes go out all the time: no quiet is waited for."""
    found = endurance.paced(control, 0.05, 3.0)
    print(f"\n{found}")
    assert found.pause < 0.25
    assert found.pushes >= found.changes / 4


def test_ep_15_a_big_service(control):
    """Each flip of one of 5,000 endpoints is one response that comes in time, and memory stays flat."""
    times, size = endurance.flips(control, 5000, 4, 0.05)
    rss = control.rss
    times, size = endurance.flips(control, 5000, 10, 0.05)
    print(f"\nworst {max(times) * 1000:.0f} ms, {size} bytes, {control.rss - rss:+.1f} MB")
    assert max(times) < 2
    assert control.rss - rss < 10


def test_a_client_that_does_not_read(attacked):
    """While endpoints change, a client that reads nothing costs no memory and no time of others."""
    with attacked(memory=10) as control:
        endurance.slow_reader(control, 200).close()


@pytest.mark.parametrize("path", ["/debug/objects", "/debug/resources?node=witness/client-0", "/metrics", "/syncz"])
def test_pages_under_load(attacked, path):
    """Pages asked for by four clients without pause hold no proxy up."""
    with attacked(memory=150) as control:
        readers = [Health(control, path, pause=0) for _ in range(4)]
        for each in readers:
            each.start()
        threading.Event().wait(1.5)
        for each in readers:
            each.done.set()
        for each in readers:
            each.join(30)
            assert each.failure is None
        print(
            f"\n{path}: {sum(each.count for each in readers)} answers, worst {max(each.worst for each in readers):.2f} s"
        )


def test_what_is_served_equals_a_full_recompute(tmp_path):
    """With XDSCP_VERIFY no random edit of the folder leaves a difference between the increments and the whole."""
    control = ControlPlane(tmp_path, 12, os.environ | {"XDSCP_VERIFY": "1"})
    with ExitStack() as closing:
        closing.callback(control.stop)
        fleet = endurance.Fleet(control.port, 2, namespace="verify")
        closing.callback(fleet.close)
        fleet.until(lambda proxy: all(proxy.types[url] for url in endurance.ALL))
        reader = threading.Thread(target=endurance.edits, args=(control, 120, 4711))
        reader.start()
        while reader.is_alive():
            fleet.idle(0.05)
        fleet.idle(0.3)
        metrics = control.metrics()
        assert metrics["xdscp_settle_seconds_count"] > 15
        assert metrics["xdscp_verify_failures_total"] == 0
        assert metrics["xdscp_derivation_failures_total"] == 0
        assert "differs" not in control.log
