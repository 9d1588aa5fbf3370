"""Cross-origin requests: preflights are answered, other answers get the headers that a browser asks for."""

from __future__ import annotations

from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import Cors as CorsFilter
from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import CorsPolicy
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xdscp.mesh.routing import Cors
from xdscp.translators import matching
from xdscp.translators.encode import packed

NAME = "envoy.filters.http.cors"
FILTER = HttpFilter(name=NAME, typed_config=packed(CorsFilter()))


def policy(cors: Cors) -> CorsPolicy:
    """A route's part of the filter; its lists are written as the header values that they become."""
    return CorsPolicy(
        allow_origin_string_match=[matching.string(origin) for origin in cors.allow_origins],
        allow_methods=",".join(cors.allow_methods),
        allow_headers=",".join(cors.allow_headers),
        expose_headers=",".join(cors.expose_headers),
        max_age="" if cors.max_age is None else str(int(cors.max_age.total_seconds())),
        allow_credentials=cors.allow_credentials or None,
    )
