"""The connection parts of a TrafficPolicy as values of the model; pure.

Place in the flow: `mesh.traffic.connection_of` picks the parts that count and puts together what these functions give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdscp.mesh.destination import (
    CircuitBreaker,
    Connection,
    Hash,
    HttpOptions,
    LoadBalancer,
    OutlierDetection,
    TcpKeepalive,
)

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api import connection as api

VERSIONS = {"Auto": None, "HTTP1": False, "HTTP2": True}
"""`connection.http.version` as `Connection.upgrade_http2`."""


def load_balancer(part: api.LoadBalancer) -> LoadBalancer:
    """`loadBalancer`; its locality is read by `mesh.traffic.locality_mode_of`."""
    ring = part.ring_size
    return LoadBalancer(
        part.type,
        tuple(map(hash_source, part.hash)),
        part.slow_start,
        part.slow_start_aggression,
        part.choice_count,
        ring.min if ring is not None else None,
        ring.max if ring is not None else None,
        part.table_size,
        part.panic_threshold,
    )


def hash_source(part: api.Hash) -> Hash:
    """One entry of `loadBalancer.hash`."""
    if part.header is not None:
        return Hash("header", part.header, terminal=part.terminal)
    if part.cookie is not None:
        return Hash("cookie", part.cookie.name, part.cookie.ttl, part.cookie.path or "", terminal=part.terminal)
    if part.query is not None:
        return Hash("query", part.query, terminal=part.terminal)
    return Hash("sourceIP", terminal=part.terminal)


def circuit_breaker(part: api.CircuitBreaker) -> CircuitBreaker:
    """`circuitBreaker`, without a retry budget."""
    return CircuitBreaker(part.max_connections, part.max_pending_requests, part.max_requests, part.max_retries)


def outlier_detection(part: api.OutlierDetection) -> OutlierDetection:
    """`outlierDetection`."""
    return OutlierDetection(
        consecutive_5xx=part.consecutive_5xx,
        consecutive_gateway_errors=part.consecutive_gateway_errors,
        consecutive_local_origin_failures=part.consecutive_local_origin_failures,
        interval=part.interval,
        base_ejection=part.base_ejection,
        max_ejection=part.max_ejection,
        max_ejection_percent=part.max_ejection_percent,
        minimum_hosts=part.minimum_hosts,
        failure_percentage_threshold=part.failure_percentage_threshold,
        success_rate_stdev_factor=part.success_rate_stdev_factor,
    )


def tcp_keepalive(part: api.TcpKeepalive) -> TcpKeepalive:
    """`connection.tcpKeepalive`."""
    return TcpKeepalive(part.probes, part.time, part.interval)


def http_options(part: api.HttpConnection) -> HttpOptions:
    """`connection.http`, but for the version."""
    keepalive = part.keepalive
    return HttpOptions(
        max_requests_per_connection=part.max_requests_per_connection,
        idle_timeout=part.idle_timeout,
        max_connection_duration=part.max_connection_duration,
        max_concurrent_streams=part.max_concurrent_streams,
        initial_stream_window=part.initial_stream_window,
        initial_connection_window=part.initial_connection_window,
        keepalive_interval=keepalive.interval if keepalive is not None else None,
        keepalive_timeout=keepalive.timeout if keepalive is not None else None,
        preserve_header_case=part.preserve_header_case,
    )


def connection(part: api.Connection) -> Connection:
    """`connection`: options of connections; the other parts are at their defaults."""
    http = part.http
    return Connection(
        connect_timeout=part.connect_timeout or Connection().connect_timeout,
        tcp_keepalive=tcp_keepalive(part.tcp_keepalive) if part.tcp_keepalive is not None else None,
        http=http_options(http) if http is not None else HttpOptions(),
        upgrade_http2=VERSIONS[http.version] if http is not None else None,
    )
