"""gRPC's own xDS client over the routes of Services and policies: the catalogue's GX-01."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.envoy.manifests import policy, route, service
from tests.protocol.proxyless import METHOD, PORT, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = ((80, PORT, "grpc"),)
SUBSETS = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
V1, V2 = {"subset": "v1"}, {"subset": "v2"}
BACK_OFF = {"attempts": 2, "retryOn": ["unavailable"], "backoff": "25ms"}


def matched(**match):
    """A route of what matches to v2."""
    return route(V2, name="matched", matches=[match])


def header(name, value, type="Exact", **rest):
    """A match of a header."""
    return {"headers": [{"name": name, "value": value, "type": type, **rest}]}


POLICIES = {
    "maglev": {"loadBalancer": {"type": "Maglev", "hash": [{"header": "x-user"}]}},
    "ring": {"loadBalancer": {"type": "RingHash", "hash": [{"header": "x-user"}], "ringSize": {"min": 64, "max": 128}}},
    "least": {"loadBalancer": {"type": "LeastRequest"}},
    "random": {"loadBalancer": {"type": "Random"}},
    "exact": {"subsets": SUBSETS, "routes": [matched(**header("x-tester", "yes")), route(V1)]},
    "regex": {
        "subsets": SUBSETS,
        "routes": [matched(**header("x-tester", "y.*s|on", "RegularExpression")), route(V1)],
    },
    "method": {
        "subsets": SUBSETS,
        "routes": [matched(grpc={"service": "shop.v1.Cart", "method": "Checkout"}), route(V1)],
    },
    "package": {"subsets": SUBSETS, "routes": [matched(grpc={"service": "shop.v1.Order"}), route(V1)]},
    "path": {
        "subsets": SUBSETS,
        "routes": [matched(path={"type": "RegularExpression", "value": "/shop[.]v[0-9]+[.]Order/.*"}), route(V1)],
    },
    "weights": {"subsets": SUBSETS, "routes": [route({**V1, "weight": 3}, {**V2, "weight": 1})]},
    "nought": {"subsets": SUBSETS, "routes": [route({**V1, "weight": 0}, {**V2, "weight": 1})]},
    "answered": {"routes": [{"name": "all", "directResponse": {"status": 200, "body": "hello"}}]},
    "abort": {"routes": [{"name": "all", "fault": {"abort": {"grpcStatus": 8, "percent": 100}}}]},
    "slow": {"routes": [{"name": "all", "timeouts": {"request": "100ms"}}]},
    "retried": {"routes": [{"name": "all", "retry": BACK_OFF}]},
    "limits": {
        "circuitBreaker": {"maxConnections": 3, "maxPendingRequests": 2, "maxRequests": 5, "maxRetries": 1},
        "outlierDetection": {"consecutive5xx": 3, "failurePercentageThreshold": 90},
    },
    "rewritten": {
        "routes": [
            {
                "name": "all",
                "requestHeaders": {"set": [{"name": "x-added", "value": "1"}]},
                "mirrors": [{"name": "plain", "percent": 100}],
            }
        ]
    },
}
"""By service: the spec of its policy beside its target."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory):
    """Services of every policy, all with the same two servers, v1 and v2."""
    async with world(tmp_path_factory.mktemp("routes")) as made:
        names = ["plain", *POLICIES]
        made.put("pods", made.pod("v1", 21, "app", version="v1"), made.pod("v2", 22, "app", version="v2"))
        made.put("services", *(service(name, *PORTS, selector={"app": "app"}) for name in names))
        made.put("policies", *(policy(name, name, **spec) for name, spec in POLICIES.items()))
        other = made.pod("v3", 23, "app", namespace="other")
        made.put("other", other, service("far", *PORTS, selector={"app": "app"}, namespace="other"))
        made.put("tcp", service("bytes", (80, PORT, "tcp"), (81, PORT, "grpc"), selector={"app": "app"}))
        for number, name in enumerate(("v1", "v2", "v3")):
            await made.backend(name, 21 + number)
        await made.start()
        assert [each["message"] for each in await made.control_plane.problems()] == []
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(shop):
    """A client in namespace shop."""
    return await shop.client()


@pytest.mark.parametrize("name", ["plain", "plain.shop", "plain.shop.svc", "plain.shop.svc.cluster.local"])
async def test_gx_01_every_name_of_a_service(client, name):
    """A Service is reached by all its names, and all its servers answer."""
    assert set(await client.spread(f"{name}:80", 20)) == {"v1", "v2"}


async def test_gx_01_names_of_other_namespaces(client):
    """A Service of another namespace is reached by its names with the namespace."""
    for name in ("far.other:80", "far.other.svc.cluster.local:80"):
        assert await client.one(name) == "v3"


@pytest.mark.slow
async def test_gx_01_what_is_no_service(client):
    """What is no HTTP port of a Service fails as UNAVAILABLE, once gRPC has waited its 15 s for the listener.

    gRPC does not believe a response without a listener that it asked for just before: it may be an earlier answer.
    """
    targets = ["nobody:80", "plain:81", "plain.other:80", "bytes:80", "plain.shop.example:80", "far:80"]
    outcomes = await client.together(*targets)
    assert {name: outcome["code"] for name, outcome in outcomes.items()} == dict.fromkeys(targets, "UNAVAILABLE")
    assert await client.one("plain:80") in {"v1", "v2"}


@pytest.mark.parametrize("name", ["maglev", "ring"])
async def test_gx_01_consistent_hash(client, name):
    """A client that is asked for MAGLEV hashes by a ring: equal headers come to the same server, others to others."""
    users = {user: set(await client.spread(f"{name}:80", 5, metadata={"x-user": user})) for user in map(str, range(12))}
    assert all(len(servers) == 1 for servers in users.values()), users
    assert set.union(*users.values()) == {"v1", "v2"}


@pytest.mark.parametrize("name", ["least", "random", "limits", "rewritten"])
async def test_gx_01_policies_without_words_in_grpc(client, name):
    """What gRPC cannot do is left away: RPCs go to all servers."""
    assert set(await client.spread(f"{name}:80", 20)) == {"v1", "v2"}


@pytest.mark.parametrize(
    ("name", "path", "metadata"),
    [
        ("exact", METHOD, {"x-tester": "yes"}),
        ("regex", METHOD, {"x-tester": "yes"}),
        ("regex", METHOD, {"x-tester": "on"}),
        ("method", "/shop.v1.Cart/Checkout", {}),
        ("package", "/shop.v1.Order/Add", {}),
        ("path", "/shop.v2.Order/Add", {}),
    ],
)
async def test_gx_01_matches(client, name, path, metadata):
    """What a route matches goes to its backend, all else to the next route's."""
    assert await client.spread(f"{name}:80", 4, path=path, metadata=metadata) == {"v2": 4}
    assert await client.spread(f"{name}:80", 4, metadata={"x-tester": "no"}) == {"v1": 4}
    assert await client.spread(f"{name}:80", 4, path="/shop.v1.Ordering/Add") == {"v1": 4}


async def test_gx_01_weights(client):
    """RPCs are shared out by weight; a backend of weight nought gets none."""
    spread = await client.spread("weights:80", 400)
    assert spread.total() == spread["v1"] + spread["v2"] == 400
    assert 50 < spread["v2"] < 150, spread  # 100 ± 8.7: beyond five sigma
    assert await client.spread("nought:80", 10) == {"v2": 10}


@pytest.mark.parametrize(("name", "code"), [("answered", "UNAVAILABLE"), ("abort", "RESOURCE_EXHAUSTED")])
async def test_gx_01_routes_to_nowhere(client, name, code):
    """A route without a backend fails as UNAVAILABLE; an injected fault with the code that it names."""
    (outcome,) = await client.call(f"{name}:80")
    assert (outcome["code"], outcome["seconds"] < 2) == (code, True), outcome


async def test_gx_01_timeout(shop, client):
    """A route's timeout ends an RPC that the client would have waited for."""
    for name in ("v1", "v2"):
        shop.backends[name].delay = 1.0
    try:
        (outcome,) = await client.call("slow:80", timeout=5.0)
    finally:
        for name in ("v1", "v2"):
            shop.backends[name].delay = 0.0
    assert outcome["code"] == "DEADLINE_EXCEEDED"
    assert outcome["seconds"] < 0.9


async def test_gx_01_retry(shop, client):
    """A route's retries hide a server that fails, up to their number."""
    import grpc

    shop.backends["v1"].code = grpc.StatusCode.UNAVAILABLE
    try:
        plain, retried = await client.spread("plain:80", 10), await client.spread("retried:80", 10)
    finally:
        shop.backends["v1"].code = None
    assert plain == {"v2": 5, "UNAVAILABLE": 5}
    assert retried == {"v2": 10}


async def test_gx_01_second_port(client):
    """The gRPC port of a Service that has a TCP port too is reached by its number."""
    assert set(await client.spread("bytes.shop:81", 10)) == {"v1", "v2"}


async def test_gx_01_nothing_is_refused(shop, client):
    """The client acknowledges everything: it is in sync, and the metrics count no refusal."""
    await shop.settled()
    synced = await shop.control_plane.syncz()
    assert {kind: sync["status"] for kind, sync in synced["shop/client"].items()} == dict.fromkeys(
        ("cds", "eds", "lds", "rds"), "SYNCED"
    )
    assert await shop.refused() == {}
