"""The model of where traffic can go: a destination (a port of a service, or a subset of it) and how to connect to it.

Place in the flow: derived from Services, slices and policies by `mesh.service` and `mesh.traffic`; read by
`translators.cds` and `translators.eds`. Knows no Envoy. Durations are `timedelta`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from xdscp.resources.core import Key

Protocol = Literal["http", "http2", "tcp"]
"""What a port speaks: HTTP/1.1, HTTP/2 with prior knowledge (gRPC too), or opaque bytes."""


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    region: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a destination. `draining`: no new traffic, connections are not cut."""

    address: str
    port: int
    locality: Locality = Locality()
    draining: bool = False
    weight: int = 1
    additional_addresses: tuple[str, ...] = ()
    hostname: str = ""
    hint_zones: tuple[str, ...] = ()
    node: str = ""
    workload: Key | None = None
    """The Pod or Workload behind it, where known."""


@dataclass(frozen=True, slots=True)
class LocalityEndpoints:
    """The endpoints of one locality at one priority (0 is tried first); priorities are contiguous from 0."""

    locality: Locality
    priority: int
    weight: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Hash:
    """What a consistent hash is made of."""

    source: Literal["header", "cookie", "sourceIP", "query"]
    name: str = ""
    ttl: timedelta | None = None
    path: str = ""
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    type: Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"] = "LeastRequest"
    hashes: tuple[Hash, ...] = ()
    slow_start: timedelta | None = None
    slow_start_aggression: float | None = None
    choice_count: int | None = None
    """LeastRequest: how many are compared."""
    minimum_ring_size: int | None = None
    maximum_ring_size: int | None = None
    table_size: int | None = None
    """Maglev."""
    panic_threshold: int | None = None
    """Percent of healthy endpoints under which all are used; None is Envoy's 50."""


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None
    retry_budget_percent: float | None = None
    retry_budget_minimum: int | None = None
    """How many retries are always allowed with a budget."""


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_local_origin_failures: int | None = None
    interval: timedelta | None = None
    base_ejection: timedelta | None = None
    max_ejection: timedelta | None = None
    max_ejection_percent: int | None = None
    minimum_hosts: int | None = None
    """Success rate and failure percentage ejection need at least so many hosts."""
    failure_percentage_threshold: int | None = None
    success_rate_stdev_factor: int | None = None
    """Thousandths."""


@dataclass(frozen=True, slots=True)
class TcpKeepalive:
    probes: int | None = None
    time: timedelta | None = None
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Of the connections to the destination."""

    max_requests_per_connection: int | None = None
    idle_timeout: timedelta | None = None
    max_connection_duration: timedelta | None = None
    max_concurrent_streams: int | None = None
    initial_stream_window: int | None = None
    """Bytes; HTTP/2."""
    initial_connection_window: int | None = None
    keepalive_interval: timedelta | None = None
    keepalive_timeout: timedelta | None = None
    preserve_header_case: bool = False
    """HTTP/1.1."""
    accept_http_10: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect to a destination: the part of a TrafficPolicy that is not routing."""

    connect_timeout: timedelta = timedelta(seconds=5)
    load_balancer: LoadBalancer = LoadBalancer()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    outlier_detection: OutlierDetection | None = None
    tcp_keepalive: TcpKeepalive | None = None
    http: HttpOptions = HttpOptions()
    upgrade_http2: bool | None = None
    """True: HTTP/2 to the destination whatever the port says; False: HTTP/1.1; None: as the port says."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What becomes a cluster.

    `discovery`: endpoints by EDS, by DNS (`dns_name`, `dns_port`), as a fixed list (`static`: name and endpoints are
    the destination's own), or the address that the client dialled (`original`).
    """

    name: str
    """The resource name; see `translators.names`."""
    discovery: Literal["eds", "dns", "static", "original"]
    protocol: Protocol
    connection: Connection = Connection()
    dns_name: str = ""
    dns_port: int = 0
    dns_family: Literal["V4Preferred", "Auto", "All"] = "V4Preferred"
    """Which addresses of `dns_name` count: IPv4, or IPv6 where there is none; the other way round; both."""
    endpoints: tuple[Endpoint, ...] = ()
    locality_weighted: bool = False
    tls_sni: str = ""
    """Origination of TLS to an external service: the SNI, checked against the system roots."""
