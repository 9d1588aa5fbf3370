"""Encoding and constructing Envoy messages: ours against betterproto2's, microseconds each and the ratio.

    python benchmarks/encode.py

Prints also what importing the message classes costs, each in a fresh interpreter.
"""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from betterproto2 import Message
from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.type.v3 import Percent

from xdscp.translators.construct import unchecked
from xdscp.translators.encode import encode, version

M = TypeVar("M", bound=Message)
Constructor = Callable[[type[M]], Callable[..., M]]

MODULES = (
    "betterproto2",
    "envoy_data_plane.google.protobuf",
    "envoy_data_plane.envoy.config.core.v3",
    "envoy_data_plane.envoy.config.endpoint.v3",
    "envoy_data_plane.envoy.config.cluster.v3",
    "envoy_data_plane.envoy.config.route.v3",
    "envoy_data_plane.envoy.config.listener.v3",
    "envoy_data_plane.envoy.config.rbac.v3",
    "envoy_data_plane.envoy.extensions.transport_sockets.tls.v3",
    "envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3",
    "envoy_data_plane.envoy.extensions.upstreams.http.v3",
    "envoy_data_plane.envoy.config.bootstrap.v3",
)


def validated(cls: type[M]) -> Callable[..., M]:
    """The class itself, as the constructor to compare with."""
    return cls


def small_cluster(of: Constructor[Message]) -> Callable[[], Message]:
    """A cluster of a service: discovered endpoints, a timeout, circuit breakers, outlier detection, TCP keepalive."""
    make, discovery, source = of(cluster.Cluster), of(cluster.ClusterEdsClusterConfig), of(core.ConfigSource)
    ads, breakers, thresholds = (
        of(core.AggregatedConfigSource),
        of(cluster.CircuitBreakers),
        of(cluster.CircuitBreakersThresholds),
    )
    budget, percent = of(cluster.CircuitBreakersThresholdsRetryBudget), of(Percent)
    outliers, connection, keepalive = (
        of(cluster.OutlierDetection),
        of(cluster.UpstreamConnectionOptions),
        of(core.TcpKeepalive),
    )
    return lambda: make(
        name="out/shop/reviews/9080",
        type=cluster.ClusterDiscoveryType.EDS,
        connect_timeout=timedelta(seconds=5),
        eds_cluster_config=discovery(
            eds_config=source(ads=ads(), resource_api_version=core.ApiVersion.V3), service_name="out/shop/reviews/9080"
        ),
        circuit_breakers=breakers(
            thresholds=[
                thresholds(max_connections=100, max_requests=500, retry_budget=budget(budget_percent=percent(value=20)))
            ]
        ),
        outlier_detection=outliers(consecutive_5xx=5, base_ejection_time=timedelta(seconds=30)),
        upstream_connection_options=connection(tcp_keepalive=keepalive(keepalive_time=300)),
    )


def hundred_endpoints(of: Constructor[Message]) -> Callable[[], Message]:
    """A ClusterLoadAssignment of one locality with a hundred endpoints."""
    make, group, locality = (
        of(endpoint.ClusterLoadAssignment),
        of(endpoint.LocalityLbEndpoints),
        of(core.Locality),
    )
    one, of_host, address, sock = (
        of(endpoint.LbEndpoint),
        of(endpoint.Endpoint),
        of(core.Address),
        of(core.SocketAddress),
    )
    return lambda: make(
        cluster_name="out/shop/reviews/9080",
        endpoints=[
            group(
                locality=locality(zone="a"),
                load_balancing_weight=100,
                lb_endpoints=[
                    one(
                        endpoint=of_host(
                            address=address(socket_address=sock(address=f"10.0.0.{host}", port_value=9080))
                        ),
                        health_status=core.HealthStatus.HEALTHY,
                        load_balancing_weight=1,
                    )
                    for host in range(100)
                ],
            )
        ],
    )


def five_routes(of: Constructor[Message]) -> Callable[[], Message]:
    """A virtual host with five routes, each with a match, two weighted clusters, a timeout and a retry policy."""
    make, one, match, header = (
        of(route.VirtualHost),
        of(route.Route),
        of(route.RouteMatch),
        of(route.HeaderMatcher),
    )
    action, weighted, weight = of(route.RouteAction), of(route.WeightedCluster), of(route.WeightedClusterClusterWeight)
    retry = of(route.RetryPolicy)
    return lambda: make(
        name="out/9080/shop.reviews",
        domains=["reviews", "reviews.shop", "reviews.shop.svc.cluster.local", "10.96.0.7"],
        routes=[
            one(
                name=f"route-{number}",
                match=match(prefix=f"/api/{number}", headers=[header(name="x-tester", present_match=True)]),
                route=action(
                    weighted_clusters=weighted(
                        clusters=[
                            weight(name="out/shop/reviews/9080/v1", weight=90),
                            weight(name="out/shop/reviews/9080/v2", weight=10),
                        ]
                    ),
                    timeout=timedelta(seconds=2),
                    retry_policy=retry(
                        retry_on="5xx,reset", num_retries=3, per_try_timeout=timedelta(milliseconds=500)
                    ),
                ),
            )
            for number in range(5)
        ],
    )


def microseconds(action: Callable[[], object]) -> float:
    """The best of five rounds of about 50 ms each."""
    action()
    once = max(timeit.timeit(action, number=3) / 3, 1e-7)
    number = max(1, int(0.05 / once))
    return min(timeit.repeat(action, number=number, repeat=5)) / number * 1e6


def main() -> None:
    print(f"{'':28}{'betterproto2':>14}{'ours':>10}{'ratio':>8}")
    for title, case in (
        ("Cluster", small_cluster),
        ("CLA of 100 endpoints", hundred_endpoints),
        ("VirtualHost of 5 routes", five_routes),
    ):
        message = case(validated)()
        body = encode(message)
        assert body == bytes(message) == encode(case(unchecked)())
        rows = (
            ("encode", lambda m=message: bytes(m), lambda m=message: encode(m)),
            ("construct", case(validated), case(unchecked)),
        )
        print(
            f"{title}, {len(body)} bytes, version {version(body)} in {microseconds(lambda b=body: version(b)):.1f} µs"
        )
        for row, theirs, ours in rows:
            slow, fast = microseconds(theirs), microseconds(ours)
            print(f"  {row:26}{slow:12.1f}µs{fast:8.1f}µs{slow / fast:7.0f}x")
    print("import, ms, alone in a fresh interpreter (best of 3)")
    for module in MODULES:
        print(f"  {module:78}{imported(module):6.0f}")


def imported(module: str) -> float:
    """Milliseconds to import the module."""
    code = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1000)"
    run = [sys.executable, "-W", "ignore", "-c", code]
    return min(float(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(3))


if __name__ == "__main__":
    main()
