"""Resources as an independent protobuf implementation reads them, and the bootstrap by which Envoy judges them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as forward_proxy_cluster_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.json_format import MessageToJson

from xdscp.snapshot import Resource, ResourceType, Snapshot

EXTENSIONS = (
    cors_pb2, dynamic_forward_proxy_pb2, fault_pb2, file_pb2, forward_proxy_cluster_pb2, http_protocol_options_pb2,
    original_dst_pb2, preserve_case_pb2, previous_hosts_pb2, router_pb2, tcp_proxy_pb2, tls_pb2,
)  # fmt: skip
"""What stands inside of `Any`: imported so that the JSON form knows them."""

MESSAGES = {
    ResourceType.CDS: cluster_pb2.Cluster,
    ResourceType.EDS: endpoint_pb2.ClusterLoadAssignment,
    ResourceType.LDS: listener_pb2.Listener,
    ResourceType.RDS: route_pb2.RouteConfiguration,
    ResourceType.VHDS: route_components_pb2.VirtualHost,
}

HttpConnectionManager = http_connection_manager_pb2.HttpConnectionManager
TcpProxy = tcp_proxy_pb2.TcpProxy


def decoded(resource: Resource) -> Any:
    """The message of a resource."""
    return MESSAGES[resource.type].FromString(resource.body)


def shown(resource: Resource) -> dict[str, Any]:
    """The message as protobuf JSON with its fields' own names."""
    return json.loads(MessageToJson(decoded(resource), preserving_proto_field_name=True, indent=None))


def own_name(resource: Resource) -> str:
    """The name that stands in the message."""
    message = decoded(resource)
    return message.cluster_name if resource.type is ResourceType.EDS else message.name


def clusters_named(found: Any) -> set[str]:
    """The clusters to which the routes and TCP proxies of a decoded resource send, by its JSON form."""
    if isinstance(found, list):
        return set().union(*map(clusters_named, found))
    if not isinstance(found, dict):
        return set()
    named = {share["name"] for share in found.get("weighted_clusters", {}).get("clusters", ())}
    if isinstance(found.get("cluster"), str):
        named.add(found["cluster"])
    return named.union(*map(clusters_named, found.values()))


def assignments_named(resource: Resource) -> set[str]:
    """The load assignment without which a cluster would wait."""
    if resource.type is not ResourceType.CDS:
        return set()
    cluster = decoded(resource)
    return {cluster.eds_cluster_config.service_name or cluster.name} if cluster.type == cluster.EDS else set()


def hosts_of(snapshot: Snapshot) -> dict[str, Any]:
    """The virtual hosts of a snapshot by name, those inside of route tables too."""
    found = {resource.name: decoded(resource) for resource in snapshot.all(ResourceType.VHDS)}
    for resource in snapshot.all(ResourceType.RDS):
        found |= {host.name: host for host in decoded(resource).virtual_hosts}
    return found


def bootstrap(resources: Iterable[Resource]) -> bootstrap_pb2.Bootstrap:
    """A bootstrap of static resources: endpoints put into their clusters, virtual hosts into tables, tables into listeners."""
    messages: dict[ResourceType, dict[str, Any]] = {type: {} for type in MESSAGES}
    for resource in resources:
        messages[resource.type][resource.name] = decoded(resource)
    found = bootstrap_pb2.Bootstrap()
    found.node.id, found.node.cluster = "shop/client", "test"
    for cluster in messages[ResourceType.CDS].values():
        found.static_resources.clusters.append(_with_endpoints(cluster, messages[ResourceType.EDS]))
    tables = {name: _whole(table, messages[ResourceType.VHDS]) for name, table in messages[ResourceType.RDS].items()}
    for listener in messages[ResourceType.LDS].values():
        found.static_resources.listeners.append(_with_tables(listener, tables))
    return found


def _with_endpoints(cluster: Any, assignments: dict[str, Any]) -> Any:
    if cluster.type == cluster_pb2.Cluster.EDS:
        cluster.load_assignment.CopyFrom(assignments[cluster.eds_cluster_config.service_name or cluster.name])
        cluster.ClearField("eds_cluster_config")
        cluster.type = cluster_pb2.Cluster.STATIC
    return cluster


def _whole(table: Any, hosts: dict[str, Any]) -> Any:
    if table.HasField("vhds"):
        table.ClearField("vhds")
        table.virtual_hosts.extend(host for name, host in sorted(hosts.items()) if name.startswith(f"{table.name}/"))
    return table


def _with_tables(listener: Any, tables: dict[str, Any]) -> Any:
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for each in chain.filters:
            if each.typed_config.Is(HttpConnectionManager.DESCRIPTOR):
                manager = HttpConnectionManager.FromString(each.typed_config.value)
                if manager.HasField("rds"):
                    manager.route_config.CopyFrom(tables[manager.rds.route_config_name])
                    each.typed_config.Pack(manager)
    return listener
