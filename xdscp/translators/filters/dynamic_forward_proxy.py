"""Unknown hosts in explicit mode: the host is resolved, as the application would have done itself.

It acts only on routes to the cluster that shares its cache of names. Never at a gateway: that would be an open proxy.
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import ClusterDnsLookupFamily
from envoy_data_plane.envoy.extensions.common.dynamic_forward_proxy.v3 import DnsCacheConfig
from envoy_data_plane.envoy.extensions.filters.http.dynamic_forward_proxy.v3 import FilterConfig
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xdscp.translators.encode import packed

NAMES: Final = DnsCacheConfig(name="passthrough", dns_lookup_family=ClusterDnsLookupFamily.V4_PREFERRED)
"""The cache, shared by filter and cluster: Envoy asks that its settings be the same in both."""

NAME: Final = "envoy.filters.http.dynamic_forward_proxy"
FILTER: Final = HttpFilter(name=NAME, typed_config=packed(FilterConfig(dns_cache_config=NAMES)))
