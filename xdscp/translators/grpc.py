"""The shapes that proxyless gRPC clients and servers know; what they do not know they refuse, or silently never match.

A client asks for a listener by its target (`svc.ns:80`), which names a route table, which names clusters; a server asks
for a listener by its address. Sources: gRPC proposals A27, A28 (routes), A31 (timeouts), A33 (faults), A36 (servers),
A42 (ring hash), A44 (retries), A50 (outliers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
)
from envoy_data_plane.envoy.config.core.v3 import TrafficDirection
from envoy_data_plane.envoy.config.listener.v3 import ApiListener, Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    NonForwardingAction,
    RouteAction,
    RouteActionMaxStreamDuration,
    RouteConfiguration,
    RouteMatch,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.config.route.v3 import RetryPolicy as EnvoyRetryPolicy
from envoy_data_plane.envoy.config.route.v3 import Route as EnvoyRoute
from envoy_data_plane.envoy.config.route.v3 import VirtualHost as EnvoyVirtualHost
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager, Rds

from xdscp.mesh.destination import Destination, Endpoint
from xdscp.mesh.routing import Backend, Forward, Retry, Route, VirtualHost
from xdscp.translators import eds, grpc_matching, http_connection_manager, load_balancing, names, resilience
from xdscp.translators.addresses import socket_address
from xdscp.translators.config_source import ADS
from xdscp.translators.encode import packed
from xdscp.translators.filters import fault, router
from xdscp.translators.retry import back_off
from xdscp.translators.route_action import hash_policy, weighted

RETRY_CONDITIONS: Final = {
    "cancelled": "cancelled",
    "deadline-exceeded": "deadline-exceeded",
    "internal": "internal",
    "resource-exhausted": "resource-exhausted",
    "unavailable": "unavailable",
    # What an HTTP client sees as these, a gRPC client sees as UNAVAILABLE.
    "5xx": "unavailable",
    "gateway-error": "unavailable",
    "connect-failure": "unavailable",
    "refused-stream": "unavailable",
    "reset": "unavailable",
    "reset-before-request": "unavailable",
}
"""The model's retry conditions as the five that gRPC knows; it ignores others."""

_CLIENT_FILTERS: Final = [fault.FILTER, router.FILTER]
_SERVER_FILTERS: Final = [router.FILTER]
_HASHING: Final = ("RingHash", "Maglev")


def listener(name: str, table: str) -> Listener:
    """What a client with the target `xds:///name` asks for; its routes are the RouteConfiguration `table`."""
    manager = HttpConnectionManager(
        stat_prefix=name,
        rds=Rds(config_source=ADS, route_config_name=table),
        http_filters=_CLIENT_FILTERS,
    )
    return Listener(name=name, api_listener=ApiListener(api_listener=packed(manager)))


def route_table(name: str, host: VirtualHost, domains: tuple[str, ...]) -> RouteConfiguration:
    """The routes of a service's port, inline; `domains` are all the targets by which clients reach it.

    What no route matches fails with UNAVAILABLE, as does a route whose action gRPC has no words for.
    """
    routes = [envoy_route for route in host.routes for envoy_route in _routes(route)]
    routes.append(
        EnvoyRoute(name="unmatched", match=RouteMatch(prefix=""), non_forwarding_action=NonForwardingAction())
    )
    return RouteConfiguration(
        name=name,
        virtual_hosts=[EnvoyVirtualHost(name=name, domains=list(domains), routes=routes)],
    )


def _routes(route: Route) -> Iterator[EnvoyRoute]:
    for match in route.matches:
        for envoy_match in grpc_matching.requests(match):
            found = EnvoyRoute(name=route.name, match=envoy_match)
            if isinstance(route.action, Forward) and weighted(route.action.backends):
                found.route = _forward(route.action)
            else:
                found.non_forwarding_action = NonForwardingAction()
            if route.fault is not None:
                found.typed_per_filter_config = {fault.NAME: packed(fault.policy(route.fault))}
            yield found


def _forward(action: Forward) -> RouteAction:
    """GRPC reads its timeout from the stream's duration, and hashes headers only; a rewrite or mirror it does not know."""
    found = RouteAction(
        max_stream_duration=None
        if action.timeout is None
        else RouteActionMaxStreamDuration(max_stream_duration=action.timeout),
        retry_policy=None if action.retry is None else _retry_policy(action.retry),
        hash_policy=[hash_policy(each) for each in action.hashes if each.source == "header"],
    )
    backends = weighted(action.backends)
    if len(backends) == 1:
        found.cluster = backends[0].destination
    else:
        found.weighted_clusters = WeightedCluster(clusters=[_cluster_weight(backend) for backend in backends])
    return found


def _cluster_weight(backend: Backend) -> WeightedClusterClusterWeight:
    return WeightedClusterClusterWeight(name=backend.destination, weight=backend.weight)


def _retry_policy(retry: Retry) -> EnvoyRetryPolicy | None:
    """None where nothing would be retried: gRPC refuses a policy of no retries."""
    asked = retry.on or (() if retry.status_codes else ("unavailable",))
    on = tuple(dict.fromkeys(RETRY_CONDITIONS[each] for each in asked if each in RETRY_CONDITIONS))
    if not on or retry.attempts < 1:
        return None
    return EnvoyRetryPolicy(retry_on=",".join(on), num_retries=retry.attempts, retry_back_off=back_off(retry))


def cluster(destination: Destination) -> Cluster:
    """The cluster of a destination, for a client.

    gRPC knows round robin and ring hash: consistent hashes are the latter, all else is the former. It knows no fixed
    list either: a static destination asks for its endpoints by EDS. Raises ValueError for an original destination.
    """
    if destination.discovery == "original":
        raise ValueError(f"{destination.name}: a gRPC client dials no address of its own")
    connection = destination.connection
    balancer = connection.load_balancer
    found = Cluster(
        name=destination.name,
        type=ClusterDiscoveryType.EDS,
        circuit_breakers=_circuit_breakers(connection.circuit_breaker.max_requests),
    )
    if balancer.type in _HASHING:
        found.lb_policy = ClusterLbPolicy.RING_HASH
        found.ring_hash_lb_config = load_balancing.ring_hash(balancer)
    if destination.discovery == "dns":
        found.type = ClusterDiscoveryType.LOGICAL_DNS
        found.load_assignment = eds.fixed(destination.name, (Endpoint(destination.dns_name, destination.dns_port),))
    else:
        found.eds_cluster_config = ClusterEdsClusterConfig(eds_config=ADS, service_name=destination.name)
    outliers = connection.outlier_detection
    if outliers is not None and resilience.is_statistical(outliers):
        statistical = replace(
            outliers,
            consecutive_5xx=None,
            consecutive_gateway_errors=None,
            consecutive_local_origin_failures=None,
        )
        found.outlier_detection = resilience.outlier_detection(statistical)
    return found


def _circuit_breakers(max_requests: int | None) -> CircuitBreakers:
    """GRPC has one limit, and like Envoy one of 1,024 where nothing is said."""
    limit = resilience.UNLIMITED if max_requests is None else max_requests
    return CircuitBreakers(thresholds=[CircuitBreakersThresholds(max_requests=limit)])


def server_listener(host: str, port: int) -> Listener:
    """What a gRPC server that listens on `host:port` asks for: all requests are its own."""
    name = names.grpc_server(host, port)
    routes = RouteConfiguration(
        name=name,
        virtual_hosts=[
            EnvoyVirtualHost(
                name="any",
                domains=["*"],
                routes=[EnvoyRoute(match=RouteMatch(prefix=""), non_forwarding_action=NonForwardingAction())],
            )
        ],
    )
    manager = HttpConnectionManager(stat_prefix=name, route_config=routes, http_filters=_SERVER_FILTERS)
    return Listener(
        name=name,
        address=socket_address(host, port),
        filter_chains=[
            FilterChain(name="grpc", filters=[Filter(name=http_connection_manager.NAME, typed_config=packed(manager))])
        ],
        traffic_direction=TrafficDirection.INBOUND,
    )
