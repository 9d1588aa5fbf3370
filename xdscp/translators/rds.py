"""Routes: model to virtual hosts and route tables.

A route table is small and constant; its virtual hosts are resources of their own (VHDS), so a changed route is one
small push. Clients that cannot do so get the whole table, joined from the same encoded virtual hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from envoy_data_plane.envoy.config.route.v3 import Route as EnvoyRoute
from envoy_data_plane.envoy.config.route.v3 import (
    RouteConfiguration,
    RouteMatch,
    Vhds,
)
from envoy_data_plane.envoy.config.route.v3 import VirtualHost as EnvoyVirtualHost
from envoy_data_plane.google.protobuf import Any

from xdscp.mesh.listening import EgressMode
from xdscp.mesh.routing import (
    Backend,
    DirectResponse,
    Forward,
    PathMatch,
    Redirect,
    RequestMatch,
    Route,
    ValueMatch,
    VirtualHost,
)
from xdscp.translators import headers, matching, names, route_action
from xdscp.translators.config_source import ADS
from xdscp.translators.construct import unchecked
from xdscp.translators.encode import encode, packed
from xdscp.translators.filters import cors, fault
from xdscp.translators.wire import embedded

DIRECT_RESPONSE_LIMIT: Final = 64 * 1024
"""Bytes of a direct response's body; Envoy's own limit is 4,096, and a longer body makes it refuse the resource."""

UNKNOWN_HOST: Final = DirectResponse(502, "unknown host\n")
NO_BACKEND: Final = DirectResponse(500, "no backend\n")
"""All backends have weight zero; the code is the one that Gateway API asks for."""

_VIRTUAL_HOSTS_FIELD: Final = 2
"""RouteConfiguration.virtual_hosts"""

_virtual_host = unchecked(EnvoyVirtualHost)
_envoy_route = unchecked(EnvoyRoute)


def virtual_host(host: VirtualHost) -> EnvoyVirtualHost:
    """The routes of one service's port; the resource is named like the virtual host.

    Raises ValueError where Envoy has no words for a match.
    """
    return _virtual_host(
        name=host.name,
        domains=list(host.domains),
        routes=[envoy_route for route in host.routes for envoy_route in routes(route)],
    )


def routes(route: Route) -> Iterator[EnvoyRoute]:
    """One Envoy route a match; with cross-origin rules, one more for the preflight of a match that names its method."""
    per_filter = _per_filter(route)
    route = _edits_in_backends(route)
    for match in route.matches:
        yield _route(route, match, per_filter)
        if route.cors is not None and match.method and match.method != "OPTIONS":
            yield _route(route, _preflight(match), per_filter)


def _edits_in_backends(route: Route) -> Route:
    """The route, with its header edits in its backends where a backend has some of its own."""
    action = route.action
    if not isinstance(action, Forward) or not route_action.edits_headers(action.backends):
        return route
    backends = tuple(
        route_action.with_route_edits(backend, route.request_headers, route.response_headers)
        for backend in action.backends
    )
    return replace(
        route,
        action=replace(action, backends=backends),
        request_headers=route_action.NO_EDITS,
        response_headers=route_action.NO_EDITS,
    )


def _preflight(match: RequestMatch) -> RequestMatch:
    """A browser asks by OPTIONS first, naming the method, and sends none of the headers or the gRPC content type."""
    asked = ValueMatch("access-control-request-method", "Exact", match.method)
    return replace(match, method="OPTIONS", headers=(asked,), grpc=False)


def _route(route: Route, match: RequestMatch, per_filter: dict[str, Any]) -> EnvoyRoute:
    found = _envoy_route(
        name=route.name,
        match=matching.request(match),
        request_headers_to_add=headers.options(route.request_headers),
        request_headers_to_remove=list(route.request_headers.remove),
        response_headers_to_add=headers.options(route.response_headers),
        response_headers_to_remove=list(route.response_headers.remove),
        typed_per_filter_config=per_filter,
    )
    _act(found, route.action, match.path)
    return found


def _act(found: EnvoyRoute, action: Forward | Redirect | DirectResponse, path: PathMatch) -> None:
    match action:
        case Forward() if route_action.weighted(action.backends):
            found.route = route_action.forward(action, path)
        case Forward():
            found.direct_response = route_action.direct_response(NO_BACKEND)
        case Redirect():
            found.redirect = route_action.redirect(action, path)
        case DirectResponse():
            found.direct_response = route_action.direct_response(action)


def _per_filter(route: Route) -> dict[str, Any]:
    """Only for the filters that the route uses."""
    found: dict[str, Any] = {}
    if route.cors is not None:
        found[cors.NAME] = packed(cors.policy(route.cors))
    if route.fault is not None:
        found[fault.NAME] = packed(fault.policy(route.fault))
    return found


def catch_all(table: int | str, egress: EgressMode) -> EnvoyVirtualHost:
    """The virtual host of hosts that no service has: passed through, or refused with 502."""
    action: Forward | DirectResponse = Forward((Backend(names.PASSTHROUGH),)) if egress == "allow" else UNKNOWN_HOST
    found = _envoy_route(name="any", match=RouteMatch(prefix="/"))
    _act(found, action, PathMatch("PathPrefix", "/"))
    return _virtual_host(name=names.catch_all(table), domains=["*"], routes=[found])


def route_table(table: int | str, virtual_hosts: Iterable[EnvoyVirtualHost] | None = None) -> RouteConfiguration:
    """Route table of a port number or of the explicit mode; its virtual hosts come by VHDS when not given."""
    return RouteConfiguration(
        name=names.route_table(table),
        virtual_hosts=list(virtual_hosts or ()),
        vhds=Vhds(config_source=ADS) if virtual_hosts is None else None,
        # An unknown cluster must not take the table down; order of delivery sees to it that there is none.
        validate_clusters=False,
        max_direct_response_body_size_bytes=DIRECT_RESPONSE_LIMIT,
        # Interception: the port is the listener's, whatever the host header says. Explicit: one table for all ports.
        ignore_port_in_host_matching=table != names.EXPLICIT,
    )


def route_table_bytes(table: int | str, bodies: Iterable[bytes]) -> bytes:
    """Bytes of `route_table(table, virtual hosts)` from the virtual hosts' own bytes; fields may come in any order."""
    return encode(route_table(table, ())) + b"".join(embedded(_VIRTUAL_HOSTS_FIELD, body) for body in bodies)
