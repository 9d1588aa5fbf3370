"""The router: sends the request to the cluster that its route names. Always last, nothing runs after it."""

from __future__ import annotations

from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xdscp.translators.encode import packed

NAME = "envoy.filters.http.router"
FILTER = HttpFilter(name=NAME, typed_config=packed(Router()))
