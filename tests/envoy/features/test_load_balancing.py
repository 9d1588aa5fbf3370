"""Which endpoint gets a request."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from tests.envoy import manifests

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLUSTER = "out/shop/reviews/80"


async def instances(stage, count, **more):
    """How many of `count` requests one after the other each instance of reviews answered."""
    return Counter([(await stage.reviews(**more)).instance for _ in range(count)])


async def test_round_robin(stage):
    """Four endpoints in turn: each gets exactly its quarter."""
    await stage.apply("load-balancer/round-robin")
    assert set((await instances(stage, 40)).values()) == {10}


async def test_random(stage):
    """Each endpoint gets about a quarter, and not exactly in turn."""
    await stage.apply("load-balancer/random")
    answers = [(await stage.reviews()).instance for _ in range(200)]
    assert all(25 <= count <= 80 for count in Counter(answers).values())
    assert any(before == after for before, after in pairwise(answers))


async def test_least_request(stage):
    """Endpoints that are busy get next to nothing while others are idle."""
    await stage.apply("load-balancer/least-request")
    busy = [stage.instances["reviews-v1-a"], stage.instances["reviews-v1-b"]]
    for instance in busy:
        instance.slow(2)
    waiting = []
    while not all(instance.seen for instance in busy):
        waiting.append(asyncio.create_task(stage.reviews()))
        await asyncio.sleep(0.005)
    for instance in busy:
        instance.reset()
    # Both have an active request. Picks of four from four miss both idle ones with a chance of 1/16 only.
    answered = await instances(stage, 40)
    assert answered["reviews-v2-a"] + answered["reviews-v2-b"] >= 30
    await asyncio.gather(*waiting)


async def test_ring_hash_by_header(stage):
    """The same user always gets the same endpoint, users are spread over all, and without the header there is no hash."""
    await stage.apply("load-balancer/ring-hash-header")
    found = {}
    for user in range(40):
        counted = await instances(stage, 3, headers={"x-user": f"user-{user}"})
        assert len(counted) == 1
        found[user] = next(iter(counted))
    assert len(set(found.values())) == 4
    assert len(await instances(stage, 40)) > 1
    config = (await stage.cluster(CLUSTER))["ring_hash_lb_config"]
    assert (config["minimum_ring_size"], config["maximum_ring_size"]) == ("1024", "4096")
    assert await stage.envoy.stat(f"cluster.{CLUSTER}.ring_hash_lb.size") in range(1024, 4097)


async def test_ring_hash_by_cookie(stage):
    """A client without the cookie is given one with the path and time that the policy says, and keeps its endpoint."""
    await stage.apply("load-balancer/ring-hash-cookie")
    seen = set()
    for _ in range(8):
        first = await stage.reviews()
        cookie, *attributes = first.headers["set-cookie"].split("; ")
        assert cookie.startswith("shop-affinity=")
        assert {"Max-Age=3600", "Path=/cart"} <= set(attributes)
        again = await instances(stage, 5, headers={"cookie": cookie})
        assert set(again) == {first.instance}
        assert "set-cookie" not in (await stage.reviews(headers={"cookie": cookie})).headers
        seen.add(first.instance)
    assert len(seen) > 1


async def test_maglev_by_source_address(stage):
    """Clients of one address share an endpoint, and those of others have others."""
    await stage.apply("load-balancer/maglev-source-ip")
    found = set()
    for host in range(101, 113):
        counted = await instances(stage, 4, source=stage.address(host))
        assert len(counted) == 1
        found.update(counted)
    assert len(found) > 1
    assert (await stage.cluster(CLUSTER))["maglev_lb_config"]["table_size"] == "5003"


async def test_maglev_by_query_behind_a_terminal_header(stage):
    """The parameter decides where there is no header; where there is one, the parameter does not count."""
    await stage.apply("load-balancer/maglev-query")
    books = {book: await instances(stage, 3, path=f"/?book={book}") for book in range(12)}
    assert all(len(counted) == 1 for counted in books.values())
    assert len({next(iter(counted)) for counted in books.values()}) > 1
    of_a_user = Counter()
    for book in range(12):
        of_a_user += await instances(stage, 1, path=f"/?book={book}", headers={"x-user": "ann"})
    assert len(of_a_user) == 1


async def test_slow_start(stage):
    """An endpoint that is new gets far less than its quarter at first.

    The window lasts 30 s, so its end is not waited for; it and the aggression are seen in Envoy's configuration.
    """
    selector = {"selector: {app: reviews}": "selector: {app: ratings}"}
    await stage.apply("load-balancer/slow-start", selector)
    config = (await stage.cluster(CLUSTER))["round_robin_lb_config"]["slow_start_config"]
    assert (config["slow_start_window"], config["aggression"]["default_value"]) == ("30s", 2.5)
    await asyncio.sleep(1)  # the endpoints that were there from the start are new for a while too
    newcomer = stage.pod("audit")
    newcomer["metadata"].update(name="newcomer", labels={"app": "ratings"})
    await stage.apply("load-balancer/slow-start", selector, more=[newcomer])
    counted = await instances(stage, 120)
    assert counted["audit"] <= 20  # of four 30 would be its share


async def test_panic_threshold(stage):
    """With two of three endpoints ejected the third gets everything; with all ejected nobody gets anything.

    Without the policy's 0 Envoy would ask ejected endpoints too, as less than half are healthy.
    """
    await stage.apply("load-balancer/panic-threshold")
    ratings = stage.of("ratings")
    for instance in ratings[:2]:
        instance.failing(503)

    async def ejected(count):
        hosts = await stage.envoy.hosts("out/shop/ratings/80")
        return sum(host.ejected for host in hosts.values()) == count

    for _ in range(9):
        await stage.ratings()
    await stage.until(lambda: ejected(2), what="two ejected")
    await only(stage, ratings[2].name)
    ratings[2].failing(503)
    await stage.ratings()
    await stage.until(lambda: ejected(3), what="three ejected")

    async def refused():
        return (await stage.ratings()).body == b"no healthy upstream"

    await stage.until(refused, what="no healthy upstream")
    asked = [len(instance.seen) for instance in ratings]
    assert {(await stage.ratings()).status for _ in range(12)} == {503}
    assert [len(instance.seen) for instance in ratings] == asked


# -- localities: the client runs on node-a, in zone eu-1a


async def only(stage, name):
    """Return when one instance of ratings gets everything: Envoy hands changes of health to its workers once a second."""

    async def so():
        return set(await zones(stage, 12)) == {name}

    await stage.until(so, what=f"all to {name}")


async def zones(stage, count):
    return Counter([(await stage.ratings()).instance for _ in range(count)])


async def test_locality_failover(stage):
    """The own zone has everything; as its endpoint fails, the own region does, then the rest of the world."""
    await stage.apply("locality/failover")
    near, region, far = stage.of("ratings")
    assert set(await zones(stage, 20)) == {near.name}
    for failing, next_one in ((near, region), (region, far)):
        failing.failing(503)
        await stage.ratings()
        await only(stage, next_one.name)


async def test_locality_weighted(stage):
    """Zones have shares by the weights of their endpoints: a Workload of weight 6 beside three Pods of weight 1."""
    workload = {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "ratings-vm", "namespace": "shop"},
        "spec": {
            "address": stage.address(41),
            "labels": {"app": "ratings"},
            "locality": {"region": "us", "zone": "us-2"},
            "weight": 6,
        },
    }
    await stage.apply("locality/weighted", more=[workload])
    counted = await zones(stage, 90)
    assert all(8 <= counted[name] <= 12 for name in ("ratings-a", "ratings-b", "ratings-c"))
    assert 57 <= counted["audit"] <= 63


async def test_locality_none(stage):
    """Zones do not count, where without the policy the Service's preference keeps requests in the zone."""
    await stage.apply("locality/none")
    assert set((await zones(stage, 30)).values()) == {10}
    service = manifests.service("ratings", (80, 8080), selector={"app": "ratings"}, trafficDistribution="PreferClose")
    await stage.serve("", service)
    assert set(await zones(stage, 20)) == {"ratings-a"}


# -- subsets


async def test_subsets_own_settings(stage):
    """The subset hashes by user, takes one request at a time and gives each a connection; the other goes in turn."""
    await stage.apply("subsets/own-settings")
    tester = {"x-tester": "1", "x-user": "ann"}
    kept = await instances(stage, 6, headers=tester)
    assert len(kept) == 1
    instance = stage.instances[next(iter(kept))]
    assert len({each.connection for each in instance.seen}) == 6
    turns = await instances(stage, 20, headers={"x-user": "ann"})
    assert turns == {"reviews-v1-a": 10, "reviews-v1-b": 10}
    for each in stage.of("reviews"):
        each.slow(0.3)
    answers = await asyncio.gather(*(stage.reviews(headers=tester) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 503, 503, 503]
    answers = await asyncio.gather(*(stage.reviews() for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    found = await stage.cluster("out/shop/reviews/80/v2")
    assert found["outlier_detection"]["consecutive_gateway_failure"] == 3
    assert "outlier_detection" not in await stage.cluster("out/shop/reviews/80/v1")
