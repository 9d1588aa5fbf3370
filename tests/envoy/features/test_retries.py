"""Timeouts and retries, as clients and applications feel them."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.envoy.features.instance import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")


def all_seen(stage):
    """What arrived at any instance of reviews, in the order of arrival."""
    return sorted((each for instance in stage.of("reviews") for each in instance.seen), key=lambda each: each.at)


async def test_request_timeout(stage):
    """A request that takes too long is answered with 504 after half a second."""
    await stage.apply("timeouts/request")
    for instance in stage.of("reviews"):
        instance.slow(2)
    answer = await stage.reviews()
    assert answer.status == 504
    assert 0.48 <= answer.seconds < 0.9


async def test_per_try_timeout(stage):
    """A try that takes too long is given up after 200 ms and another endpoint is asked; all together end after 1 s."""
    await stage.apply("timeouts/per-try")
    stage.instances["reviews-v1-a"].slow(3)
    for _ in range(12):
        answer = await stage.reviews()
        assert answer.status == 200
        assert answer.instance != "reviews-v1-a"
    for instance in stage.of("reviews"):
        instance.reset()
        instance.slow(3)
    answer = await stage.reviews()
    assert answer.status == 504
    assert 0.75 <= answer.seconds < 1.3
    tries = all_seen(stage)
    assert len(tries) == 4
    assert all(0.19 <= after.at - before.at < 0.5 for before, after in pairwise(tries))


async def test_idle_timeout(stage):
    """A stream on which nothing moves for half a second is ended, one that moves is not."""
    await stage.apply("timeouts/idle")
    for instance in stage.of("reviews"):
        instance.slow(0.3)
    assert (await stage.reviews()).status == 200
    for instance in stage.of("reviews"):
        instance.slow(2)
    answer = await stage.reviews()
    assert answer.status == 504
    assert 0.48 <= answer.seconds < 0.9


async def test_retry_conditions(stage):
    """502 to 504 and broken connections are tried again, other errors are not, and neither is POST."""
    await stage.apply("retry/conditions")
    for status, tries in ((503, 4), (502, 4), (504, 4), (500, 1), (404, 1)):
        for instance in stage.of("reviews"):
            instance.reset()
            instance.failing(status)
        assert (await stage.reviews()).status == status
        assert len(all_seen(stage)) == tries

    async def broken(_):
        return Reply(reset=True)

    for instance in stage.of("reviews"):
        instance.reset()
        instance.behave = broken
    assert (await stage.reviews()).status == 503
    assert len(all_seen(stage)) == 4
    for instance in stage.of("reviews"):
        instance.reset()
        instance.failing(503)
    assert (await stage.reviews(method="POST")).status == 503
    assert len(all_seen(stage)) == 1


async def test_retry_finds_another_endpoint(stage):
    """A retry goes to an endpoint that was not asked, so one that fails is never seen by the client."""
    await stage.apply("retry/conditions")
    stage.instances["reviews-v1-a"].failing(503)
    answers = await stage.many(60, lambda _: stage.reviews())
    assert {answer.status for answer in answers} == {200}
    assert stage.instances["reviews-v1-a"].seen


async def test_retry_codes(stage):
    """A status that is named is tried again, up to two times; another one is not."""
    await stage.apply("retry/codes")
    for status, tries in ((409, 3), (503, 1)):
        for instance in stage.of("reviews"):
            instance.reset()
            instance.failing(status)
        assert (await stage.reviews()).status == status
        assert len(all_seen(stage)) == tries


async def test_retry_back_off(stage):
    """Pauses are random below 100, 300, 400, 400 and 400 ms; so that all five are almost none never happens."""
    await stage.apply("retry/back-off")
    for instance in stage.of("reviews"):
        instance.failing(503)
    answers = await asyncio.gather(*(stage.reviews(f"/{number}") for number in range(8)))
    assert {answer.status for answer in answers} == {503}
    pauses = []
    for number in range(8):
        tries = [each.at for each in all_seen(stage) if each.request.path == f"/{number}"]
        assert len(tries) == 6
        pauses.append([after - before for before, after in pairwise(tries)])
    bounds = (0.1, 0.3, 0.4, 0.4, 0.4)
    assert all(pause < bound + 0.15 for each in pauses for pause, bound in zip(each, bounds, strict=True))
    assert sum(map(sum, pauses)) / 8 > 0.4  # 800 ms are expected
    assert max(max(each) for each in pauses) > 0.2


async def test_retry_budget(stage):
    """With 20 requests that all fail at once, few retries run at a time: 20 percent of the active requests, or 2."""
    await stage.apply("retry/budget")
    for instance in stage.of("reviews"):
        instance.failing(503)
    before = await stage.envoy.stat("cluster.out/shop/reviews/80.upstream_rq_retry_overflow")
    answers = await asyncio.gather(*(stage.reviews() for _ in range(20)))
    assert {answer.status for answer in answers} == {503}
    tries = len(all_seen(stage))
    assert 20 < tries <= 20 + 4 * 3  # 60 retries without a budget
    assert await stage.envoy.stat("cluster.out/shop/reviews/80.upstream_rq_retry_overflow") - before >= 10
