"""HTTP options of a cluster: which HTTP is spoken to its endpoints, and how its connections live."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http1ProtocolOptionsHeaderKeyFormat,
    Http2ProtocolOptions,
    KeepaliveSettings,
    TypedExtensionConfig,
    UpstreamHttpProtocolOptions,
)
from envoy_data_plane.envoy.config.core.v3 import HttpProtocolOptions as CommonHttpProtocolOptions
from envoy_data_plane.envoy.extensions.http.header_formatters.preserve_case.v3 import PreserveCaseFormatterConfig
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
    HttpProtocolOptionsUseDownstreamHttpConfig,
)
from envoy_data_plane.google.protobuf import Any

from xdscp.mesh.destination import HttpOptions
from xdscp.translators.encode import packed

NAME: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""The key in a cluster's `typed_extension_protocol_options`."""

PRESERVE_CASE: Final = Http1ProtocolOptionsHeaderKeyFormat(
    stateful_formatter=TypedExtensionConfig(name="preserve_case", typed_config=packed(PreserveCaseFormatterConfig()))
)


@lru_cache(maxsize=4096)
def explicit(options: HttpOptions, *, http2: bool) -> Any:
    """HTTP/2 with prior knowledge, or HTTP/1.1; packed. Most clusters of a mesh have the same."""
    return packed(
        HttpProtocolOptions(
            common_http_protocol_options=_common(options),
            explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=_http2(options))
            if http2
            else HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=_http1(options)),
        )
    )


def as_downstream() -> HttpProtocolOptions:
    """The HTTP version that the client speaks, for destinations of which nothing is known."""
    return HttpProtocolOptions(
        # Envoy asks for both where it resolves the host itself; they mean nothing without TLS.
        upstream_http_protocol_options=UpstreamHttpProtocolOptions(auto_sni=True, auto_san_validation=True),
        use_downstream_protocol_config=HttpProtocolOptionsUseDownstreamHttpConfig(
            http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=Http2ProtocolOptions()
        ),
    )


def _common(options: HttpOptions) -> CommonHttpProtocolOptions | None:
    found = CommonHttpProtocolOptions(
        idle_timeout=options.idle_timeout,
        max_connection_duration=options.max_connection_duration,
        max_requests_per_connection=options.max_requests_per_connection,
    )
    return None if found == CommonHttpProtocolOptions() else found


def _http1(options: HttpOptions) -> Http1ProtocolOptions:
    return Http1ProtocolOptions(
        accept_http_10=options.accept_http_10,
        header_key_format=PRESERVE_CASE if options.preserve_header_case else None,
    )


def _http2(options: HttpOptions) -> Http2ProtocolOptions:
    return Http2ProtocolOptions(
        max_concurrent_streams=options.max_concurrent_streams,
        initial_stream_window_size=options.initial_stream_window,
        initial_connection_window_size=options.initial_connection_window,
        connection_keepalive=_keepalive(options),
    )


def _keepalive(options: HttpOptions) -> KeepaliveSettings | None:
    """Pings are sent only at an interval; Envoy asks for the timeout with it."""
    if options.keepalive_interval is None:
        return None
    timeout = options.keepalive_timeout
    return KeepaliveSettings(
        interval=options.keepalive_interval,
        timeout=options.keepalive_interval if timeout is None else timeout,
    )
