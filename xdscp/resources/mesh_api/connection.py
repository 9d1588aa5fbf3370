"""How to connect to a service: load balancing, circuit breaking, outlier detection, connections.

Place in the flow: parts of `traffic_policy.TrafficPolicySpec`; `mesh.policy_connection` makes
`mesh.destination.Connection` of them.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import (
    Count,
    Duration,
    Flag,
    HeaderName,
    KernelSeconds,
    PositiveCount,
    PositiveDuration,
    Text,
    WholePercent,
)
from xdscp.resources.mesh_api.part import Part, envoy, refusal

_NAME = Annotated[str, Text("a name without spaces", r"[\x21-\x7e]+", 256)]
_COOKIE_NAME = Annotated[str, Text("a cookie's name", r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", 256)]
_COOKIE_PATH = Annotated[str, Text("a path that begins with /, without ;", r"/[\x21-\x3a\x3c-\x7e]*", 1024)]

BASE_EJECTION = timedelta(seconds=30)
"""Envoy's, where a policy names none."""
LARGEST_RING = 8_388_608
LARGEST_TABLE = 5_000_011
_Ring = Annotated[int, Field(strict=True, ge=1, le=LARGEST_RING)]
_Window = Annotated[int, Field(strict=True, ge=65_535, le=2**31 - 1)]


class Cookie(Part):
    """A cookie that names the endpoint; the proxy sets it where a client has none and `ttl` is given."""

    name: _COOKIE_NAME = Field(description="The cookie's name.", json_schema_extra=envoy("HashPolicy.Cookie.name"))
    ttl: Duration | None = Field(
        None,
        description="How long a cookie that the proxy sets lives; `0s`: a session; left out: none is set.",
        json_schema_extra=envoy("HashPolicy.Cookie.ttl"),
    )
    path: _COOKIE_PATH | None = Field(
        None, description="The path of a cookie that the proxy sets.", json_schema_extra=envoy("HashPolicy.Cookie.path")
    )


class Hash(Part):
    """What a consistent hash is made of: exactly one of header, cookie, sourceIP and query."""

    header: HeaderName | None = Field(
        None, description="A request header.", json_schema_extra=envoy("HashPolicy.Header.header_name")
    )
    cookie: Cookie | None = Field(None, description="A cookie.")
    source_ip: Flag | None = Field(
        None,
        alias="sourceIP",
        description="The client's address; the only hash that a TCP port can use.",
        json_schema_extra=envoy("HashPolicy.ConnectionProperties.source_ip"),
    )
    query: _NAME | None = Field(
        None, description="A query parameter.", json_schema_extra=envoy("HashPolicy.QueryParameter.name")
    )
    terminal: Flag = Field(
        default=False,
        description="Where this one is found, those after it are not looked at.",
        json_schema_extra=envoy("HashPolicy.terminal"),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [self.header, self.cookie, self.source_ip or None, self.query]
        if sum(source is not None for source in given) != 1:
            raise refusal("needs exactly one of header, cookie, sourceIP: true and query")
        return self


class RingSize(Part):
    """Bounds of the hash ring."""

    min: _Ring | None = Field(
        None,
        description="Smallest ring; left out: 1024.",
        json_schema_extra=envoy("RingHashLbConfig.minimum_ring_size"),
    )
    max: _Ring | None = Field(
        None,
        description="Largest ring; left out: 8388608.",
        json_schema_extra=envoy("RingHashLbConfig.maximum_ring_size"),
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if (self.min or 1024) > (self.max or LARGEST_RING):
            raise refusal("min (left out: 1024) must not be above max")
        return self


class LocalityBalancing(Part):
    """How zones and regions count."""

    mode: Literal["Failover", "Weighted", "None"] = Field(
        "Failover",
        description="`Failover`: the client's own zone first, then its region, then all; the next takes over as endpoints "
        "fail. `Weighted`: all zones, by their weights. `None`: zones do not count.",
        json_schema_extra=envoy("LocalityLbEndpoints.priority, load_balancing_weight"),
    )


class LoadBalancer(Part):
    """How an endpoint is chosen."""

    type: Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"] = Field(
        "LeastRequest",
        description="`RingHash` and `Maglev` keep a client on an endpoint by `hash`.",
        json_schema_extra=envoy("Cluster.load_balancing_policy"),
    )
    hash: tuple[Hash, ...] = Field(
        (),
        max_length=16,
        description="What the hash is made of; those found are combined.",
        json_schema_extra=envoy("RouteAction.hash_policy"),
    )
    slow_start: PositiveDuration | None = Field(
        None,
        description="A new endpoint gets its full share after this time. For `RoundRobin` and `LeastRequest`.",
        json_schema_extra=envoy("SlowStartConfig.slow_start_window"),
    )
    slow_start_aggression: Annotated[float, Field(strict=True, ge=0.1, le=100)] | None = Field(
        None,
        description="How the share grows: 1 is linear, above 1 is faster at first. Needs `slowStart`.",
        json_schema_extra=envoy("SlowStartConfig.aggression"),
    )
    choice_count: Annotated[int, Field(strict=True, ge=2, le=1000)] | None = Field(
        None,
        description="For `LeastRequest`: how many endpoints are compared; left out: 2.",
        json_schema_extra=envoy("LeastRequest.choice_count"),
    )
    ring_size: RingSize | None = Field(None, description="For `RingHash`: bounds of the ring.")
    table_size: Annotated[int, Field(strict=True, ge=2, le=LARGEST_TABLE)] | None = Field(
        None,
        description="For `Maglev`: size of the table, a prime number; left out: 65537.",
        json_schema_extra=envoy("Maglev.table_size"),
    )
    panic_threshold: WholePercent | None = Field(
        None,
        description="Below so many healthy endpoints of a hundred, the unhealthy ones are used too; left out: 50; 0: never.",
        json_schema_extra=envoy("CommonLbConfig.healthy_panic_threshold"),
    )
    locality: LocalityBalancing | None = Field(
        None, description="How zones and regions count; left out: as the Service's `trafficDistribution` says."
    )

    @model_validator(mode="after")
    def _fields_fit_type(self) -> Self:
        hashing = self.type in {"RingHash", "Maglev"}
        if hashing != bool(self.hash):
            raise refusal("type {type} {need} hash", type=self.type, need="needs" if hashing else "takes no")
        for field, given, types in (
            ("slowStart", self.slow_start, ("RoundRobin", "LeastRequest")),
            ("choiceCount", self.choice_count, ("LeastRequest",)),
            ("ringSize", self.ring_size, ("RingHash",)),
            ("tableSize", self.table_size, ("Maglev",)),
        ):
            if given is not None and self.type not in types:
                raise refusal("{field} is for {types} only", field=field, types=" and ".join(types))
        if self.slow_start_aggression is not None and self.slow_start is None:
            raise refusal("slowStartAggression needs slowStart")
        return self

    @model_validator(mode="after")
    def _prime_table(self) -> Self:
        size = self.table_size
        if size is not None and any(
            size % low == 0 for low in takewhile(lambda low: low * low <= size, range(2, size))
        ):
            raise refusal("tableSize must be a prime number, such as 65537")
        return self


class CircuitBreaker(Part):
    """Bounds of what a proxy has open to the service at a time; what is above fails at once with 503.

    Left out: unbounded; for retries a budget of 20 percent of the active requests, and 10 in any case.
    """

    max_connections: PositiveCount | None = Field(
        None, description="Connections.", json_schema_extra=envoy("Thresholds.max_connections")
    )
    max_pending_requests: PositiveCount | None = Field(
        None,
        description="Requests that wait for a connection.",
        json_schema_extra=envoy("Thresholds.max_pending_requests"),
    )
    max_requests: PositiveCount | None = Field(
        None, description="Requests.", json_schema_extra=envoy("Thresholds.max_requests")
    )
    max_retries: Count | None = Field(
        None,
        description="Retries; without effect where a route gives a retry budget.",
        json_schema_extra=envoy("Thresholds.max_retries"),
    )


class OutlierDetection(Part):
    """Takes endpoints that fail out of use for a while. What is named here is looked at, and nothing else."""

    consecutive_5xx: PositiveCount | None = Field(
        None,
        description="Answers 5xx, or none, in a row; where nothing else is named: 5.",
        json_schema_extra=envoy("OutlierDetection.consecutive_5xx"),
    )
    consecutive_gateway_errors: PositiveCount | None = Field(
        None,
        description="Answers 502, 503, 504, or none, in a row.",
        json_schema_extra=envoy("OutlierDetection.consecutive_gateway_failure"),
    )
    consecutive_local_origin_failures: PositiveCount | None = Field(
        None,
        description="Failures to connect in a row, counted apart from answers; left out: counted as 5xx. Timeouts and "
        "resets count too, but a connection that is made begins the row anew: they matter where this is 1.",
        json_schema_extra=envoy(
            "OutlierDetection.consecutive_local_origin_failure, split_external_local_origin_errors"
        ),
    )
    interval: PositiveDuration | None = Field(
        None, description="How often is looked; left out: 10s.", json_schema_extra=envoy("OutlierDetection.interval")
    )
    base_ejection: PositiveDuration | None = Field(
        None,
        description="How long an endpoint is out, times how often it was; left out: 30s.",
        json_schema_extra=envoy("OutlierDetection.base_ejection_time"),
    )
    max_ejection: PositiveDuration | None = Field(
        None,
        description="Longest time out; left out: 300s or `baseEjection`, the longer.",
        json_schema_extra=envoy("OutlierDetection.max_ejection_time"),
    )
    max_ejection_percent: WholePercent | None = Field(
        None,
        description="At most so many endpoints of a hundred are out, but one may be unless this is 0; left out: 10.",
        json_schema_extra=envoy("OutlierDetection.max_ejection_percent"),
    )
    minimum_hosts: Count | None = Field(
        None,
        description="The two statistical detections need so many endpoints; left out: 5.",
        json_schema_extra=envoy("OutlierDetection.success_rate_minimum_hosts, failure_percentage_minimum_hosts"),
    )
    failure_percentage_threshold: WholePercent | None = Field(
        None,
        description="An endpoint is out when so many of a hundred requests failed.",
        json_schema_extra=envoy("OutlierDetection.failure_percentage_threshold"),
    )
    success_rate_stdev_factor: Count | None = Field(
        None,
        description="An endpoint is out when its success rate is this many thousandths of a standard deviation below the "
        "mean.",
        json_schema_extra=envoy("OutlierDetection.success_rate_stdev_factor"),
    )

    @model_validator(mode="after")
    def _ejections_in_order(self) -> Self:
        if self.max_ejection and self.max_ejection < (self.base_ejection or BASE_EJECTION):
            raise refusal("maxEjection must not be shorter than baseEjection, which left out is 30s")
        return self


class TcpKeepalive(Part):
    """Probes of idle TCP connections; left out: the kernel's values."""

    probes: Annotated[int, Field(strict=True, ge=1, le=127)] | None = Field(
        None,
        description="Unanswered probes after which a connection is dead.",
        json_schema_extra=envoy("TcpKeepalive.keepalive_probes"),
    )
    time: KernelSeconds | None = Field(
        None, description="Idle time before the first probe.", json_schema_extra=envoy("TcpKeepalive.keepalive_time")
    )
    interval: KernelSeconds | None = Field(
        None, description="Time between probes.", json_schema_extra=envoy("TcpKeepalive.keepalive_interval")
    )


class Http2Keepalive(Part):
    """HTTP/2 pings."""

    interval: PositiveDuration = Field(
        description="Time between pings.", json_schema_extra=envoy("KeepaliveSettings.interval")
    )
    timeout: PositiveDuration = Field(
        description="An answer must come in this time, else the connection is closed.",
        json_schema_extra=envoy("KeepaliveSettings.timeout"),
    )


class HttpConnection(Part):
    """Options of HTTP connections to the service."""

    version: Literal["Auto", "HTTP1", "HTTP2"] = Field(
        "Auto",
        description="`Auto`: as the Service's port says.",
        json_schema_extra=envoy("HttpProtocolOptions.explicit_http_config"),
    )
    max_requests_per_connection: PositiveCount | None = Field(
        None,
        description="Requests after which a connection is closed; left out: unbounded.",
        json_schema_extra=envoy("HttpProtocolOptions.max_requests_per_connection"),
    )
    idle_timeout: Duration | None = Field(
        None,
        description="A connection without requests is closed after this time; `0s`: never; left out: 1h.",
        json_schema_extra=envoy("HttpProtocolOptions.idle_timeout"),
    )
    max_connection_duration: PositiveDuration | None = Field(
        None,
        description="A connection is closed after this time; left out: unbounded.",
        json_schema_extra=envoy("HttpProtocolOptions.max_connection_duration"),
    )
    max_concurrent_streams: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = Field(
        None,
        description="HTTP/2: requests at a time on a connection.",
        json_schema_extra=envoy("Http2ProtocolOptions.max_concurrent_streams"),
    )
    initial_stream_window: _Window | None = Field(
        None,
        description="HTTP/2: bytes that a stream may receive ahead.",
        json_schema_extra=envoy("Http2ProtocolOptions.initial_stream_window_size"),
    )
    initial_connection_window: _Window | None = Field(
        None,
        description="HTTP/2: bytes that a connection may receive ahead.",
        json_schema_extra=envoy("Http2ProtocolOptions.initial_connection_window_size"),
    )
    keepalive: Http2Keepalive | None = Field(None, description="HTTP/2: pings.")
    preserve_header_case: Flag = Field(
        default=False,
        description="HTTP/1.1: header names keep the case that client and application wrote. The first policy that asks "
        "for it renews the listeners of all proxies, since they must remember the case.",
        json_schema_extra=envoy("Http1ProtocolOptions.header_key_format"),
    )


class Connection(Part):
    """Options of connections to the service."""

    connect_timeout: PositiveDuration | None = Field(
        None,
        description="Time to set up a connection; left out: as the MeshPolicy says, else 5s.",
        json_schema_extra=envoy("Cluster.connect_timeout"),
    )
    idle_timeout: Duration | None = Field(
        None,
        description="TCP ports: a connection on which nothing moves is closed after this time; left out or `0s`: never.",
        json_schema_extra=envoy("TcpProxy.idle_timeout"),
    )
    tcp_keepalive: TcpKeepalive | None = Field(
        None,
        description="TCP keepalive; left out: none.",
        json_schema_extra=envoy("UpstreamConnectionOptions.tcp_keepalive"),
    )
    http: HttpConnection | None = Field(None, description="Options of HTTP connections.")
