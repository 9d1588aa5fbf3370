"""The model of routing: what a request is matched by, and what is done with it.

Place in the flow: TrafficPolicies and HTTPRoutes become these values in `mesh.traffic`; `translators.rds` makes Envoy
routes of them. Knows no Envoy. Durations are `timedelta`, percentages are of 100 and may be fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from xdscp.mesh.destination import Hash

MatchType = Literal["Exact", "PathPrefix", "RegularExpression"]


@dataclass(frozen=True, slots=True)
class PathMatch:
    """`PathPrefix` matches whole path elements, as in Gateway API: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`."""

    type: MatchType
    value: str


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A header (name in lower case) or query parameter; `Present` asks only that it is there, `invert` negates."""

    name: str
    type: Literal["Exact", "Prefix", "Suffix", "RegularExpression", "Present"]
    value: str = ""
    invert: bool = False


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """All given parts must match. `method` is an HTTP method; `grpc` asks for a gRPC request."""

    path: PathMatch = PathMatch("PathPrefix", "/")
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    method: str = ""
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Values are literal text; the translator escapes `%` (Envoy reads header values as format strings)."""

    add: tuple[tuple[str, str], ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """A weighted destination by its resource name."""

    destination: str
    weight: int = 1
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()


@dataclass(frozen=True, slots=True)
class Rewrite:
    host: str = ""
    path_prefix: str | None = None
    """Replaces the matched prefix."""
    path_full: str | None = None
    """Replaces the whole path."""
    path_regex: str = ""
    path_substitution: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    attempts: int
    """Retries after the first try."""
    on: tuple[str, ...] = ()
    """Envoy's retry conditions, both HTTP and gRPC, e.g. `5xx`, `reset`, `unavailable`."""
    status_codes: tuple[int, ...] = ()
    per_try_timeout: timedelta | None = None
    backoff: timedelta | None = None
    backoff_max: timedelta | None = None
    other_host: bool = True
    """Prefer a host that was not tried yet."""


@dataclass(frozen=True, slots=True)
class Mirror:
    destination: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Forward:
    """Send to one of `backends` by weight. `timeout` None: no timeout; zero weights are never chosen."""

    backends: tuple[Backend, ...]
    timeout: timedelta | None = None
    idle_timeout: timedelta | None = None
    retry: Retry | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    hashes: tuple[Hash, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path_full: str | None = None
    path_prefix: str | None = None
    code: Literal[301, 302, 303, 307, 308] = 302


@dataclass(frozen=True, slots=True)
class DirectResponse:
    code: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Given to a percentage of the requests; abort by HTTP status or gRPC status."""

    delay: timedelta | None = None
    delay_percent: float = 0.0
    abort_http: int | None = None
    abort_grpc: int | None = None
    abort_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Cors:
    allow_origins: tuple[ValueMatch, ...] = ()
    """Names are empty; types Exact, Prefix, Suffix or RegularExpression."""
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: timedelta | None = None
    allow_credentials: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One or more alternative matches and one action; first match wins."""

    name: str
    matches: tuple[RequestMatch, ...]
    action: Forward | Redirect | DirectResponse
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    fault: Fault | None = None
    cors: Cors | None = None


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one service port under its host names (`domains`, each unique in its route table)."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where the connections to a TCP service go."""

    name: str
    backends: tuple[Backend, ...]
    idle_timeout: timedelta | None = None
    hash_source_ip: bool = False
