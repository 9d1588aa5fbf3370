"""The resources of a service, or of an ExternalService, one derivation each.

    destination, endpoints, virtual host (mesh) -> message (translators) -> bytes -> Resource

Place in the flow: `tree` puts them into the service's shard, `tables` virtual hosts into whole route tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from xdscp.assembly.scope import resource
from xdscp.derive import View, derived
from xdscp.mesh import outbound, traffic
from xdscp.mesh.destination import Destination
from xdscp.mesh.external import external_destination_of, external_host_of
from xdscp.mesh.locality import Vantage, localities_of
from xdscp.mesh.outbound import Dialect
from xdscp.mesh.routing import Forward, VirtualHost
from xdscp.mesh.service import ports_of
from xdscp.resources.core import Key
from xdscp.snapshot import Resource, ResourceType
from xdscp.translators import cds, eds, grpc, names, rds
from xdscp.translators.encode import encode


@derived
def cluster_resource(view: View, service: Key, number: int, subset: str, dialect: Dialect) -> Resource | None:
    """The cluster of a service's port or subset."""
    destination = outbound.destination_of(view, service, number, subset, dialect)
    if destination is None:
        return None
    return _cluster(destination, dialect)


def _cluster(destination: Destination, dialect: Dialect) -> Resource:
    message = grpc.cluster(destination) if dialect == "grpc" else cds.cluster(destination)
    return resource(ResourceType.CDS, destination.name, encode(message))


@derived
def endpoints_resource(view: View, service: Key, number: int, subset: str, vantage: Vantage) -> Resource:
    """The load assignment of a service's port or subset; empty when nothing serves."""
    labels = dict(traffic.subsets_of(view, service))[subset] if subset else ()
    name = names.cluster(service, number, subset)
    body = eds.load_assignment_bytes(name, localities_of(view, service, number, labels, vantage))
    return resource(ResourceType.EDS, name, body)


@derived
def fixed_endpoints_resource(view: View, service: Key, number: int, subset: str) -> Resource | None:
    """The load assignment of a fixed address for gRPC clients, which know no endpoints inside of a cluster."""
    destination = outbound.destination_of(view, service, number, subset, "grpc")
    if destination is None:
        return None
    return resource(ResourceType.EDS, destination.name, encode(eds.fixed(destination.name, destination.endpoints)))


@derived
def virtual_host_resource(view: View, service: Key, number: int, dialect: Dialect, own: bool) -> Resource | None:
    """The virtual host of a service's HTTP port."""
    host = outbound.virtual_host_of(view, service, number, dialect, own)
    if host is None:
        return None
    table = names.EXPLICIT if dialect == "explicit" else number
    host = replace(host, name=names.virtual_host(table, service, number))
    return resource(ResourceType.VHDS, host.name, encode(rds.virtual_host(host)), referred(host))


@derived
def grpc_route_resource(view: View, service: Key, number: int, own: bool) -> Resource | None:
    """The route table of a service's port for proxyless gRPC clients."""
    host = outbound.virtual_host_of(view, service, number, "grpc", own)
    if host is None:
        return None
    name = names.grpc_route_table(service, number)
    return resource(ResourceType.RDS, name, encode(grpc.route_table(name, host, host.domains)), referred(host))


@derived
def grpc_listener_resource(view: View, service: Key, number: int, name: str) -> Resource:
    """The listener that a proxyless gRPC client asks for under the target it dials."""
    ports_of(view, service)
    table = names.grpc_route_table(service, number)
    return resource(ResourceType.LDS, name, encode(grpc.listener(name, table)))


def referred(host: VirtualHost) -> Iterator[str]:
    """The destinations that the routes of a host send to."""
    for route in host.routes:
        if isinstance(route.action, Forward):
            yield from (backend.destination for backend in route.action.backends)
            yield from (mirror.destination for mirror in route.action.mirrors)


@derived
def external_cluster_resource(view: View, external: Key, number: int, dialect: Dialect) -> Resource | None:
    """The cluster of an ExternalService's port."""
    destination = external_destination_of(view, external, number)
    return _cluster(destination, dialect) if destination is not None else None


@derived
def external_host_resource(view: View, external: Key, number: int, dialect: Dialect) -> Resource | None:
    """The virtual host of an ExternalService's HTTP port."""
    host = external_host_of(view, external, number, dialect != "interception")
    if host is None:
        return None
    table = names.EXPLICIT if dialect == "explicit" else number
    host = replace(host, name=names.external_virtual_host(table, external, number))
    return resource(ResourceType.VHDS, host.name, encode(rds.virtual_host(host)), referred(host))
