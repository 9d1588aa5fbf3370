"""Generated models: whatever a valid policy may say, Envoy takes the clusters and routes made of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.translators.envoy_validation import bootstrap, refusal, with_routes
from xdscp.mesh import destination as d
from xdscp.mesh import routing as r
from xdscp.translators import cds, rds

few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

durations = st.timedeltas(timedelta(milliseconds=1), timedelta(hours=2))
counts = st.integers(1, 2**31 - 1)
percents = st.floats(0, 100)
tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
urls = st.text("abcXYZ019/-_.~%\\", max_size=12).map(lambda path: "/" + path)
expressions = st.sampled_from([".*", "/a[0-9]+", "(?P<n>x|y)", r"\pN+", "a\\.b"])


def maybe(strategy):
    return st.none() | strategy


def some(strategy, most=2):
    return st.lists(strategy, max_size=most).map(tuple)


hashes = st.builds(
    d.Hash, st.sampled_from(["header", "cookie", "sourceIP", "query"]), tokens, maybe(durations), urls, st.booleans()
)
balancers = st.builds(
    d.LoadBalancer,
    st.sampled_from(["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"]),
    slow_start=maybe(durations),
    slow_start_aggression=maybe(st.floats(0.1, 10)),
    choice_count=maybe(st.integers(2, 10)),
    minimum_ring_size=maybe(st.integers(1, 1000)),
    maximum_ring_size=maybe(st.integers(1000, 5000)),
    table_size=maybe(st.sampled_from([2, 251, 65537])),
    panic_threshold=maybe(st.integers(0, 100)),
)
breakers = st.builds(d.CircuitBreaker, *[maybe(counts)] * 4, maybe(percents), maybe(counts))
outliers = st.builds(
    d.OutlierDetection,
    *[maybe(counts)] * 3,
    *[maybe(durations)] * 3,
    maybe(st.integers(0, 100)),
    maybe(counts),
    maybe(st.integers(0, 100)),
    maybe(counts),
)
http = st.builds(
    d.HttpOptions,
    maybe(counts),
    maybe(durations),
    maybe(durations),
    maybe(counts),
    maybe(st.integers(65_535, 2**31 - 1)),
    maybe(st.integers(65_535, 2**31 - 1)),
    maybe(durations),
    maybe(durations),
    st.booleans(),
    st.booleans(),
)
connections = st.builds(
    d.Connection,
    durations,
    balancers,
    breakers,
    maybe(outliers),
    maybe(st.builds(d.TcpKeepalive, maybe(counts), maybe(durations), maybe(durations))),
    http,
    maybe(st.booleans()),
)
destinations = st.builds(
    d.Destination,
    st.just("named below"),
    st.sampled_from(["eds", "dns", "static", "original"]),
    st.sampled_from(["http", "http2", "tcp"]),
    connections,
    st.just("example.com"),
    st.integers(1, 65535),
    st.sampled_from(["V4Preferred", "Auto", "All"]),
    endpoints=some(st.builds(d.Endpoint, st.ip_addresses().map(str), st.integers(1, 65535))),
    locality_weighted=st.booleans(),
    tls_sni=st.sampled_from(["", "example.com"]),
)

values = st.builds(
    r.ValueMatch,
    tokens,
    st.sampled_from(["Exact", "Present"]),
    st.just("v"),
    st.booleans(),
) | st.builds(r.ValueMatch, tokens, st.just("RegularExpression"), expressions)
paths = st.builds(r.PathMatch, st.sampled_from(["Exact", "PathPrefix"]), urls) | st.builds(
    r.PathMatch, st.just("RegularExpression"), expressions
)
queries = values.filter(lambda each: each.type == "Present" or not each.invert)
matches = st.builds(r.RequestMatch, paths, some(values), some(queries), st.sampled_from(["", "GET"]), st.booleans())
pairs = some(st.tuples(tokens.map("x-{}".format), text))
edits = st.builds(r.HeaderEdits, pairs, pairs, some(tokens))
backends = st.builds(r.Backend, st.sampled_from(["app", "app2"]), st.integers(0, 1000), edits, edits)
rewrites = (
    st.builds(r.Rewrite, st.sampled_from(["", "h"]), path_prefix=urls)
    | st.builds(r.Rewrite, path_full=urls)
    | st.builds(r.Rewrite, path_regex=expressions, path_substitution=st.just("/x"))
)
retries = st.builds(
    r.Retry,
    st.integers(0, 10),
    some(st.sampled_from(["5xx", "reset", "unavailable", "cancelled"])),
    some(st.integers(400, 599)),
    *[maybe(durations)] * 2,
    st.none(),
    st.booleans(),
)
forwards = st.builds(
    r.Forward,
    some(backends),
    maybe(durations),
    maybe(durations),
    maybe(retries),
    maybe(rewrites),
    some(st.builds(r.Mirror, st.just("app"), percents)),
    some(hashes),
)
redirects = st.builds(
    r.Redirect,
    st.sampled_from(["", "https"]),
    st.sampled_from(["", "h"]),
    maybe(st.integers(1, 65535)),
    maybe(urls),
    code=st.sampled_from([301, 302, 303, 307, 308]),
) | st.builds(r.Redirect, path_prefix=urls)
answers = st.builds(r.DirectResponse, st.integers(200, 599), text)
faults = st.builds(r.Fault, maybe(durations), percents, st.none(), maybe(st.integers(0, 16)), percents)
origins = st.builds(r.ValueMatch, st.just(""), st.sampled_from(["Exact", "Prefix", "Suffix"]), tokens)
cors = st.builds(r.Cors, some(origins), some(tokens), some(tokens), some(tokens), maybe(durations), st.booleans())
routes = st.builds(
    r.Route,
    text,
    st.lists(matches, min_size=1, max_size=3).map(tuple),
    forwards | redirects | answers,
    edits,
    edits,
    maybe(faults),
    maybe(cors),
)


@pytest.mark.envoy
@few
@given(st.lists(destinations, min_size=1, max_size=20))
def test_envoy_takes_the_clusters_of_any_valid_policy(generated):
    """Twenty clusters at a time, of whatever options."""
    clusters = [cds.cluster(replace(each, name=f"c{index}")) for index, each in enumerate(generated)]
    assert refusal(bootstrap(clusters)) == ""


@pytest.mark.envoy
@few
@given(st.lists(routes, min_size=1, max_size=20))
def test_envoy_takes_the_routes_of_any_valid_policy(generated):
    """Twenty routes at a time, of whatever matches and actions."""
    clusters = [cds.cluster(d.Destination(name, "static", "http")) for name in ("app", "app2")]
    host = rds.virtual_host(r.VirtualHost("host", ("*",), tuple(generated)))
    assert refusal(with_routes([host], clusters)) == ""
