"""Which requests a route takes."""

from __future__ import annotations

from collections import Counter

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def versions(stage, *requests):
    """The versions that answer requests to reviews, each a path or keyword arguments."""
    return [
        (await stage.reviews(**(request if isinstance(request, dict) else {"path": request}))).version
        for request in requests
    ]


async def test_path_exact(stage):
    """The exact path goes to v2, with any query; a longer path does not."""
    await stage.apply("routes/path-exact")
    assert await versions(stage, "/health", "/health?a=1") == ["v2", "v2"]
    assert await versions(stage, "/health/", "/healthy", "/HEALTH", "/") == ["v1"] * 4


async def test_path_prefix(stage):
    """A prefix is of whole path elements."""
    await stage.apply("routes/path-prefix")
    assert await versions(stage, "/api", "/api/", "/api/books?x=/", "/api?q=1") == ["v2"] * 4
    assert await versions(stage, "/apiary", "/", "/v1/api") == ["v1"] * 3


async def test_path_regular_expression(stage):
    """The expression must match the whole path, without the query."""
    await stage.apply("routes/path-regular-expression")
    assert await versions(stage, "/books/7/reviews", "/books/42/reviews?page=2") == ["v2"] * 2
    assert await versions(stage, "/books/x/reviews", "/books/7/reviews/1", "/a/books/7/reviews") == ["v1"] * 3


async def test_headers(stage):
    """Each kind of comparison finds its header, whatever the case of the name; an inverted one holds without it."""
    await stage.apply("routes/headers")
    taken = [
        {"X-Tester": "yes"},
        {"x-canary": ""},
        {"user-agent": "shop-app/3", "accept-language": "de-AT"},
        {"x-account": "ann@shop.example"},
        {"x-beta": "1", "x-client": "browser"},
        {"x-beta": "1"},
    ]
    left = [
        {"x-tester": "Yes"},
        {"user-agent": "shop-app/3"},
        {"user-agent": "shop-app/3", "accept-language": "den"},
        {"x-account": "ann@shop.example.net"},
        {"x-beta": "1", "x-client": "bot-7"},
        {"x-client": "browser"},
        {},
    ]
    assert await versions(stage, *({"headers": headers} for headers in taken)) == ["v2"] * len(taken)
    assert await versions(stage, *({"headers": headers} for headers in left)) == ["v1"] * len(left)


async def test_query_parameters(stage):
    """Parameters are found by name and value; all of one match must hold."""
    await stage.apply("routes/query-parameters")
    assert await versions(stage, "/?version=2", "/a?x=1&preview", "/?page=12&sort=by-date") == ["v2"] * 3
    assert await versions(stage, "/?version=22", "/?Version=2", "/?page=12", "/?page=x&sort=by-date", "/") == ["v1"] * 5


async def test_method(stage):
    """Writes and reads go to different versions."""
    await stage.apply("routes/method")
    assert await versions(stage, *({"method": method} for method in ("POST", "PUT", "DELETE"))) == ["v2"] * 3
    assert await versions(stage, *({"method": method} for method in ("GET", "PATCH", "OPTIONS"))) == ["v1"] * 3


async def test_first_match(stage):
    """All parts of a match must hold, the first route that matches counts, and the rest goes to the Service itself."""
    await stage.apply("routes/first-match")
    draft = {"path": "/reviews/new?book=7", "method": "POST", "headers": {"x-draft": "true"}}
    assert await versions(stage, draft) == ["v2"]
    for lacking in ({"path": "/reviews/new"}, {"method": "GET"}, {"headers": {}}):
        assert await versions(stage, {**draft, **lacking}) == ["v1"]
    assert set(await versions(stage, *["/elsewhere"] * 60)) == {"v1", "v2"}


async def test_weights(stage):
    """Of 1,000 requests a tenth goes to v2: between 65 and 135, which chance leaves once in 5,000 runs."""
    await stage.apply("routes/weights")
    answers = await stage.many(1000, lambda _: stage.reviews())
    counted = Counter(answer.version for answer in answers)
    assert counted["v1"] + counted["v2"] == 1000
    assert 65 <= counted["v2"] <= 135


async def test_other_service(stage):
    """A backend of another namespace and port takes the requests of its route only."""
    await stage.apply("routes/other-service", more=[stage.pod("ratings-a", "scores")])
    assert (await stage.reviews("/stars/7")).instance.startswith("ratings-")
    assert (await stage.reviews("/")).instance.startswith("reviews-")


async def test_port(stage):
    """A policy that names a port counts for that port."""
    await stage.apply("routes/port")
    refused = await stage.ask("reviews.shop:8081")
    assert (refused.status, refused.body) == (403, b"not from here\n")
    assert (await stage.ask("reviews.shop:80")).status == 200
    assert (await stage.reviews()).status == 200
