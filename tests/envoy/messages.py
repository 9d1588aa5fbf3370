"""Envoy's messages, decoded by an implementation of protobuf that is not ours: names, and what refers to what."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401 -- for unpacking
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

CLASSES = {
    "cds": cluster_pb2.Cluster,
    "eds": endpoint_pb2.ClusterLoadAssignment,
    "lds": listener_pb2.Listener,
    "rds": route_pb2.RouteConfiguration,
    "vhds": route_components_pb2.VirtualHost,
    "sds": secret_pb2.Secret,
}
TYPES = {f"type.googleapis.com/{made.DESCRIPTOR.full_name}": type for type, made in CLASSES.items()}
ORDER = tuple(CLASSES)


def decoded(type, body):
    """The message of a type's short name."""
    return CLASSES[type].FromString(body)


def name_of(url, body):
    """The name inside of a resource; for VHDS the wrapper has it alone, so the inner one is prefixed as there."""
    message = decoded(TYPES[url], body)
    return message.cluster_name if TYPES[url] == "eds" else message.name


def clusters_of(type, body):
    """The clusters that a resource sends traffic to."""
    message = decoded(type, body)
    if type == "lds":
        return frozenset(name for chain in _chains(message) for each in chain.filters for name in _of_filter(each))
    if type == "rds":
        return frozenset(name for host in message.virtual_hosts for name in _of_host(host))
    return frozenset(_of_host(message)) if type == "vhds" else frozenset()


def _chains(listener):
    yield from listener.filter_chains
    if listener.HasField("default_filter_chain"):
        yield listener.default_filter_chain


def _of_filter(one):
    if one.typed_config.Is(tcp_proxy_pb2.TcpProxy.DESCRIPTOR):
        proxy = tcp_proxy_pb2.TcpProxy.FromString(one.typed_config.value)
        yield from [proxy.cluster] if proxy.cluster else [each.name for each in proxy.weighted_clusters.clusters]
    elif one.typed_config.Is(http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR):
        manager = http_connection_manager_pb2.HttpConnectionManager.FromString(one.typed_config.value)
        for host in manager.route_config.virtual_hosts:
            yield from _of_host(host)


def _of_host(host):
    for route in host.routes:
        action = route.route
        if action.cluster:
            yield action.cluster
        yield from (each.name for each in action.weighted_clusters.clusters)
        yield from (each.cluster for each in action.request_mirror_policies if each.cluster)


def is_eds(body):
    """Whether a cluster takes its endpoints by EDS."""
    return decoded("cds", body).type == cluster_pb2.Cluster.EDS


def endpoints_of(body):
    """`address:port` of all endpoints of a load assignment."""
    message = decoded("eds", body)
    found = []
    for locality in message.endpoints:
        for each in locality.lb_endpoints:
            address = each.endpoint.address.socket_address
            found.append(f"{address.address}:{address.port_value}")
    return found
