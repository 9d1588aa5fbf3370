"""Messages decoded by an independent protobuf implementation (upb), as plain values to compare with."""

from __future__ import annotations

from typing import Any

from betterproto2 import Message
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2  # noqa: F401  # known to Any, as those below
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as _  # noqa: F401
from envoy.extensions.filters.http.cors.v3 import cors_pb2  # noqa: F401
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2  # noqa: F401
from envoy.extensions.filters.http.fault.v3 import fault_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2  # noqa: F401
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from xdscp.translators.encode import encode

_KINDS: dict[str, Any] = {
    "Cluster": cluster_pb2.Cluster,
    "ClusterLoadAssignment": endpoint_pb2.ClusterLoadAssignment,
    "Listener": listener_pb2.Listener,
    "RouteConfiguration": route_pb2.RouteConfiguration,
    "VirtualHost": route_components_pb2.VirtualHost,
}


def decoded(message: Message) -> dict[str, Any]:
    """The message's bytes as JSON values, field names as in the .proto files; what is packed is unpacked."""
    return parsed(type(message).__name__, encode(message))


def parsed(kind: str, body: bytes) -> dict[str, Any]:
    """Bytes of a message of that kind as JSON values."""
    return json_format.MessageToDict(_KINDS[kind].FromString(body), preserving_proto_field_name=True)
