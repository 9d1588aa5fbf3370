"""A route of a TrafficPolicy as a route of the model; pure, but for `Resolver`, which finds the destinations.

Place in the flow: `mesh.traffic` gives the routes that count for a port, and a resolver that knows the services.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from xdscp.mesh.destination import Hash
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
)

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api import edits, matches, routes

Resolver = Callable[["routes.BackendReference", str], str | None]
"""The destination's name of a reference in the field of that path; None (and a problem noted) when there is none."""

NO_BACKEND = DirectResponse(500, "no backend of the route exists\n")
"""Gateway API's answer where a route's backends do not exist."""

ANY = RequestMatch()


def request_match(part: matches.Match) -> RequestMatch:
    """One entry of `matches`."""
    headers = tuple(ValueMatch(each.name, each.type, each.value or "", each.invert) for each in part.headers)
    query = tuple(ValueMatch(each.name, each.type, each.value or "") for each in part.query_params)
    if part.grpc is not None:
        return RequestMatch(_grpc_path(part.grpc), headers, query, grpc=True)
    return RequestMatch(_path(part.path) if part.path is not None else ANY.path, headers, query, part.method or "")


def _path(part: matches.PathMatch) -> PathMatch:
    """A prefix is of whole elements, so a slash at its end says nothing."""
    return PathMatch(part.type, part.value.rstrip("/") or "/" if part.type == "PathPrefix" else part.value)


def _grpc_path(part: matches.GrpcMatch) -> PathMatch:
    if part.service is None and part.method is None:
        return ANY.path
    if part.type == "Exact" and part.service is not None:
        if part.method is None:
            return PathMatch("PathPrefix", f"/{part.service}")
        return PathMatch("Exact", f"/{part.service}/{part.method}")
    return PathMatch("RegularExpression", part.path_pattern)


def header_edits(part: edits.HeaderEdits) -> HeaderEdits:
    """`requestHeaders` and `responseHeaders`, of routes and backends."""
    return HeaderEdits(
        tuple((header.name, header.value) for header in part.add),
        tuple((header.name, header.value) for header in part.set),
        part.remove,
    )


def rewrite(part: edits.Rewrite) -> Rewrite:
    """`rewrite`."""
    path = part.path
    if path is None:
        return Rewrite(part.hostname or "")
    return Rewrite(
        part.hostname or "",
        path.replace_prefix_match,
        path.replace_full_path,
        path.pattern or "",
        path.substitution or "",
    )


def redirect(part: edits.Redirect) -> Redirect:
    """`redirect`."""
    path = part.path
    return Redirect(
        part.scheme or "",
        part.hostname or "",
        part.port,
        path.replace_full_path if path is not None else None,
        path.replace_prefix_match if path is not None else None,
        part.status_code,
    )


def fault(part: routes.Fault) -> Fault:
    """`fault`."""
    delay, abort = part.delay, part.abort
    return Fault(
        delay.duration if delay is not None else None,
        delay.percent if delay is not None else 0.0,
        abort.http_status if abort is not None else None,
        abort.grpc_status if abort is not None else None,
        abort.percent if abort is not None else 0.0,
    )


def cors(part: edits.Cors) -> Cors:
    """`cors`; a wildcard in an origin stands for any number of host labels."""
    return Cors(
        tuple(map(_origin, part.allow_origins)),
        part.allow_methods,
        part.allow_headers,
        part.expose_headers,
        part.max_age,
        part.allow_credentials,
    )


def _origin(origin: str) -> ValueMatch:
    if origin == "*":
        return ValueMatch("", "RegularExpression", ".*")
    if "*" in origin:
        return ValueMatch("", "RegularExpression", re.escape(origin).replace(r"\*", r"[^/:]+").replace(r"\-", "-"))
    return ValueMatch("", "Exact", origin)


def retry(part: routes.Retry | None, timeouts: routes.Timeouts | None) -> Retry | None:
    """`retry`, with `timeouts.perTry`; None when nothing is tried again."""
    if part is None or not part.attempts:
        return None
    per_try = (timeouts.per_try or None) if timeouts is not None else None
    return Retry(part.attempts, part.retry_on, part.codes, per_try, part.backoff, part.backoff_max)


def backends(part: routes.Route, field: str, resolve: Resolver) -> tuple[Backend, ...]:
    """The backends that exist."""
    found = []
    for position, backend in enumerate(part.backends):
        destination = resolve(backend, f"{field}.backends[{position}]")
        if destination is not None:
            edits = header_edits(backend.request_headers), header_edits(backend.response_headers)
            found.append(Backend(destination, backend.weight, *edits))
    return tuple(found)


def mirrors(part: routes.Route, field: str, resolve: Resolver) -> tuple[Mirror, ...]:
    """The mirrors that exist."""
    found = []
    for position, mirror in enumerate(part.mirrors):
        destination = resolve(mirror, f"{field}.mirrors[{position}]")
        if destination is not None:
            found.append(Mirror(destination, mirror.percent))
    return tuple(found)


def forward(
    part: routes.Route, chosen: tuple[Backend, ...], copies: tuple[Mirror, ...], default: routes.Retry | None
) -> Forward | DirectResponse:
    """Sends to the backends chosen, or answers 500 when none of them has a share."""
    if not any(backend.weight for backend in chosen):
        return NO_BACKEND
    timeouts = part.timeouts
    return Forward(
        chosen,
        timeout=timeouts.request or None,
        idle_timeout=timeouts.idle,
        retry=retry(part.retry if part.retry is not None else default, timeouts),
        rewrite=rewrite(part.rewrite) if part.rewrite is not None else None,
        mirrors=copies,
    )


def route(part: routes.Route, name: str, action: Forward | Redirect | DirectResponse) -> Route:
    """A route with its action."""
    return Route(
        name,
        tuple(map(request_match, part.matches)) or (ANY,),
        action,
        header_edits(part.request_headers),
        header_edits(part.response_headers),
        fault(part.fault) if part.fault is not None else None,
        cors(part.cors) if part.cors is not None else None,
    )


def answer(part: routes.Route) -> Redirect | DirectResponse | None:
    """What the proxy itself answers; None where the request is sent on."""
    if part.redirect is not None:
        return redirect(part.redirect)
    if part.direct_response is not None:
        return DirectResponse(part.direct_response.status, part.direct_response.body)
    return None


def joined_hashes(hashes: list[tuple[Hash, ...]]) -> tuple[Hash, ...]:
    """The hash sources of all backends of a route, each once."""
    return tuple(dict.fromkeys(source for each in hashes for source in each))
