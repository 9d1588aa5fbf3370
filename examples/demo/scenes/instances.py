"""A scene of a rollout: an instance leaves and another comes while requests run, and none is lost.

The Pod's file goes through what a kubelet would report: terminating, gone, started but not ready, ready.
"""

from __future__ import annotations

import asyncio
import time

from examples.demo.screen import Tally
from examples.demo.stage import Driven, Stage, instance

NAME = "reviews-v1-b"
RATE = 300
NAMESPACE, STATUS = "  namespace: shop\n", "status:\n"
TERMINATING = {NAMESPACE: NAMESPACE + '  deletionTimestamp: "2030-01-01T00:00:00Z"\n'}
UNREADY = "  conditions:\n  - {type: Ready, status: 'False'}\n"
READY = "  conditions:\n  - {type: Ready, status: 'True'}\n"


async def replaced(stage: Stage) -> str:
    """Out, stopped, deleted, started again, in."""
    fleet, spec = stage.fleet, stage.fleet.pods[NAME].spec
    text = fleet.shop.read(spec.file)
    tally = Tally(order=("reviews-v1-a", NAME, "reviews-v2-a"), bad=frozenset({"503", "no answer"}))
    async with stage.driven("reviews", RATE, tally, instance) as load:
        await stage.edit(spec.file, TERMINATING)
        left = time.monotonic()
        await asyncio.sleep(0.3)  # answers under way
        await fleet.remove(NAME)
        await stage.deliver(lambda: fleet.shop.remove(spec.file))
        await asyncio.sleep(0.5)
        fleet.shop.write(spec.file, text.replace(STATUS, STATUS + UNREADY))
        await fleet.add(spec)
        started = time.monotonic()
        await stage.edit(spec.file, {UNREADY: READY})
        await stage.until(f"{NAME} answers", lambda: answered(load, started))
        await asyncio.sleep(0.5)
    absent = [outcome for outcome in load.seen if left < outcome.sent < started]
    wrong = sum(outcome.instance == NAME for outcome in absent)
    stage.check(f"of {len(absent)} requests while it was out, {wrong} went to it", wrong == 0 < len(absent))
    back = sum(outcome.instance == NAME for outcome in load.seen if outcome.sent > started)
    stage.check(f"back again it answered {back} requests", back > 0)
    report = load.report
    lost = len(report.failures)
    stage.check(f"{lost} of {report.sent:,} requests were lost" + (f": {report.reasons()}" if lost else ""), lost == 0)
    return f"{lost} of {report.sent:,} requests lost"


async def answered(load: Driven, since: float) -> bool:
    """The instance has answered a request that was sent after `since`."""
    return any(outcome.instance == NAME and outcome.sent > since for outcome in load.seen)
