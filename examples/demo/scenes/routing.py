"""Scenes of weighted routing: a canary counted, and its weights changed under load."""

from __future__ import annotations

import asyncio

from examples.demo.checks import fair, share
from examples.demo.load import Report
from examples.demo.screen import Tally
from examples.demo.stage import Stage, version

COUNT = 2000
FILE = "policies/reviews.yaml"
SPLIT = {"{subset: v1, weight: 90}": "{subset: v1, weight: 50}", "{subset: v2, weight: 10}": "{subset: v2, weight: 50}"}


async def canary(stage: Stage) -> str:
    """The split of the folder as it stands."""
    found = counted(stage, await stage.send("reviews", COUNT, versions(), version), percent=10)
    async with stage.fleet.caller("frontend", "reviews") as caller:
        testers = [await caller.call(headers={"x-tester": "yes"}) for _ in range(50)]
    to_v2 = sum(outcome.version == "v2" for outcome in testers)
    stage.check(f"{to_v2} of 50 requests with x-tester: yes went to v2", to_v2 == 50)
    return found


async def split(stage: Stage) -> str:
    """The weights are changed under load, then counted again."""
    async with stage.driven("reviews", rate=300) as load:
        await asyncio.sleep(0.5)
        before = await inside(stage)
        delivery = await stage.edit(FILE, SPLIT)
        within = (await inside(stage) - before) * 1000
        stage.screen.note(
            f"  of which {within:.1f} ms from its arrival in the control plane (xdscp_convergence_seconds)"
        )
        await asyncio.sleep(0.5)
    stage.check(
        f"{delivery.milliseconds:.1f} ms from the file's write to the last Envoy's ACK ({delivery.proxies} Envoys)",
        delivery.seconds < 1,
    )
    failed = len(load.report.failures)
    stage.check(f"{failed} of {load.report.sent} requests failed before, during and after", failed == 0)
    found = counted(stage, await stage.send("reviews", COUNT, versions(), version), percent=50)
    return f"{delivery.milliseconds:.1f} ms from file to last ACK, {found}"


async def inside(stage: Stage) -> float:
    """Seconds that the control plane says all changes so far took, from their arrival to the last ACK."""
    return (await stage.fleet.control_plane.metrics()).get("xdscp_convergence_seconds_sum", 0.0)


def counted(stage: Stage, report: Report, percent: float) -> str:
    """Check that v2 got its share and that nothing failed; the share in short."""
    bounds, count = fair(report.sent, percent), report.versions["v2"]
    stage.check(
        f"{share(count, report.sent)} of {report.sent:,} requests went to v2 (fair: {bounds} requests, counted {count})",
        count in bounds and not report.failures,
    )
    return f"{share(count, report.sent)} to v2"


def versions() -> Tally:
    return Tally(order=("v1", "v2"), bad=frozenset({"503", "no answer"}))
