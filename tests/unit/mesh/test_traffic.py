"""What TrafficPolicies make of a service: routes, connections, subsets, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from tests.unit.mesh.policies import DATABASE, RATINGS, REVIEWS, SERVICES, Mesh, parsed
from xdscp.mesh import traffic
from xdscp.mesh.destination import Connection, Hash, LoadBalancer
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
    TcpRoute,
    ValueMatch,
)
from xdscp.resources.core import Key

DEFAULT = Route("default", (RequestMatch(),), Forward((Backend("out/shop/reviews/80"),)))
SUBSETS = "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]\n"


def route(text: str, mesh: Mesh | None = None) -> Route:
    mesh = mesh or Mesh()
    mesh.hold(parsed("p", f"{SUBSETS}routes: [{text}]"))
    found: Route = mesh(traffic.routes_of, REVIEWS, 80)[0]
    return found


def reasons(mesh: Mesh, name: str = "p") -> list[tuple[str, str]]:
    return [(problem.reason, problem.field) for problem in mesh(traffic.traffic_problems, Key("shop", name))]


# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_service_without_policy_routes_to_itself() -> None:
    """All requests of an HTTP port go to the service."""
    mesh = Mesh()
    assert mesh(traffic.routes_of, REVIEWS, 80) == (DEFAULT,)
    assert mesh(traffic.routes_of, REVIEWS, 9000) == ()
    assert mesh(traffic.routes_of, REVIEWS, 81) == ()
    assert mesh(traffic.connection_of, REVIEWS, 80) == Connection()
    assert mesh(traffic.tcp_route_of, DATABASE, 5432) == TcpRoute(
        "out/shop/database/5432", (Backend("out/shop/database/5432"),)
    )


def test_a_request_that_no_route_matches_goes_to_the_service() -> None:
    """Routes that all have matches are followed by the default."""
    mesh = Mesh(parsed("p", "routes: [{matches: [{method: GET}], directResponse: {status: 204}}]"))
    assert mesh(traffic.routes_of, REVIEWS, 80) == (
        Route("shop/p/0", (RequestMatch(method="GET"),), DirectResponse(204)),
        DEFAULT,
    )


def test_a_last_route_without_matches_is_the_default() -> None:
    """Nothing is put behind a route that takes all."""
    mesh = Mesh(parsed("p", "routes: [{name: all, directResponse: {status: 204, body: none}}]"))
    assert mesh(traffic.routes_of, REVIEWS, 80) == (
        Route("shop/p/all", (RequestMatch(),), DirectResponse(204, "none")),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path: {value: /a/}", RequestMatch(PathMatch("PathPrefix", "/a"))),
        ("path: {value: /}", RequestMatch(PathMatch("PathPrefix", "/"))),
        ("path: {type: Exact, value: /a/}", RequestMatch(PathMatch("Exact", "/a/"))),
        ("path: {type: RegularExpression, value: /a+}", RequestMatch(PathMatch("RegularExpression", "/a+"))),
        ("headers: [{name: X-A, value: b}]", RequestMatch(headers=(ValueMatch("x-a", "Exact", "b"),))),
        (
            "headers: [{name: a, type: Present, invert: true}]",
            RequestMatch(headers=(ValueMatch("a", "Present", invert=True),)),
        ),
        ("queryParams: [{name: Q, type: Prefix, value: b}]", RequestMatch(query=(ValueMatch("Q", "Prefix", "b"),))),
        ("grpc: {}", RequestMatch(grpc=True)),
        ("grpc: {service: a.B}", RequestMatch(PathMatch("PathPrefix", "/a.B"), grpc=True)),
        ("grpc: {service: a.B, method: C}", RequestMatch(PathMatch("Exact", "/a.B/C"), grpc=True)),
        ("grpc: {method: C}", RequestMatch(PathMatch("RegularExpression", "/(?:[^/]+)/(?:C)"), grpc=True)),
        (
            "grpc: {type: RegularExpression, service: a.+, method: b|c}",
            RequestMatch(PathMatch("RegularExpression", "/(?:a.+)/(?:b|c)"), grpc=True),
        ),
    ],
)
def test_matches(text: str, expected: RequestMatch) -> None:
    """Each kind of match is that of the model."""
    assert route(f"{{matches: [{{{text}}}]}}").matches == (expected,)


def test_weighted_backends_and_subsets() -> None:
    """Backends default to the target and its port; headers are edited for each."""
    found = route(
        "{backends: [{subset: v1, weight: 90, requestHeaders: {set: [{name: A, value: 100%}]}},"
        " {name: ratings, port: 8080, weight: 10}, {name: ratings, weight: 0}]}"
    )
    assert isinstance(found.action, Forward)
    assert found.action.backends == (
        Backend("out/shop/reviews/80/v1", 90, HeaderEdits(set=(("a", "100%"),))),
        Backend("out/shop/ratings/8080", 10),
        Backend("out/shop/ratings/80", 0),
    )


def test_what_a_forwarding_route_does() -> None:
    """Rewrite, timeouts, retry and mirrors of a route are those of the model."""
    found = route(
        "{timeouts: {request: 2s, perTry: 500ms, idle: 1m},"
        " retry: {attempts: 3, retryOn: [5xx], codes: [409], backoff: 25ms, backoffMax: 1s},"
        " rewrite: {hostname: a.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}},"
        " mirrors: [{name: ratings, percent: 5}]}"
    )
    assert found.action == Forward(
        (Backend("out/shop/reviews/80"),),
        timedelta(seconds=2),
        timedelta(minutes=1),
        Retry(3, ("5xx",), (409,), timedelta(milliseconds=500), timedelta(milliseconds=25), timedelta(seconds=1)),
        Rewrite("a.example", "/b"),
        (Mirror("out/shop/ratings/80", 5.0),),
    )


def test_timeouts_of_zero_are_none() -> None:
    """As in Gateway API `0s` is no timeout, and a stream's idle timeout of 0 switches it off."""
    action = route("{timeouts: {request: 0s, perTry: 0s, idle: 0s}, retry: {}}").action
    assert isinstance(action, Forward)
    assert (action.timeout, action.idle_timeout) == (None, timedelta(0))
    assert action.retry == Retry(1, ("connect-failure", "refused-stream", "reset-before-request"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path: {type: ReplaceFullPath, replaceFullPath: /b}", Rewrite(path_full="/b")),
        (
            r"path: {type: RegularExpression, pattern: '^/(\w+)', substitution: '/\1'}",
            Rewrite(path_regex=r"^/(\w+)", path_substitution=r"/\1"),
        ),
    ],
)
def test_rewrites(text: str, expected: Rewrite) -> None:
    """Each kind of path rewrite is that of the model."""
    action = route(f"{{rewrite: {{{text}}}}}").action
    assert isinstance(action, Forward)
    assert action.rewrite == expected


def test_a_redirect() -> None:
    """A redirect keeps what it does not name."""
    found = route("{redirect: {scheme: https, port: 443, path: {type: ReplaceFullPath, replaceFullPath: /b}}}")
    assert found.action == Redirect("https", "", 443, "/b")


def test_what_any_route_does() -> None:
    """Headers, faults and CORS of a route are those of the model."""
    found = route(
        "{requestHeaders: {add: [{name: A, value: b}], remove: [C]}, responseHeaders: {set: [{name: d, value: e}]},"
        " fault: {delay: {duration: 1s, percent: 10}, abort: {grpcStatus: 14, percent: 0.5}},"
        " cors: {allowOrigins: ['*', 'https://*.a.example', 'https://b.example:8443'], allowMethods: [GET], maxAge: 1h}}"
    )
    assert found.request_headers == HeaderEdits(add=(("a", "b"),), remove=("c",))
    assert found.response_headers == HeaderEdits(set=(("d", "e"),))
    assert found.fault == Fault(timedelta(seconds=1), 10.0, None, 14, 0.5)
    assert found.cors == Cors(
        (
            ValueMatch("", "RegularExpression", ".*"),
            ValueMatch("", "RegularExpression", r"https://[^/:]+\.a\.example"),
            ValueMatch("", "Exact", "https://b.example:8443"),
        ),
        ("GET",),
        max_age=timedelta(hours=1),
    )


@pytest.mark.parametrize("backend", ["name: nobody", "port: 81", "subset: v3", "name: ratings, namespace: other"])
def test_a_backend_that_does_not_exist_loses_its_share(backend: str) -> None:
    """The others get it, and the policy is told; without others the answer is 500."""
    mesh = Mesh()
    action = route(f"{{backends: [{{subset: v1}}, {{{backend}}}]}}", mesh).action
    assert isinstance(action, Forward)
    assert action.backends == (Backend("out/shop/reviews/80/v1"),)
    assert reasons(mesh) == [("BackendNotFound", "spec.routes[0].backends[1]")]

    action = route(f"{{backends: [{{subset: v1, weight: 0}}, {{{backend}}}]}}").action
    assert isinstance(action, DirectResponse)
    assert action.code == 500


def test_a_mirror_that_does_not_exist_is_left_out() -> None:
    """Requests are served as without it."""
    mesh = Mesh()
    action = route("{mirrors: [{name: nobody}]}", mesh).action
    assert isinstance(action, Forward)
    assert action.mirrors == ()
    assert reasons(mesh) == [("BackendNotFound", "spec.routes[0].mirrors[0]")]


def test_a_backend_that_comes_later_is_found() -> None:
    """A Service that is added after the policy resolves it."""
    mesh = Mesh(parsed("p", "routes: [{backends: [{name: ratings}]}]"), services=SERVICES[:1])
    assert reasons(mesh) == [("BackendNotFound", "spec.routes[0].backends[0]")]
    late = Mesh(parsed("p", "routes: [{backends: [{name: ratings}]}]"))
    assert reasons(late) == []


def test_routes_hash_by_what_their_backends_balance_by() -> None:
    """A route asks for the hash sources of all its backends."""
    mesh = Mesh(
        parsed("a", "loadBalancer: {type: Maglev, hash: [{header: X-User}, {sourceIP: true}]}"),
        parsed("b", "{targetRefs: [{name: ratings}], loadBalancer: {type: RingHash, hash: [{cookie: {name: c}}]}}"),
        parsed("c", "routes: [{backends: [{}, {name: ratings}]}]"),
    )
    action = mesh(traffic.routes_of, REVIEWS, 80)[0].action
    assert action.hashes == (Hash("header", "x-user"), Hash("sourceIP"), Hash("cookie", "c"))
    assert mesh(traffic.tcp_route_of, REVIEWS, 9000).hash_source_ip


# -- TCP -----------------------------------------------------------------------------------------------------------------


def test_a_tcp_port_takes_a_route_without_matches() -> None:
    """Weighted backends of a TCP service, and its idle timeout."""
    mesh = Mesh(
        parsed(
            "p",
            "{targetRefs: [{name: database}], routes: [{backends: [{weight: 3}, {name: reviews, port: 9000}]}],"
            " connection: {idleTimeout: 1h}}",
        )
    )
    assert mesh(traffic.tcp_route_of, DATABASE, 5432) == TcpRoute(
        "out/shop/database/5432",
        (Backend("out/shop/database/5432", 3), Backend("out/shop/reviews/9000")),
        timedelta(hours=1),
    )
    assert mesh(traffic.routes_of, DATABASE, 5432) == ()


def test_http_routes_leave_the_tcp_ports_of_a_service_alone() -> None:
    """Only a policy that names the port routes the TCP port of a service with HTTP ports."""
    text = "routes: [{backends: [{name: ratings, port: 80}]}]"
    mesh = Mesh(parsed("p", text))
    assert mesh(traffic.tcp_route_of, REVIEWS, 9000).backends == (Backend("out/shop/reviews/9000"),)

    mesh = Mesh(parsed("p", f"{{targetRefs: [{{name: reviews, sectionName: tcp-admin}}], {text}}}"))
    assert mesh(traffic.tcp_route_of, REVIEWS, 9000).backends == (Backend("out/shop/ratings/80"),)
    assert mesh(traffic.routes_of, REVIEWS, 80) == (DEFAULT,)


def test_routes_that_mean_nothing_on_a_tcp_port_are_told() -> None:
    """Matches need HTTP; the connections go on to the service."""
    mesh = Mesh(parsed("p", "{targetRefs: [{name: database}], routes: [{matches: [{method: GET}]}]}"))
    assert reasons(mesh) == [("UnsupportedProtocol", "spec.routes")]
    assert mesh(traffic.tcp_route_of, DATABASE, 5432).backends == (Backend("out/shop/database/5432"),)


def test_a_tcp_route_without_backends_leads_nowhere() -> None:
    """Connections are refused rather than sent where nobody asked for."""
    mesh = Mesh(parsed("p", "{targetRefs: [{name: database}], routes: [{backends: [{name: nobody}]}]}"))
    assert mesh(traffic.tcp_route_of, DATABASE, 5432).backends == ()


# -- connections ---------------------------------------------------------------------------------------------------------


def test_a_subset_may_have_parts_of_its_own() -> None:
    """A part of a subset replaces the policy's; the others are the policy's."""
    mesh = Mesh(
        parsed(
            "p",
            "{subsets: [{name: v1, labels: {v: '1'}, circuitBreaker: {maxRequests: 1}}],"
            " circuitBreaker: {maxRequests: 9, maxRetries: 2}, loadBalancer: {type: Random}}",
        )
    )
    whole, subset = mesh(traffic.connection_of, REVIEWS, 80), mesh(traffic.connection_of, REVIEWS, 80, "v1")
    assert (whole.circuit_breaker.max_requests, whole.circuit_breaker.max_retries) == (9, 2)
    assert (subset.circuit_breaker.max_requests, subset.circuit_breaker.max_retries) == (1, None)
    assert whole.load_balancer == subset.load_balancer == LoadBalancer("Random")
    assert mesh(traffic.subsets_of, REVIEWS) == (("v1", (("v", "1"),)),)


def test_a_retry_budget_is_one_of_the_destination() -> None:
    """The largest of the budgets that routes, also of other services, give a destination counts for it."""
    mesh = Mesh(
        parsed("p", f"{SUBSETS}routes: [{{backends: [{{subset: v1}}], retry: {{budget: {{percent: 10}}}}}}]"),
        parsed(
            "q",
            "{targetRefs: [{name: ratings}], routes: [{backends: [{name: reviews, port: 80, subset: v1}],"
            " retry: {budget: {percent: 5, minRetries: 50}}}]}",
        ),
    )
    breaker = mesh(traffic.connection_of, REVIEWS, 80, "v1").circuit_breaker
    assert (breaker.retry_budget_percent, breaker.retry_budget_minimum) == (10, 50)
    assert mesh(traffic.connection_of, REVIEWS, 80).circuit_breaker.retry_budget_percent is None


def test_session_affinity_of_a_service_is_by_source() -> None:
    """Without a load balancer of a policy a Service's `ClientIP` keeps a client on an endpoint."""
    service = replace(SERVICES[0], session_affinity=True)
    mesh = Mesh(services=[service])
    assert mesh(traffic.connection_of, REVIEWS, 80).load_balancer == LoadBalancer("RingHash", (Hash("sourceIP"),))


def test_the_locality_mode_is_none_unless_a_policy_gives_it() -> None:
    """Where no policy says it, the Service's trafficDistribution does."""
    assert Mesh()(traffic.locality_mode_of, REVIEWS, 80) is None
    for mode in ("Failover", "Weighted", "None"):
        mesh = Mesh(parsed("p", f"loadBalancer: {{locality: {{mode: '{mode}'}}}}"))
        assert mesh(traffic.locality_mode_of, REVIEWS, 80) == mode


# -- conflicts -----------------------------------------------------------------------------------------------------------


def test_the_oldest_policy_wins_whatever_the_order() -> None:
    """Age decides, then the name; the younger is told which parts give way, and keeps the others."""
    policies = [
        parsed("c", "circuitBreaker: {maxRequests: 1}", created="2026-01-01T00:00:00Z"),
        parsed("b", "{circuitBreaker: {maxRequests: 2}, loadBalancer: {type: Random}}", created="2026-01-02T00:00:00Z"),
        parsed("a", "circuitBreaker: {maxRequests: 3}"),
    ]
    for order in permutations(policies):
        mesh = Mesh(*order)
        found = mesh(traffic.connection_of, REVIEWS, 80)
        assert (found.circuit_breaker.max_requests, found.load_balancer.type) == (1, "Random")
        assert reasons(mesh, "c") == []
        assert reasons(mesh, "b") == reasons(mesh, "a") == [("Conflicted", "spec.circuitBreaker")]


def test_a_policy_of_a_port_goes_before_one_of_the_service() -> None:
    """Whatever their age, and without a conflict."""
    mesh = Mesh(
        parsed("a", "circuitBreaker: {maxRequests: 1}", created="2026-01-01T00:00:00Z"),
        parsed("b", "{targetRefs: [{name: reviews, sectionName: http}], circuitBreaker: {maxRequests: 2}}"),
    )
    assert mesh(traffic.connection_of, REVIEWS, 80).circuit_breaker.max_requests == 2
    assert mesh(traffic.connection_of, REVIEWS, 9000).circuit_breaker.max_requests == 1
    assert reasons(mesh, "a") == reasons(mesh, "b") == []


def test_a_subset_that_two_define_is_the_older_ones() -> None:
    """The same definition twice is no conflict."""
    mesh = Mesh(
        parsed("a", "subsets: [{name: x, labels: {v: '1'}}]"),
        parsed("b", "subsets: [{name: x, labels: {v: '2'}}, {name: y, labels: {v: '3'}}]"),
        parsed("c", "subsets: [{name: x, labels: {v: '1'}}]"),
    )
    assert mesh(traffic.subsets_of, REVIEWS) == (("x", (("v", "1"),)), ("y", (("v", "3"),)))
    assert reasons(mesh, "b") == [("Conflicted", "spec.subsets[0]")]
    assert reasons(mesh, "a") == []


def test_targets_that_do_not_exist_are_told() -> None:
    """A Service, or the name of its port."""
    mesh = Mesh(parsed("p", "targetRefs: [{name: nobody}, {name: reviews, sectionName: grpc}]"))
    assert reasons(mesh) == [
        ("TargetNotFound", "spec.targetRefs[0]"),
        ("TargetNotFound", "spec.targetRefs[1].sectionName"),
    ]
    assert reasons(mesh, "unknown") == []
    assert {reason for reason, _ in reasons(mesh)} <= set(traffic.CONDITIONS)


# -- MeshPolicy ----------------------------------------------------------------------------------------------------------


def test_a_mesh_policy_of_the_namespace_goes_before_the_mesh() -> None:
    """Field by field."""
    mesh = Mesh(
        parsed("m", "{egress: Registered, defaults: {connectTimeout: 1s}}", "MeshPolicy", namespace="xdscp-system"),
        parsed("n", "{egress: Deny, explicit: {port: 7777}}", "MeshPolicy"),
    )
    assert mesh(traffic.egress_of, "shop") == mesh(traffic.egress_of, "other") == "registered"
    assert not mesh(traffic.externals_allowed, "shop")
    assert mesh(traffic.externals_allowed, "other")
    assert (mesh(traffic.explicit_port_of, "shop"), mesh(traffic.explicit_port_of, "other")) == (7777, None)
    assert mesh(traffic.connection_of, REVIEWS, 80).connect_timeout == timedelta(seconds=1)
    assert Mesh()(traffic.egress_of, "shop") == "allow"


def test_default_retries_are_for_routes_without_their_own() -> None:
    """A route with `attempts: 0` has none."""
    defaults = parsed("m", "defaults: {retry: {attempts: 2, budget: {percent: 7}}}", "MeshPolicy")
    text = "routes: [{matches: [{method: GET}], retry: {attempts: 0}}, {matches: [{method: PUT}]}]"
    mesh = Mesh(defaults, parsed("p", text))
    attempts = [route.action.retry and route.action.retry.attempts for route in mesh(traffic.routes_of, REVIEWS, 80)]
    assert attempts == [None, 2, 2]
    assert mesh(traffic.connection_of, REVIEWS, 80).circuit_breaker.retry_budget_percent == 7
    assert mesh(traffic.connection_of, RATINGS, 80).circuit_breaker.retry_budget_percent == 7


def test_the_younger_mesh_policy_is_told() -> None:
    """Of two that give the same field the older counts."""
    mesh = Mesh(
        parsed("a", "egress: Allow", "MeshPolicy", created="2026-01-02T00:00:00Z"),
        parsed("b", "egress: Deny", "MeshPolicy", created="2026-01-01T00:00:00Z"),
    )
    assert mesh(traffic.egress_of, "shop") == "registered"
    problems = mesh(traffic.mesh_policy_problems, Key("shop", "a"))
    assert [(problem.reason, problem.field) for problem in problems] == [("Conflicted", "spec.egress")]
    assert mesh(traffic.mesh_policy_problems, Key("shop", "b")) == ()


def test_tcp_services_of_the_explicit_mode() -> None:
    """A Workload's own entries go before the mesh's, and a service that does not exist has no listener."""
    mesh = Mesh(
        parsed("m", "explicit: {tcp: [{service: {name: database}, port: 5432, listenPort: 1}]}", "MeshPolicy"),
        parsed(
            "w",
            "{address: 10.0.0.1, explicit: {address: 127.0.0.2}, tcp: [{service: {name: reviews}, port: 9000, listenPort: 1},"
            " {service: {name: database}, port: 5432}, {service: {name: nobody}, port: 1, listenPort: 2}]}",
            "Workload",
        ),
    )
    own = mesh(traffic.tcp_listeners_of, Key("shop", "w"), "127.0.0.2")
    assert [(each.name, each.address, each.port, each.route.name) for each in own] == [
        ("out/1", "127.0.0.2", 1, "out/shop/reviews/9000"),
        ("out/5432", "127.0.0.2", 5432, "out/shop/database/5432"),
    ]
    problems = mesh(traffic.workload_problems, Key("shop", "w"))
    assert [(problem.reason, problem.field) for problem in problems] == [("BackendNotFound", "spec.tcp[2]")]
    pod = mesh(traffic.tcp_listeners_of, Key("shop", "pod"), "127.0.0.1")
    assert [(each.address, each.port, each.route.name) for each in pod] == [("127.0.0.1", 1, "out/shop/database/5432")]
