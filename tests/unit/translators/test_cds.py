"""Clusters: the fields that decide, and Envoy's judgement of every shape."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.translators.decoding import decoded
from tests.unit.translators.envoy_validation import ask, bootstrap, echo_server, refusal, running, with_routes
from xdscp.mesh.destination import (
    CircuitBreaker,
    Connection,
    Destination,
    Endpoint,
    HttpOptions,
    LoadBalancer,
    Locality,
    OutlierDetection,
    TcpKeepalive,
)
from xdscp.mesh.listening import InboundPort
from xdscp.translators import cds, lds, rds
from xdscp.translators.encode import encode

SECOND = timedelta(seconds=1)
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


PLAIN = Connection()


def of(connection=PLAIN, protocol="http", **fields):
    return Destination("out/shop/reviews/80", "eds", protocol, connection, **fields)


def balanced(**fields):
    return of(Connection(load_balancer=LoadBalancer(**fields)))


def ejecting(**fields):
    return of(Connection(outlier_detection=OutlierDetection(**fields)))


DESTINATIONS = {
    "plain": of(),
    "http2": of(protocol="http2"),
    "tcp": of(protocol="tcp"),
    "weighted localities": of(locality_weighted=True),
    "round robin": balanced(type="RoundRobin", slow_start=SECOND),
    "least request": balanced(slow_start=SECOND, slow_start_aggression=1.5, choice_count=3, panic_threshold=0),
    "random": balanced(type="Random", panic_threshold=100),
    "ring hash": balanced(type="RingHash", minimum_ring_size=100, maximum_ring_size=2000),
    "small ring": balanced(type="RingHash", maximum_ring_size=64),
    "maglev": balanced(type="Maglev", table_size=65537),
    "circuit breaker": of(Connection(circuit_breaker=CircuitBreaker(1, 2, 3, 4))),
    "retry budget": of(Connection(circuit_breaker=CircuitBreaker(retry_budget_percent=12.5, retry_budget_minimum=1))),
    "outliers": ejecting(consecutive_5xx=3, base_ejection=30 * SECOND, max_ejection=10 * SECOND, interval=SECOND),
    "all outliers": ejecting(
        consecutive_gateway_errors=2,
        consecutive_local_origin_failures=2,
        max_ejection_percent=0,
        minimum_hosts=3,
        failure_percentage_threshold=50,
        success_rate_stdev_factor=1900,
    ),
    "keepalive": of(Connection(tcp_keepalive=TcpKeepalive(3, timedelta(milliseconds=300), 5 * SECOND))),
    "http2 options": of(
        Connection(
            upgrade_http2=True,
            http=HttpOptions(5, SECOND, 9 * SECOND, 100, 65_535, 1_048_576, keepalive_interval=SECOND),
        )
    ),
    "http1 options": of(Connection(http=HttpOptions(preserve_header_case=True, accept_http_10=True))),
    "dns": Destination("ext/shop/api/443", "dns", "http2", dns_name="example.com", dns_port=443, tls_sni="example.com"),
    "static": Destination(
        "static", "static", "http", endpoints=(Endpoint("10.0.0.1", 80), Endpoint("fd00::1", 80, Locality("r", "z")))
    ),
    "original": Destination("original", "original", "tcp"),
}


@pytest.mark.envoy
def test_envoy_takes_every_cluster():
    """Envoy accepts each shape of cluster, all of them in one configuration."""
    clusters = [
        cds.cluster(Destination(name, *_rest(destination))) for name, destination in sorted(DESTINATIONS.items())
    ]
    clusters += [
        cds.inbound_cluster(InboundPort(80, "http2")),
        cds.inbound_cluster(InboundPort(81, "http", "10.0.0.1", "127.0.0.1", 8080)),
        cds.inbound_cluster(InboundPort(82, "tcp")),
        cds.passthrough(),
        cds.blackhole(),
    ]
    assert refusal(bootstrap(clusters)) == ""


def _rest(destination: Destination):
    return [getattr(destination, name) for name in Destination.__slots__[1:]]


@pytest.mark.envoy
def test_refusal_is_noticed():
    """The judgement is a real one: a cluster that Envoy forbids is refused, with a reason."""
    bad = cds.cluster(of())
    bad.connect_timeout = timedelta(0)
    assert "connect_timeout" in refusal(bootstrap([bad])).lower().replace("connecttimeout", "connect_timeout")


def test_eds_cluster_asks_for_its_own_name():
    """A service's endpoints come over ADS, under the name of the cluster."""
    cluster = decoded(cds.cluster(of()))
    assert cluster["type"] == "EDS"
    assert cluster["eds_cluster_config"] == {
        "eds_config": {"ads": {}, "resource_api_version": "V3"},
        "service_name": "out/shop/reviews/80",
    }
    assert cluster["lb_policy"] == "LEAST_REQUEST"
    assert cluster["connect_timeout"] == "5s"


def test_protocol_is_explicit():
    """Each HTTP cluster says which HTTP it speaks; a policy overrides the port; TCP says nothing."""

    def spoken(destination):
        options = decoded(cds.cluster(destination)).get("typed_extension_protocol_options", {})
        return set(options[HTTP]["explicit_http_config"]) if options else set()

    assert spoken(of()) == {"http_protocol_options"}
    assert spoken(of(protocol="http2")) == {"http2_protocol_options"}
    assert spoken(of(Connection(upgrade_http2=True))) == {"http2_protocol_options"}
    assert spoken(of(Connection(upgrade_http2=False), "http2")) == {"http_protocol_options"}
    assert spoken(of(Connection(upgrade_http2=True), "tcp")) == set()


def test_nothing_is_limited_unasked():
    """Without a policy connections and requests have no limit, and retries a budget."""
    (thresholds,) = decoded(cds.cluster(of()))["circuit_breakers"]["thresholds"]
    unlimited = 2**32 - 1
    assert thresholds == {
        "max_connections": unlimited,
        "max_pending_requests": unlimited,
        "max_requests": unlimited,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 10},
    }


def test_number_of_retries_replaces_budget():
    """A limit of retries counts, which it would not beside a budget."""
    (thresholds,) = decoded(cds.cluster(DESTINATIONS["circuit breaker"]))["circuit_breakers"]["thresholds"]
    assert thresholds == {"max_connections": 1, "max_pending_requests": 2, "max_requests": 3, "max_retries": 4}


def test_only_named_outlier_detectors_eject():
    """A detector that the policy names is enforced, one that it does not name is off."""
    found = decoded(cds.cluster(ejecting(consecutive_gateway_errors=2)))["outlier_detection"]
    assert found["consecutive_gateway_failure"] == 2
    assert found["enforcing_consecutive_gateway_failure"] == 100
    assert found["enforcing_consecutive_5xx"] == 0
    assert found["enforcing_success_rate"] == 0
    assert found["always_eject_one_host"] is True


def test_empty_outlier_detection_counts_5xx():
    """A policy that only says when, not what, ejects after Envoy's five 5xx."""
    found = decoded(cds.cluster(ejecting(interval=SECOND)))["outlier_detection"]
    assert found["enforcing_consecutive_5xx"] == 100
    assert "consecutive_5xx" not in found


def test_maximum_ejection_is_not_below_base():
    """Envoy would refuse the cluster."""
    found = decoded(cds.cluster(DESTINATIONS["outliers"]))["outlier_detection"]
    assert found["max_ejection_time"] == "30s"


def test_small_ring_lowers_minimum():
    """A maximum below Envoy's default minimum lowers it; else Envoy refuses the cluster."""
    ring = decoded(cds.cluster(DESTINATIONS["small ring"]))["ring_hash_lb_config"]
    assert ring == {"minimum_ring_size": "64", "maximum_ring_size": "64"}


def test_tls_is_checked_for_its_name():
    """Origination of TLS sends the name and asks for a certificate of it."""
    context = decoded(cds.cluster(DESTINATIONS["dns"]))["transport_socket"]["typed_config"]
    assert context["sni"] == "example.com"
    validation = context["common_tls_context"]["validation_context"]
    assert validation["trusted_ca"]["filename"].endswith(".crt")
    assert validation["match_typed_subject_alt_names"] == [{"san_type": "DNS", "matcher": {"exact": "example.com"}}]
    assert context["common_tls_context"]["alpn_protocols"] == ["h2"]


def test_inbound_cluster_dials_application():
    """Explicit mode names the application's address; interception takes the dialled one."""
    explicit = decoded(cds.inbound_cluster(InboundPort(9080, "http", "10.0.0.1", "127.0.0.1", 8080)))
    (endpoint,) = explicit["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}
    assert explicit["name"] == "in/9080"
    intercepted = decoded(cds.inbound_cluster(InboundPort(9080, "http")))
    assert (intercepted["type"], intercepted["lb_policy"]) == ("ORIGINAL_DST", "CLUSTER_PROVIDED")


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_bytes_are_deterministic(name):
    """The same destination gives the same bytes."""
    destination = DESTINATIONS[name]
    assert encode(cds.cluster(destination)) == encode(cds.cluster(destination))


@pytest.mark.envoy
def test_explicit_passthrough_reaches_unknown_hosts():
    """In explicit mode with egress allowed a request goes to the host that it names."""
    listener = lds.explicit(0, "127.0.0.1")
    manager = decoded(listener)["filter_chains"][0]["filters"][0]["typed_config"]
    assert [each["name"].rpartition(".")[2] for each in manager["http_filters"]] == [
        "cors",
        "fault",
        "dynamic_forward_proxy",
        "router",
    ]
    config = with_routes([rds.catch_all("explicit", "allow")], [cds.passthrough("explicit")], explicit=True)
    with echo_server() as server, running(config) as ports:
        answer = ask(ports["test"], "/x", host=f"127.0.0.1:{server}")
        assert (answer.status, answer.echoed["path"]) == (200, "/x")
