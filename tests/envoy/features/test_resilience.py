"""Circuit breakers and outlier detection."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from tests.envoy.features.instance import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATINGS = "out/shop/ratings/80"


async def statuses(stage, count):
    return Counter(answer.status for answer in await asyncio.gather(*(stage.reviews() for _ in range(count))))


async def test_connections_and_pending_requests(stage):
    """While two requests have the connections, of eight more three wait, and five fail at once."""
    await stage.apply("circuit-breaker/connections", {"selector: {app: reviews}": "selector: {app: audit}"})
    audit = stage.instances["audit"]  # one endpoint: to each that has no connection one is allowed in any case
    audit.slow(0.3)
    first = [asyncio.create_task(stage.reviews()) for _ in range(2)]

    async def both():
        return len(audit.seen) == 2

    await stage.until(both, what="two requests at work")
    answers = await asyncio.gather(*first, *(stage.reviews() for _ in range(8)))
    failed = [answer for answer in answers if answer.status == 503]
    assert len(failed) == 5
    assert all(answer.headers["x-envoy-overloaded"] == "true" and answer.seconds < 0.2 for answer in failed)
    assert len(audit.opened) == 2
    assert await stage.envoy.stat("cluster.out/shop/reviews/80.upstream_rq_pending_overflow") == 5


async def test_requests(stage):
    """Of ten requests at once four are let through; afterwards all is well."""
    await stage.apply("circuit-breaker/requests")
    for instance in stage.of("reviews"):
        instance.slow(0.2)
    assert await statuses(stage, 10) == {200: 4, 503: 6}
    assert await statuses(stage, 4) == {200: 4}


async def test_retries(stage):
    """With ten requests failing at once only one retry runs at a time."""
    await stage.apply("circuit-breaker/retries")
    for instance in stage.of("reviews"):
        instance.failing(503)
    assert await statuses(stage, 10) == {503: 10}
    assert 10 < sum(len(instance.seen) for instance in stage.of("reviews")) <= 13  # 30 without the bound


async def test_unlimited_without_a_policy(stage):
    """Without a circuit breaker nothing is bounded: more requests at a time than Envoy's own 1,024 are not needed to see
    that the thresholds are out of reach."""
    await stage.apply("load-balancer/round-robin")
    limits = (await stage.cluster("out/shop/reviews/80"))["circuit_breakers"]["thresholds"][0]
    assert limits["max_connections"] == limits["max_pending_requests"] == limits["max_requests"] == 2**32 - 1


# -- outlier detection: three endpoints in turn


async def ejected(stage):
    """The names of the instances of ratings that are ejected."""
    hosts = await stage.envoy.hosts(RATINGS)
    return {one.name for one in stage.of("ratings") if hosts[f"{one.address}:{one.port}"].ejected}


async def unused(stage, instance):
    """Return when an instance gets nothing more: Envoy hands changes of health to its workers once a second."""

    async def so():
        before = len(instance.seen)
        await stage.many(12, lambda _: stage.ratings())
        return len(instance.seen) == before

    await stage.until(so, what=f"{instance.name} unused")


async def until_ejected(stage, *names, timeout=5.0):
    async def so():
        return await ejected(stage) == set(names)

    return await stage.until(so, timeout, f"ejected: {names}")


async def test_consecutive_5xx(stage):
    """Three failures in a row eject an endpoint; it returns after two seconds, and all get requests again.

    That a second time is longer, and the bound of ten seconds, are seen in the configuration.
    """
    await stage.apply("outlier-detection/consecutive-5xx", {"interval: 1s": "interval: 100ms"})
    bad = stage.instances["ratings-a"]
    bad.failing(500)
    for _ in range(6):
        await stage.ratings()
    assert await ejected(stage) == set()
    for _ in range(6):
        await stage.ratings()
    began = time.monotonic()
    await until_ejected(stage, "ratings-a")
    await unused(stage, bad)
    count = len(bad.seen)
    answers = await stage.many(30, lambda _: stage.ratings())
    assert {answer.status for answer in answers} == {200}
    assert len(bad.seen) == count
    bad.reset()
    await until_ejected(stage)
    assert 1.5 < time.monotonic() - began < 4.0

    async def all_used():
        return {(await stage.ratings()).instance for _ in range(9)} == {"ratings-a", "ratings-b", "ratings-c"}

    await stage.until(all_used, what="all in use again")
    config = (await stage.cluster(RATINGS))["outlier_detection"]
    assert (config["base_ejection_time"], config["max_ejection_time"]) == ("2s", "10s")


async def test_maximum_ejected(stage):
    """Half of three endpoints is one: of two that fail one stays in use."""
    await stage.apply("outlier-detection/consecutive-5xx", {"interval: 1s": "interval: 100ms"})
    for name in ("ratings-a", "ratings-b"):
        stage.instances[name].failing(500)
    for _ in range(30):
        await stage.ratings()
    await asyncio.sleep(0.25)
    assert len(await ejected(stage)) == 1


async def test_gateway_errors(stage):
    """503 ejects, 500 does not."""
    await stage.apply("outlier-detection/gateway-errors")
    stage.instances["ratings-a"].failing(500)
    stage.instances["ratings-b"].failing(503)
    for _ in range(15):
        await stage.ratings()
    await until_ejected(stage, "ratings-b")
    await asyncio.sleep(0.25)
    assert await ejected(stage) == {"ratings-b"}


async def test_local_origin_failures(stage):
    """An endpoint that takes no connections is ejected, one with bad answers is not."""
    await stage.apply("outlier-detection/local-origin-failures")
    stage.instances["ratings-a"].failing(503)
    await stage.instances["ratings-b"].stop()
    try:
        for _ in range(15):
            await stage.ratings()
        await until_ejected(stage, "ratings-b")
        await asyncio.sleep(0.25)
        assert await ejected(stage) == {"ratings-b"}
    finally:
        await stage.instances["ratings-b"].start()


@pytest.mark.parametrize(("limit", "out"), [(1, {"ratings-b"}), (2, set())])
async def test_a_connection_that_was_made_ends_a_row_of_failures(stage, limit, out):
    """Broken connections eject where one is enough; where two are, each connection that is made begins the row anew."""
    await stage.apply("outlier-detection/local-origin-failures", {"Failures: 2": f"Failures: {limit}"})

    async def broken(_):
        return Reply(reset=True)

    stage.instances["ratings-b"].behave = broken
    for _ in range(15):
        await stage.ratings()
    await asyncio.sleep(0.25)
    assert await ejected(stage) == out


async def test_failure_percentage(stage):
    """Two of three requests fail at one endpoint, never three in a row, and it is ejected at the interval's end."""
    await stage.apply("outlier-detection/failure-percentage")
    count = [0]

    async def often(_):
        count[0] += 1
        return Reply(200 if count[0] % 3 == 0 else 500)

    stage.instances["ratings-a"].behave = often

    async def so():
        await stage.many(180, lambda _: stage.ratings())
        return await ejected(stage) == {"ratings-a"}

    await stage.until(so, 8, "ratings-a ejected")


async def test_success_rate(stage):
    """An endpoint whose success rate is far below that of the others is ejected."""
    await stage.apply("outlier-detection/success-rate")
    count = [0]

    async def often(_):
        count[0] += 1
        return Reply(500 if count[0] % 2 else 200)

    stage.instances["ratings-a"].behave = often

    async def so():
        await stage.many(360, lambda _: stage.ratings())
        return await ejected(stage) == {"ratings-a"}

    await stage.until(so, 10, "ratings-a ejected")
