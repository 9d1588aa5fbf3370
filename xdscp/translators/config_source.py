"""Where Envoy takes a resource from: always the aggregated stream that it has already.

One constant: Envoy makes a new subscription when the bytes of a ConfigSource change, and a new SDS subscription that is
not answered breaks TLS.
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.core.v3 import AggregatedConfigSource, ApiVersion, ConfigSource

ADS: Final = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
