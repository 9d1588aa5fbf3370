"""What a route does to a request and its answer besides sending it."""

from __future__ import annotations

import asyncio

import pytest

from tests.envoy.features.instance import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")


def values(answer, name):
    """The values of a header as the application saw them, each line apart."""
    pairs = (line.partition(":") for line in answer.json["lines"])
    return [value.strip() for found, _, value in pairs if found.lower() == name]


async def test_request_headers(stage):
    """The application sees headers removed, replaced and added, and a percent sign as it was written."""
    await stage.apply("headers/request")
    sent = {"x-internal-token": "secret", "x-discount": "90", "x-tag": "mine"}
    answer = await stage.reviews(headers=sent)
    assert values(answer, "x-internal-token") == []
    assert values(answer, "x-discount") == ["10%"]
    assert values(answer, "x-tag") == ["mine", "mesh"]


async def test_response_headers(stage):
    """The client sees headers removed, replaced and added."""
    await stage.apply("headers/response")

    async def behave(_):
        return Reply(headers=[("x-powered-by", "python"), ("cache-control", "public"), ("vary", "cookie")])

    for instance in stage.of("reviews"):
        instance.behave = behave
    headers = (await stage.reviews()).headers
    assert "x-powered-by" not in headers
    assert headers.getall("cache-control") == ["no-store"]
    assert headers.getall("vary") == ["cookie,accept-language"]  # Envoy writes such lists on one line


async def test_backend_headers(stage):
    """Edits of a backend are done for that backend only, after those of the route."""
    await stage.apply("headers/backend")

    async def behave(_):
        return Reply(headers=[("x-powered-by", "python"), ("x-served-by", "app"), ("vary", "cookie")])

    for instance in stage.of("reviews"):
        instance.behave = behave
    seen = set()
    for _ in range(60):
        answer = await stage.reviews(headers={"x-legacy": "1", "x-tag": "one"})
        canary = answer.version == "v2"
        seen.add(canary)
        assert values(answer, "x-track") == (["canary"] if canary else ["stable"])
        assert values(answer, "x-legacy") == ([] if canary else ["1"])
        assert values(answer, "x-tag") == (["one", "two"] if canary else ["one"])
        assert answer.headers.getall("x-served-by") == (["canary"] if canary else ["app"])
        assert answer.headers["vary"] == ("cookie,x-track" if canary else "cookie")
        assert ("x-powered-by" in answer.headers) != canary
    assert seen == {True, False}


async def test_rewrite_prefix(stage):
    """The application sees the path without the matched prefix, and the query; other paths stay."""
    await stage.apply("rewrite/prefix")
    paths = {
        "/api/v1/books?a=1": "/books?a=1",
        "/api/v1": "/",
        "/api/v1/": "/",
        "/api/v10/books": "/api/v10/books",
    }
    for sent, seen in paths.items():
        assert (await stage.reviews(sent)).json["path"] == seen


async def test_rewrite_full_path(stage):
    """The application sees another path, and the same query."""
    await stage.apply("rewrite/full-path")
    assert (await stage.reviews("/old?page=2")).json["path"] == "/new/page?page=2"
    assert (await stage.reviews("/old/er")).json["path"] == "/old/er"


async def test_rewrite_regular_expression(stage):
    """Groups of the expression stand in the new path; a path that it does not match stays."""
    await stage.apply("rewrite/regular-expression")
    assert (await stage.reviews("/book/7/review?x=1")).json["path"] == "/review/of/7?x=1"
    assert (await stage.reviews("/book/x/review")).json["path"] == "/book/x/review"


async def test_rewrite_hostname(stage):
    """The application sees another host."""
    await stage.apply("rewrite/hostname")
    assert values(await stage.reviews(), "host") == ["reviews.shop.example"]


async def test_redirect_prefix(stage):
    """The client is sent to the new path on the same host, with its query."""
    await stage.apply("redirect/prefix")
    answer = await stage.reviews("/2023/best?n=3")
    assert (answer.status, answer.headers["location"]) == (301, "http://reviews.shop/archive/2023/best?n=3")
    assert (await stage.reviews("/20234")).status == 200


async def test_redirect_full_path(stage):
    """Scheme, host, port and path are replaced; the status is 302."""
    await stage.apply("redirect/full-path")
    answer = await stage.reviews("/help/me")
    assert (answer.status, answer.headers["location"]) == (302, "https://help.shop.example:8443/reviews")


async def test_direct_response(stage):
    """The proxy answers, and no application sees the request."""
    await stage.apply("direct-response/maintenance")
    answer = await stage.reviews()
    assert (answer.status, answer.body) == (503, b"back at noon\n")
    assert not any(instance.seen for instance in stage.of("reviews"))


async def test_fault_delay(stage):
    """About half of the requests take 300 ms longer: between 60 and 140 of 200, which chance hardly ever leaves."""
    await stage.apply("fault/delay")
    answers = await stage.many(200, lambda _: stage.reviews(), 50)
    assert {answer.status for answer in answers} == {200}
    assert 60 <= sum(answer.seconds >= 0.29 for answer in answers) <= 140


async def test_fault_abort(stage):
    """About a quarter of the requests fails, and those are never sent."""
    await stage.apply("fault/abort")
    answers = await stage.many(400, lambda _: stage.reviews())
    failed = sum(answer.status == 503 for answer in answers)
    assert 60 <= failed <= 145
    assert sum(len(instance.seen) for instance in stage.of("reviews")) == 400 - failed


async def test_mirror_to_other_service(stage):
    """Each request arrives at the mirror too, with its host; what the mirror does changes no answer."""
    await stage.apply("mirror/other-service", more=[stage.pod("audit", "security")])
    audit = stage.instances["audit"]
    audit.failing(500)
    answers = [await stage.reviews(f"/{number}") for number in range(20)]
    assert {answer.status for answer in answers} == {200}

    async def copied():
        return len(audit.seen) == 20

    await stage.until(copied, what="20 copies")
    assert {each.request.path for each in audit.seen} == {f"/{number}" for number in range(20)}
    assert {each.request.headers["host"] for each in audit.seen} == {"reviews.shop"}


async def test_mirror_to_subset(stage):
    """About half of the requests are copied to v2, and all answers are v1's."""
    await stage.apply("mirror/subset")
    answers = await stage.many(200, lambda _: stage.reviews())
    assert {answer.version for answer in answers} == {"v1"}
    await asyncio.sleep(0.1)  # copies have no answer to wait for
    copies = sum(len(stage.instances[name].seen) for name in ("reviews-v2-a", "reviews-v2-b"))
    assert 60 <= copies <= 140


async def preflight(stage, origin, method="PUT"):
    headers = {"origin": origin, "access-control-request-method": method}
    return await stage.reviews(method="OPTIONS", headers=headers)


async def test_cors(stage):
    """Preflights of allowed origins are answered by the proxy, answers are marked for them, and for no others."""
    await stage.apply("cors/browser")
    for origin in ("https://shop.example", "https://a.partner.example"):
        headers = (await preflight(stage, origin)).headers
        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-methods"] == "GET,PUT"
        assert headers["access-control-allow-headers"] == "content-type,x-token"
        assert headers["access-control-max-age"] == "600"
        assert headers["access-control-allow-credentials"] == "true"
    assert not any(instance.seen for instance in stage.of("reviews"))
    headers = (await stage.reviews(headers={"origin": "https://shop.example"})).headers
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert headers["access-control-expose-headers"] == "x-total"
    for origin in ("https://shop.example.net", "https://partner.example", "http://shop.example"):
        assert "access-control-allow-origin" not in (await preflight(stage, origin)).headers
        assert "access-control-allow-origin" not in (await stage.reviews(headers={"origin": origin})).headers
