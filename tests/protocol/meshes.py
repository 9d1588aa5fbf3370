"""Real Envoy resources for hand-made snapshots, written with an independent protobuf implementation."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from tests.protocol.fixtures import CDS, EDS, LDS, RDS, VHDS, message


def cluster(name, timeout=1.0):
    """An EDS cluster; `timeout` of connecting makes a change."""
    body = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS)
    body.eds_cluster_config.eds_config.ads.SetInParent()
    body.eds_cluster_config.eds_config.resource_api_version = 2
    body.connect_timeout.FromNanoseconds(int(timeout * 1e9))
    return message(CDS, name, body)


def endpoints(name, *ports):
    """Endpoints on loopback."""
    body = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    locality = body.endpoints.add()
    for port in ports:
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return message(EDS, name, body)


def listener(name, port, table, prefix="ingress"):
    """A plain HTTP listener whose routes come by RDS."""
    body = listener_pb2.Listener(name=name)
    body.address.socket_address.address = "127.0.0.1"
    body.address.socket_address.port_value = port
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix=prefix)
    manager.rds.route_config_name = table
    manager.rds.config_source.ads.SetInParent()
    manager.rds.config_source.resource_api_version = 2
    router = manager.http_filters.add(name="router")
    router.typed_config.Pack(router_pb2.Router())
    body.filter_chains.add().filters.add(name="hcm").typed_config.Pack(manager)
    return message(LDS, name, body)


def _host(name, domains, target):
    host = route_components_pb2.VirtualHost(name=name, domains=list(domains))
    route = host.routes.add()
    route.match.prefix = "/"
    if target.startswith("!"):
        route.direct_response.status = 200
        route.direct_response.body.inline_string = target[1:]
    else:
        route.route.cluster = target
    return host


def refers(target):
    """The clusters that a target needs."""
    return () if target.startswith("!") else (target,)


def virtual_host(table, key, target, *domains):
    """A virtual host by VHDS; a target that begins with ! is a direct response."""
    name = f"{table}/{key}"
    return message(VHDS, name, _host(name, domains or (key,), target), refers(target))


def table(name, *hosts):
    """A route table whose virtual hosts come by VHDS, or, when `hosts` (key, target) are given, stand in it."""
    body = route_pb2.RouteConfiguration(name=name)
    if not hosts:
        body.vhds.config_source.ads.SetInParent()
        body.vhds.config_source.resource_api_version = 2
    for key, target in hosts:
        body.virtual_hosts.append(_host(f"{name}/{key}", (key,), target))
    return message(RDS, name, body, [name for _, target in hosts for name in refers(target)])
