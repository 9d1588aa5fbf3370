"""Virtual hosts and route tables: what a real Envoy does with them, and the fields that decide."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.translators.decoding import decoded, parsed
from tests.unit.translators.envoy_validation import ask, echo_server, refusal, running, with_routes
from xdscp.mesh.destination import Destination, Endpoint, Hash
from xdscp.mesh.routing import (
    Backend,
    Cors,
    DirectResponse,
    Fault,
    Forward,
    HeaderEdits,
    Mirror,
    PathMatch,
    Redirect,
    RequestMatch,
    Retry,
    Rewrite,
    Route,
    ValueMatch,
    VirtualHost,
)
from xdscp.translators import cds, rds
from xdscp.translators.encode import encode
from xdscp.translators.headers import merged

SECOND = timedelta(seconds=1)


def prefix(path):
    return PathMatch("PathPrefix", path)


def forward(**fields):
    return Forward((Backend("app"),), **fields)


def route(path, action, **fields):
    """A route by path (a prefix when given as text); other parts of its match are `match`."""
    where = prefix(path) if isinstance(path, str) else path
    return Route("route", (RequestMatch(where, **fields.pop("match", {})),), action, **fields)


def host(*routes, domains=("reviews",)):
    return VirtualHost("out/80/shop.reviews", domains, routes)


def only(*routes):
    """The decoded routes of a virtual host."""
    return decoded(rds.virtual_host(host(*routes)))["routes"]


LIVE = host(
    route("/root", forward(rewrite=Rewrite(path_prefix="/"))),
    route("/empty", forward(rewrite=Rewrite(path_prefix=""))),
    route("/slash/", forward(rewrite=Rewrite(path_prefix="/xyz/"))),
    route(PathMatch("Exact", "/exact"), forward(rewrite=Rewrite(path_prefix="/new"))),
    route("/full", forward(rewrite=Rewrite(path_full="/100%/\\1"))),
    route("/regex", forward(rewrite=Rewrite(host="100%h", path_regex="^/regex/([a-z]+)", path_substitution="/re/\\1"))),
    route(PathMatch("RegularExpression", "/re[0-9]+"), DirectResponse(204)),
    route("/redirect", Redirect(path_prefix="/")),
    route("/moved", Redirect(path_full="/x%y", host="h", port=8443, scheme="https", code=308)),
    route("/teapot", DirectResponse(418, "100%REQ(:path)% " + "x" * 10_000)),
    route("/unless", forward(), match={"headers": (ValueMatch("x-a", "Exact", "1", invert=True),)}),
    route("/unless", DirectResponse(401)),
    route("/query", forward(), match={"query": (ValueMatch("a", "Exact", "1"), ValueMatch("b", "Present"))}),
    route("/query", forward(), match={"query": (ValueMatch("a", "Present", invert=True),)}),
    route("/query", DirectResponse(402)),
    route("/grpc", DirectResponse(200), match={"grpc": True}),
    route("/grpc", DirectResponse(403)),
    Route(
        "edits",
        (RequestMatch(prefix("/edits")),),
        Forward(
            (
                Backend(
                    "app",
                    1,
                    HeaderEdits(set=(("X-Q", "backend %"), ("x-empty", "")), remove=("x-gone",)),
                    HeaderEdits(add=(("x-r", "%ENVIRONMENT(HOME)%"),)),
                ),
            )
        ),
        HeaderEdits(set=(("x-q", "route"), ("x-gone", "1")), add=(("x-s", "a"), ("x-s", "b")), remove=("x-client",)),
        HeaderEdits(set=(("x-t", "t"),), remove=("server",)),
    ),
    Route(
        "cors",
        (RequestMatch(prefix("/cors"), method="GET"),),
        forward(),
        cors=Cors((ValueMatch("", "Suffix", ".shop"),), ("GET", "PUT"), ("x-a",), ("x-b",), 60 * SECOND, True),
        fault=Fault(abort_http=503, abort_percent=100.0),
    ),
    route("/late", forward(), fault=Fault(delay=timedelta(milliseconds=200), delay_percent=100.0)),
    route("/nothing", Forward((Backend("app", 0),))),
    route("/", forward(rewrite=Rewrite(path_prefix="/top"))),
)

REWRITES = {
    "/root": "/",
    "/root/": "/",
    "/root/x": "/x",
    "/root?x=1": "/?x=1",
    "/root//x": "/x",
    "/rootless": "/top/rootless",
    "/empty": "/",
    "/empty/x": "/x",
    "/slash": "/xyz",
    "/slash/": "/xyz/",
    "/slash/c": "/xyz/c",
    "/exact": "/new",
    "/full/1?q": "/100%/\\1?q",
    "/regex/abc/d": "/re/abc/d",
    "/": "/top/",
    "/z": "/top/z",
}


@pytest.fixture(scope="module")
def port():
    """The port of a real Envoy with the routes of LIVE, before an application that echoes."""
    with echo_server() as application:
        app = cds.cluster(Destination("app", "static", "http", endpoints=(Endpoint("127.0.0.1", application),)))
        config = with_routes([rds.virtual_host(LIVE), rds.catch_all(80, "registered")], [app])
        with running(config) as ports:
            yield ports["test"]


@pytest.mark.envoy
@pytest.mark.parametrize("path", sorted(REWRITES))
def test_path_is_rewritten(port, path):
    """Prefixes are replaced by whole path elements, as in Gateway API's table."""
    assert ask(port, path, host="reviews").echoed["path"] == REWRITES[path]


@pytest.mark.envoy
@pytest.mark.parametrize("name", ["reviews", "reviews:80", "REVIEWS:8123"])
def test_host_matches_whatever_its_port(port, name):
    """In a table of a port the host header's own port does not matter."""
    assert ask(port, "/z", host=name).status == 200


@pytest.mark.envoy
def test_unknown_host_is_refused(port):
    """With registered egress a host that no service has gets 502 and a reason."""
    answer = ask(port, "/", host="other")
    assert (answer.status, answer.body) == (502, b"unknown host\n")


@pytest.mark.envoy
@pytest.mark.parametrize(
    ("path", "code", "location"),
    [
        ("/redirect", 302, "http://reviews/"),
        ("/redirect/x?q", 302, "http://reviews/x?q"),
        ("/moved", 308, "https://h:8443/x%y"),
    ],
)
def test_redirect(port, path, code, location):
    """A redirect changes what the policy names and keeps the rest of the request's location."""
    answer = ask(port, path, host="reviews")
    assert (answer.status, answer.headers["location"]) == (code, location)


@pytest.mark.envoy
def test_direct_response_is_literal_and_may_be_long(port):
    """A body longer than Envoy's default limit is served, and its percent signs mean nothing."""
    answer = ask(port, "/teapot", host="reviews")
    assert (answer.status, answer.body) == (418, b"100%REQ(:path)% " + b"x" * 10_000)


@pytest.mark.envoy
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/unless", {}, 200),
        ("/unless", {"x-a": "2"}, 200),
        ("/unless", {"x-a": "1"}, 401),
        ("/query?a=1&b", {}, 200),
        ("/query", {}, 200),
        ("/query?a=1", {}, 402),
        ("/grpc", {"content-type": "application/grpc"}, 200),
        ("/grpc", {}, 403),
        ("/re12", {}, 204),
        ("/re12x", {}, 200),
        ("/nothing", {}, 500),
    ],
)
def test_match(port, path, headers, status):
    """Headers, queries, gRPC and regular expressions match as the model says; negation holds for the missing."""
    assert ask(port, path, host="reviews", **headers).status == status


@pytest.mark.envoy
def test_header_edits(port):
    """Edits happen in order, a backend's after its route's, and values are literal."""
    answer = ask(port, "/edits", host="reviews", x_client="1", x_gone="0")
    sent = answer.echoed["headers"]
    assert sent["x-q"] == "backend %"
    assert sent["x-empty"] == ""
    assert sent["x-s"] in ("a,b", "b")  # the echo shows one of two lines
    assert not {"x-client", "x-gone"} & set(sent)
    assert answer.headers["x-r"] == "%ENVIRONMENT(HOME)%"
    assert answer.headers["x-t"] == "t"


@pytest.mark.envoy
def test_preflight_is_answered_and_fault_is_readable(port):
    """A preflight reaches the rules of a route that names its method, and an injected error carries them."""
    preflight = ask(
        port, "/cors", "OPTIONS", host="reviews", origin="http://a.shop", access_control_request_method="GET"
    )
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-methods"] == "GET,PUT"
    assert preflight.headers["access-control-max-age"] == "60"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    aborted = ask(port, "/cors", host="reviews", origin="http://a.shop")
    assert (aborted.status, aborted.headers["access-control-allow-origin"]) == (503, "http://a.shop")
    foreign = ask(port, "/cors", host="reviews", origin="http://a.other")
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.envoy
def test_delay(port):
    """A delayed request is answered all the same."""
    assert ask(port, "/late", host="reviews").status == 200


EVERYTHING = host(
    Route(
        "everything",
        (
            RequestMatch(
                prefix("/a/b"),
                (
                    ValueMatch("a", "Exact", "1"),
                    ValueMatch("b", "Prefix", "1", invert=True),
                    ValueMatch("c", "Suffix", "1"),
                    ValueMatch("d", "RegularExpression", "[0-9]{1,10}"),
                    ValueMatch("e", "Present", invert=True),
                ),
                (ValueMatch("q", "RegularExpression", "x.*"),),
                "POST",
                grpc=True,
            ),
            RequestMatch(PathMatch("Exact", "/x")),
        ),
        Forward(
            (Backend("app", 90), Backend("app2", 10, HeaderEdits(set=(("x", "%"),)))),
            2 * SECOND,
            60 * SECOND,
            Retry(3, ("5xx", "unavailable"), (409, 429), SECOND, timedelta(milliseconds=5), 10 * SECOND),
            Rewrite("host", "/new"),
            (Mirror("app", 0.01),),
            (
                Hash("header", "x-user", terminal=True),
                Hash("cookie", "session", timedelta(0), "/"),
                Hash("sourceIP"),
                Hash("query", "q"),
            ),
        ),
        HeaderEdits((("x-a", "100%"),), (("x-b", "%%"),), ("x-c",)),
        fault=Fault(SECOND, 0.5, None, 14, 33.3333),
        cors=Cors((ValueMatch("", "RegularExpression", "https://.*"),)),
    ),
    domains=("reviews", "reviews.shop", "[fd00::1]", "*.reviews.shop.svc.cluster.local"),
)


@pytest.mark.envoy
def test_envoy_takes_every_field():
    """A virtual host that uses every field of the model is accepted, beside both kinds of catch-all."""
    clusters = [cds.cluster(Destination(name, "static", "http")) for name in ("app", "app2")] + [cds.passthrough()]
    for egress in ("allow", "registered"):
        hosts = [rds.virtual_host(EVERYTHING), rds.catch_all(80, egress)]
        assert refusal(with_routes(hosts, clusters)) == ""


def test_route_action_fields():
    """Timeouts, retries, mirrors and hashes are in the fields that Envoy reads them from."""
    first, preflight, second, *rest = decoded(rds.virtual_host(EVERYTHING))["routes"]
    assert not rest  # the exact path names no method, so it needs no preflight of its own
    assert first["match"]["path_separated_prefix"] == "/a/b"
    assert {"name": ":method", "string_match": {"exact": "OPTIONS"}} in preflight["match"]["headers"]
    assert second["match"]["path"] == "/x"
    action = first["route"]
    assert (action["timeout"], action["idle_timeout"]) == ("2s", "60s")
    assert "max_stream_duration" not in action  # beside it the router ignores the timeout
    retry = action["retry_policy"]
    assert retry["retry_on"] == "5xx,unavailable,retriable-status-codes"
    assert (retry["num_retries"], retry["per_try_timeout"]) == (3, "1s")
    assert retry["retriable_status_codes"] == [409, 429]
    assert retry["retry_back_off"] == {"base_interval": "0.005s", "max_interval": "10s"}
    assert retry["host_selection_retry_max_attempts"] == "5"
    assert action["request_mirror_policies"][0]["runtime_fraction"]["default_value"] == {
        "numerator": 100,
        "denominator": "MILLION",
    }
    assert action["hash_policy"][0] == {"header": {"header_name": "x-user"}, "terminal": True}
    assert action["hash_policy"][1] == {"cookie": {"name": "session", "ttl": "0s", "path": "/"}}
    assert [(each["name"], each["weight"]) for each in action["weighted_clusters"]["clusters"]] == [
        ("app", 90),
        ("app2", 10),
    ]
    abort = first["typed_per_filter_config"]["envoy.filters.http.fault"]["abort"]
    assert abort == {"grpc_status": 14, "percentage": {"numerator": 333333, "denominator": "MILLION"}}


def test_plain_route_is_small():
    """A route without policies has no timeout, no filters' parts and one cluster."""
    (found,) = only(route("/", forward()))
    assert found == {
        "name": "route",
        "match": {"prefix": "/"},
        "route": {"cluster": "app", "timeout": "0s"},
    }


def test_retry_without_conditions_is_safe():
    """Where a policy names no condition only requests that cannot have arrived are sent again."""
    (found,) = only(route("/", forward(retry=Retry(2))))
    assert found["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream,reset-before-request"


def test_back_off_base_does_not_exceed_maximum():
    """Envoy refuses a base above the maximum, which its default base can be."""
    (found,) = only(route("/", forward(retry=Retry(2, backoff_max=timedelta(milliseconds=1)))))
    assert found["route"]["retry_policy"]["retry_back_off"] == {"base_interval": "0.001s", "max_interval": "0.001s"}


def test_zero_weights_are_left_out():
    """A backend without weight gets nothing and is not even named."""
    (found,) = only(route("/", Forward((Backend("a", 0), Backend("b", 5)))))
    assert found["route"]["cluster"] == "b"


def test_negated_query_text_is_an_error():
    """What Envoy cannot say raises, with the parameter's name, instead of matching something else."""
    with pytest.raises(ValueError, match="'q'"):
        only(route("/", forward(), match={"query": (ValueMatch("q", "Exact", "1", invert=True),)}))


def test_table_takes_its_hosts_by_vhds():
    """A table without hosts of its own subscribes to them over ADS; the explicit one minds ports in hosts."""
    table = decoded(rds.route_table(80))
    assert table["vhds"] == {"config_source": {"ads": {}, "resource_api_version": "V3"}}
    assert table["ignore_port_in_host_matching"] is True
    assert table["validate_clusters"] is False
    explicit = decoded(rds.route_table("explicit"))
    assert "ignore_port_in_host_matching" not in explicit
    assert explicit["name"] == "out/explicit"


def test_catch_all_by_egress_mode():
    """Unknown hosts pass through, or are refused."""
    allowed = decoded(rds.catch_all(80, "allow"))
    assert (allowed["name"], allowed["domains"]) == ("out/80/any", ["*"])
    assert allowed["routes"][0]["route"]["cluster"] == "passthrough"
    refused = decoded(rds.catch_all(80, "registered"))
    assert refused["routes"][0]["direct_response"]["status"] == 502


paths = st.text("ab/%.?\\", max_size=8).map(lambda text: "/" + text)
edits = st.builds(
    HeaderEdits,
    *[st.lists(st.tuples(st.sampled_from(["a", "B", "b", "c"]), st.text("x%", max_size=3)), max_size=3).map(tuple)] * 2,
    st.lists(st.sampled_from(["a", "b", "C"]), max_size=2).map(tuple),
)
hosts = st.builds(
    lambda matched, new, request, backend: host(
        Route(
            "r",
            (RequestMatch(prefix(matched)),),
            Forward((Backend("app", 1, backend),), rewrite=Rewrite(path_prefix=new)),
            request,
        )
    ),
    paths,
    paths,
    edits,
    edits,
)


@given(st.lists(hosts, max_size=3), st.sampled_from([80, "explicit"]))
def test_joined_table_is_the_encoded_one(virtual_hosts, table):
    """A table joined of its hosts' bytes reads the same as one encoded whole."""
    messages = [rds.virtual_host(each) for each in virtual_hosts]
    joined = rds.route_table_bytes(table, map(encode, messages))
    assert parsed("RouteConfiguration", joined) == decoded(rds.route_table(table, messages))


def applied(edit, lines):
    """A list of (name, value) after edits, in Envoy's order: remove, set, add."""
    gone = {name.lower() for name in edit.remove}
    kept = [line for line in lines if line[0] not in gone]
    for name, value in edit.set:
        kept = [line for line in kept if line[0] != name.lower()] + [(name.lower(), value)]
    return kept + [(name.lower(), value) for name, value in edit.add]


@given(edits, edits, st.lists(st.tuples(st.sampled_from("abc"), st.just("client")), max_size=3))
def test_merged_edits_are_both_in_turn(first, then, lines):
    """Merged edits do to any headers what the one and then the other does."""
    assert sorted(applied(merged(first, then), lines)) == sorted(applied(then, applied(first, lines)))
