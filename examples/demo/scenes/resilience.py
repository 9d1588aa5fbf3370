"""Scenes of failing instances: retry, outlier detection, circuit breaker, injected faults."""

from __future__ import annotations

import asyncio
import time

from examples.demo.checks import fair, share
from examples.demo.screen import Tally
from examples.demo.stage import Stage, answer, instance

RATINGS = "policies/ratings.yaml"
CATALOG = "policies/catalog.yaml"
ROUTES, RATINGS_TIMEOUT, CATALOG_TIMEOUT = (
    "  routes:\n",
    "    timeouts: {request: 2s}\n",
    "    timeouts: {request: 5s}\n",
)
BAD = frozenset({"503", "418", "no answer"})
FAILING = "ratings-b"
COUNT = 300
HELD = 0.145
"""Seconds; Envoy's timers are of whole milliseconds, so a hold of 150 ms may measure a little less."""

RETRY = """\
    retry:
      attempts: 3
      retryOn: [5xx, connect-failure]
      budget: {percent: 100}
"""
OUTLIER = """\
  outlierDetection:
    consecutive5xx: 5
    interval: 250ms
    baseEjection: 2s
    maxEjectionPercent: 50
"""
BREAKER = """\
  circuitBreaker: {maxConnections: 1, maxPendingRequests: 1}
"""
FAULT = """\
    fault:
      delay: {duration: 150ms, percent: 30}
      abort: {httpStatus: 418, percent: 20}
"""


async def retry(stage: Stage) -> str:
    """Errors without a retry, none with it, though the instance fails as before."""
    failing = stage.fleet.pods[FAILING].application
    await failing.behave(fail_rate=1.0)
    report = await stage.send("ratings", COUNT, instances(), instance)
    without, failed = report.statuses[503], (await failing.counters())["failed"]
    stage.check(
        f"without a retry the client got {without} errors of {COUNT}; {FAILING} made {failed}",
        without == failed > 0,
    )
    await stage.edit(RATINGS, {RATINGS_TIMEOUT: RATINGS_TIMEOUT + RETRY})
    report = await stage.send("ratings", COUNT, instances(), instance)
    failed = (await failing.counters())["failed"] - failed
    stage.check(
        f"with it the client got {len(report.failures)} errors of {COUNT}; {FAILING} still failed {failed} times",
        not report.failures and failed > 0,
    )
    return f"{without} errors became {len(report.failures)}"


async def outlier(stage: Stage) -> str:
    """The failing instance is ejected, left alone, healed, and returned."""
    pod = stage.fleet.pods[FAILING]

    async def ejected() -> bool:
        return (await stage.client.envoy.hosts(cluster("ratings")))[pod.address].ejected

    async def returned() -> bool:
        return not await ejected()

    async def received() -> int:
        count: int = (await pod.application.counters())["received"]
        return count

    changes = {ROUTES: OUTLIER + ROUTES}
    if RETRY not in stage.fleet.shop.read(RATINGS):  # the scene before was left out
        changes[RATINGS_TIMEOUT] = RATINGS_TIMEOUT + RETRY
    async with stage.driven("ratings", rate=100) as load:
        await stage.edit(RATINGS, changes)
        await pod.application.behave(fail_rate=1.0)
        await stage.until(f"{FAILING} is ejected", ejected)
        moment = time.monotonic()
        await asyncio.sleep(0.1)  # answers under way
        before = await received()
        await asyncio.sleep(0.8)
        during = await received() - before
        others = sum(outcome.sent > moment + 0.1 for outcome in load.seen)
        stage.check(
            f"{FAILING} is ejected (Envoy's /clusters says failed_outlier_check): it got {during} requests, the others {others}",
            during == 0 < others,
        )
        await pod.application.behave(fail_rate=0.0)
        await stage.until(f"{FAILING} is taken back", returned)
        seconds = time.monotonic() - moment
        before = await received()
        await asyncio.sleep(0.5)
        after = await received() - before
        stage.check(
            f"healed, it was taken back after {seconds:.1f} s and got {after} requests in half a second", after > 0
        )
    failed = len(load.report.failures)
    stage.check(f"the client saw {failed} errors of {load.report.sent} requests", failed == 0)
    return f"out after 5 failures, back after {seconds:.1f} s, {failed} errors seen"


async def circuit_breaker(stage: Stage) -> str:
    """Twenty requests at once to one slow connection."""
    application = stage.fleet.pods["catalog-a"].application
    await application.behave(delay=0.15)
    await stage.edit(CATALOG, {ROUTES: BREAKER + ROUTES})
    overflow = f"cluster.{cluster('catalog')}.upstream_rq_pending_overflow"
    before, received = await stage.client.envoy.stat(overflow), (await application.counters())["received"]
    report = await stage.send("catalog", 20, Tally(order=("200", "503"), bad=BAD), answer, concurrency=20)
    counted = await stage.client.envoy.stat(overflow) - before
    received = (await application.counters())["received"] - received
    shed = [outcome for outcome in report.failures if ("x-envoy-overloaded", "true") in outcome.headers]
    slowest = max((outcome.seconds for outcome in shed), default=0.0)
    stage.check(
        f"{len(shed)} of 20 requests at once were shed within {slowest * 1000:.0f} ms; "
        f"Envoy counted upstream_rq_pending_overflow {counted}",
        len(shed) == len(report.failures) == counted > 0,
    )
    stage.check(
        f"answered: {report.statuses[200]}, and the slow application received {received}",
        report.statuses[200] == received == 20 - len(shed) > 0,
    )
    await application.behave(delay=0.0)
    return f"{len(shed)} of 20 shed, as Envoy counted"


async def fault(stage: Stage) -> str:
    """Percentages of delays and aborts, counted."""
    application, trials = stage.fleet.pods["catalog-a"].application, 600
    changes = {CATALOG_TIMEOUT: CATALOG_TIMEOUT + FAULT}
    if BREAKER in stage.fleet.shop.read(CATALOG):
        changes[BREAKER] = ""
    await stage.edit(CATALOG, changes)
    received, held = (await application.counters())["received"], await delays(stage)
    tally = Tally(order=("200", "418"), bad=BAD)
    report = await stage.send("catalog", trials, tally, answer, concurrency=24)
    received = (await application.counters())["received"] - received
    aborted, slow = report.statuses[418], sum(outcome.seconds >= HELD for outcome in report.outcomes)
    delayed = await delays(stage) - held
    fair_aborts, fair_delays = fair(trials, 20), fair(trials, 30)
    stage.check(
        f"{aborted} of {trials} requests were answered 418 by Envoy (fair: {fair_aborts})", aborted in fair_aborts
    )
    stage.check(
        f"Envoy held {delayed} of {trials} for 150 ms (fair: {fair_delays}); {slow} took that long",
        delayed in fair_delays and slow >= delayed,
    )
    stage.check(
        f"{received} requests reached the application: all but the aborted ones",
        received == trials - aborted == report.statuses[200],
    )
    await stage.edit(CATALOG, {FAULT: ""})
    return f"{share(aborted, trials)} aborted, {share(delayed, trials)} delayed"


async def delays(stage: Stage) -> int:
    """Requests that the client's Envoy has held for a fault so far."""
    return sum((await stage.client.envoy.stats(r"fault\.delays_injected$")).values())


def cluster(service: str) -> str:
    """The name of a service's cluster in the client's Envoy."""
    return f"out/shop/{service}/80"


def instances() -> Tally:
    return Tally(order=("ratings-a", "ratings-b", "ratings-c"), bad=BAD)
