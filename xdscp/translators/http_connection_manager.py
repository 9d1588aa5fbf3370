"""The network filter that reads HTTP and routes each request: one shape for each place where it stands.

Outbound it is invisible: what the application sent arrives as it was sent. Inbound paths are normalised, since access
policies match them. At a gateway the client is a stranger, so Envoy's advice for edge proxies holds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerPathWithEscapedSlashesAction,
    HttpConnectionManagerServerHeaderTransformation,
    HttpConnectionManagerUpgradeConfig,
    Rds,
)

from xdscp.mesh.listening import Downstream
from xdscp.translators import access_log, upstream_http
from xdscp.translators.config_source import ADS
from xdscp.translators.durations import NONE
from xdscp.translators.encode import packed
from xdscp.translators.filters import EXPLICIT_FILTERS, FILTERS, INBOUND_FILTERS

NAME: Final = "envoy.filters.network.http_connection_manager"

EDGE_HEADERS_TIMEOUT: Final = timedelta(seconds=10)
EDGE_STREAM_IDLE_TIMEOUT: Final = timedelta(minutes=5)
EDGE_IDLE_TIMEOUT: Final = timedelta(hours=1)
EDGE_CONCURRENT_STREAMS: Final = 100
EDGE_STREAM_WINDOW: Final = 65_536
EDGE_CONNECTION_WINDOW: Final = 1_048_576
"""Bytes. All six: Envoy's "Configuring Envoy as an edge proxy"."""

_WEBSOCKET: Final = [HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")]
_FILTERS: Final = list(FILTERS)
_EXPLICIT_FILTERS: Final = list(EXPLICIT_FILTERS)
_INBOUND_FILTERS: Final = list(INBOUND_FILTERS)


def outbound(table: str, downstream: Downstream) -> Filter:
    """Requests of the workload's own application, routed by the table `table`."""
    return _filter(_outbound(table, downstream))


def explicit(table: str, downstream: Downstream) -> Filter:
    """As `outbound`, for an application that sends its requests to Envoy knowingly."""
    found = _outbound(table, downstream)
    found.http_filters = _EXPLICIT_FILTERS
    return _filter(found)


def _outbound(table: str, downstream: Downstream) -> HttpConnectionManager:
    found = _sidecar(table, downstream)
    found.rds = Rds(config_source=ADS, route_config_name=table)
    found.http_filters = _FILTERS
    # `reviews.shop.svc.cluster.local.` is the same host as without its dot.
    found.strip_trailing_host_dot = True
    # No path is normalised: a signed URL, or a key with `//` in an object store, must arrive as it was written.
    found.normalize_path = False
    return found


def inbound(routes: RouteConfiguration, downstream: Downstream) -> Filter:
    """Requests of peers to the workload's application; `routes` stand in the filter, since they never change."""
    found = _sidecar(routes.name, downstream)
    found.route_config = routes
    found.http_filters = _INBOUND_FILTERS
    found.normalize_path = True
    found.merge_slashes = True
    # `%2F` is not `/`: unescaping would change what applications with such names receive; policies see it as written.
    found.path_with_escaped_slashes_action = HttpConnectionManagerPathWithEscapedSlashesAction.KEEP_UNCHANGED
    return _filter(found)


def gateway(table: str, downstream: Downstream) -> Filter:
    """Requests of clients outside the mesh, routed by the table `table`."""
    found = _outbound(table, downstream)
    # The peer's address is the client's: it is written to x-forwarded-for, and what the client says of it is not trusted.
    found.use_remote_address = True
    found.preserve_external_request_id = False
    found.normalize_path = True
    found.merge_slashes = True
    found.path_with_escaped_slashes_action = HttpConnectionManagerPathWithEscapedSlashesAction.UNESCAPE_AND_REDIRECT
    found.request_headers_timeout = EDGE_HEADERS_TIMEOUT
    found.stream_idle_timeout = EDGE_STREAM_IDLE_TIMEOUT
    found.common_http_protocol_options = HttpProtocolOptions(
        idle_timeout=EDGE_IDLE_TIMEOUT,
        # Behind a gateway `x_user` may be read as `x-user`, past a check of the one with a dash.
        headers_with_underscores_action=HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST,
    )
    found.http2_protocol_options = Http2ProtocolOptions(
        max_concurrent_streams=EDGE_CONCURRENT_STREAMS,
        initial_stream_window_size=EDGE_STREAM_WINDOW,
        initial_connection_window_size=EDGE_CONNECTION_WINDOW,
    )
    return _filter(found)


def _sidecar(stat_prefix: str, downstream: Downstream) -> HttpConnectionManager:
    """What both directions of a sidecar share: nothing that an application would notice."""
    return HttpConnectionManager(
        stat_prefix=stat_prefix,
        upgrade_configs=_WEBSOCKET,
        http_protocol_options=_http1(downstream),
        access_log=access_log.http(downstream.access_log),
        generate_request_id=True,
        # A trace goes through many sidecars under the one id that it came with.
        preserve_external_request_id=True,
        # The peer is a sidecar or the application itself; x-forwarded-for is the gateway's to write.
        use_remote_address=False,
        server_header_transformation=HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH,
        # Envoy's five minutes would end idle watches and server streams; a route can set its own idle timeout.
        stream_idle_timeout=NONE,
    )


def _http1(downstream: Downstream) -> Http1ProtocolOptions | None:
    if not downstream.accept_http_10 and not downstream.preserve_header_case:
        return None
    return Http1ProtocolOptions(
        accept_http_10=downstream.accept_http_10,
        header_key_format=upstream_http.PRESERVE_CASE if downstream.preserve_header_case else None,
    )


def _filter(manager: HttpConnectionManager) -> Filter:
    return Filter(name=NAME, typed_config=packed(manager))
