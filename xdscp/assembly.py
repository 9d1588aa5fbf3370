"""The derivations that assemble a proxy's snapshot from the model, one encoded resource a derivation.

    destination, endpoints, virtual host (mesh) -> message (translators) -> bytes -> Resource -> shard of a service
    shard -> [bucket ->] namespace -> group -> tree, shared by all proxies of a scope; plus tables, plus the proxy's own

Place in the flow: between `mesh`/`translators` and `pipeline`, which watches `snapshot_of`. The tree is sixteen wide at
each level, so a change costs the path to its shard, not the number of services. A resource whose derivation raises is
served as it was last good; the others do not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from xdscp.derive import View, derived
from xdscp.mesh import outbound, traffic
from xdscp.mesh.destination import Destination
from xdscp.mesh.environment import environment
from xdscp.mesh.external import external_destination_of, external_host_of, external_ports_of
from xdscp.mesh.listening import Downstream, EgressMode, InboundPort, Mode, OutboundPort, TcpListener
from xdscp.mesh.locality import Vantage, localities_of, vantage_for
from xdscp.mesh.outbound import Dialect
from xdscp.mesh.routing import Forward, TcpRoute, VirtualHost
from xdscp.mesh.service import ports_of
from xdscp.mesh.workload import Proxy
from xdscp.resources.core import Key
from xdscp.snapshot import Branch, Node, Resource, ResourceType, Shard, Snapshot
from xdscp.translators import cds, eds, grpc, lds, names, rds
from xdscp.translators.encode import encode, version

FLAT = 32
"""Up to so many services a namespace is one branch."""
WIDE = 512
"""From so many on it is two levels of sixteen above the branches."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the shared part of a snapshot depends on."""

    dialect: Dialect
    vantage: Vantage
    namespace: str
    downstream: Downstream = Downstream()
    gateway: bool = False
    """It serves strangers: what no service has is refused, whatever the egress mode of its namespace."""


@dataclass(frozen=True, slots=True)
class Audience:
    """What a service's shard depends on beside the service.

    `own`: for clients of its own namespace; `externals`: for clients that may call ExternalServices.
    """

    dialect: Dialect
    vantage: Vantage
    own: bool
    externals: bool


def resource(type: ResourceType, name: str, body: bytes, refers: Iterable[str] = ()) -> Resource:
    """A resource of encoded bytes, its version the hash of them."""
    return Resource(type, name, version(body), body, tuple(sorted(set(refers))))


# -- one resource each ------------------------------------------------------------------------------------------------


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


# -- the shard of a service, and the tree of shards -------------------------------------------------------------------


@derived
def shard_of(view: View, owner: Key, audience: Audience) -> Shard:
    """All resources of a service, and of an ExternalService of the same name."""
    found: dict[ResourceType, dict[str, Resource]] = {}
    for each in _resources_of(view, owner, audience):
        found.setdefault(each.type, {})[each.name] = each
    return Shard(found)


def _resources_of(view: View, owner: Key, audience: Audience) -> Iterator[Resource]:
    dialect = audience.dialect
    ports = ports_of(view, owner)
    subsets = ("", *(name for name, _ in traffic.subsets_of(view, owner))) if ports else ()
    for port in ports:
        for subset in subsets:
            yield from _good(view, cluster_resource, owner, port.number, subset, dialect)
            destination = view.attempt(outbound.destination_of, owner, port.number, subset, dialect).value
            if destination is not None and destination.discovery == "eds":
                vantage = vantage_for(view, owner, port.number, audience.vantage, subset)
                yield from _good(view, endpoints_resource, owner, port.number, subset, vantage)
            elif destination is not None and destination.discovery == "static" and dialect == "grpc":
                yield from _good(view, fixed_endpoints_resource, owner, port.number, subset)
        if port.protocol == "tcp":
            continue
        if dialect == "grpc":
            yield from _good(view, grpc_route_resource, owner, port.number, audience.own)
            for host in outbound.names_of(view, owner, own=audience.own):
                yield from _good(view, grpc_listener_resource, owner, port.number, f"{host}:{port.number}")
        else:
            yield from _good(view, virtual_host_resource, owner, port.number, dialect, audience.own)
    if dialect == "grpc":  # a target of its own would be needed to dial an ExternalService
        return
    for number in external_ports_of(view, owner) if audience.externals else ():
        yield from _good(view, external_cluster_resource, owner, number, dialect)
        yield from _good(view, external_host_resource, owner, number, dialect)


def _good(view: View, function: Callable[..., Resource | None], *args: Any) -> Iterator[Resource]:
    value = view.attempt(function, *args).value
    if value is not None:
        yield value


def by_group(owner: Key) -> Hashable:
    """Level of the tree: one of sixteen groups of namespaces."""
    return crc32(owner.namespace.encode()) & 15


def by_namespace(owner: Key) -> Hashable:
    """Level of the tree: the namespace."""
    return owner.namespace


def by_high(owner: Key) -> Hashable:
    """Level of a large namespace: the high four bits of the name's digest."""
    return (crc32(owner.name.encode()) & 255) >> 4


def by_low(owner: Key) -> Hashable:
    """Level of a very large namespace: the low four bits of the name's digest."""
    return crc32(owner.name.encode()) & 15


def by_name(owner: Key) -> Hashable:
    """Last level: the service."""
    return owner.name


def owners(view: View, index: str, value: Hashable) -> tuple[Key, ...]:
    """The Services and ExternalServices under an index."""
    return tuple(sorted({*view.select("Service", index, value), *view.select("ExternalService", index, value)}))


@derived
def namespaces_of(view: View, group: int) -> tuple[str, ...]:
    """The namespaces of a group that have services."""
    return tuple(sorted({key.namespace for key in owners(view, "group", group)}))


@derived
def spread_of(view: View, namespace: str) -> int:
    """How many levels of sixteen a namespace has above its branches: 0, 1 or 2."""
    count = len(owners(view, "namespace", namespace))
    return 0 if count <= FLAT else 1 if count <= WIDE else 2


@derived
def tree_of(view: View, scope: Scope) -> Node:
    """The shards of all services, for all proxies of a scope."""
    own = by_group(Key(scope.namespace, ""))
    externals = traffic.externals_allowed(view, scope.namespace)
    audience = Audience(scope.dialect, scope.vantage, own=False, externals=externals)
    groups: dict[Hashable, Node] = {
        group: _group(view, audience, group, scope.namespace if group == own else "")
        for group in range(16)
        if namespaces_of(view, group)
    }
    return Branch(by_group, groups)


@derived
def _group(view: View, audience: Audience, group: int, own: str) -> Node:
    return Branch(
        by_namespace,
        {
            namespace: _namespace(view, replace(audience, own=namespace == own), namespace)
            for namespace in namespaces_of(view, group)
        },
    )


@derived
def _namespace(view: View, audience: Audience, namespace: str) -> Node:
    spread = spread_of(view, namespace)
    if spread == 0:
        return _branch(view, audience, owners(view, "namespace", namespace))
    return Branch(by_high, {high: _bucket(view, audience, namespace, high, spread) for high in range(16)})


@derived
def _bucket(view: View, audience: Audience, namespace: str, high: int, spread: int) -> Node:
    if spread == 1:
        return _branch(view, audience, owners(view, "bucket16", (namespace, high)))
    return Branch(by_low, {low: _small_bucket(view, audience, namespace, high << 4 | low) for low in range(16)})


@derived
def _small_bucket(view: View, audience: Audience, namespace: str, digest: int) -> Node:
    return _branch(view, audience, owners(view, "bucket256", (namespace, digest)))


def _branch(view: View, audience: Audience, keys: Iterable[Key]) -> Branch:
    return Branch(by_name, {key.name: shard_of(view, key, audience) for key in keys})


# -- what belongs to no service ---------------------------------------------------------------------------------------


@derived
def ports_of_namespace(view: View, namespace: str) -> frozenset[int]:
    """The port numbers on which the services of a namespace need an outbound listener."""
    found: set[int] = set()
    for key in owners(view, "namespace", namespace):
        found.update(claim.number for claim in view.attempt(outbound.port_claims, key).value or ())
    return frozenset(found)


@derived
def port_numbers(view: View) -> tuple[int, ...]:
    """The port numbers of all outbound listeners."""
    found: set[int] = set()
    for group in range(16):
        for namespace in namespaces_of(view, group):
            found |= ports_of_namespace(view, namespace)
    return tuple(sorted(found))


@derived
def outbound_port_of(view: View, number: int, egress: EgressMode, externals: bool) -> OutboundPort:
    """What the services on a port number need of its outbound listener."""
    claims = (
        claim
        for key in owners(view, "port", number)
        for claim in view.attempt(outbound.port_claims, key).value or ()
        if claim.number == number and (externals or not claim.external)
    )
    return outbound.outbound_port(number, claims, egress)


@derived
def port_listener_resource(
    view: View, number: int, egress: EgressMode, externals: bool, downstream: Downstream
) -> Resource:
    """The outbound listener of a port number."""
    port = outbound_port_of(view, number, egress, externals)
    refers = [backend.destination for service in port.tcp for backend in service.route.backends]
    listener = lds.outbound_port(port, downstream)
    return resource(ResourceType.LDS, listener.name, encode(listener), refers)


@derived
def outbound_listener_resource(view: View, namespace: str, downstream: Downstream) -> Resource:
    """The listener that intercepted connections arrive at; it keeps those that no other listener takes."""
    environment(view)
    listener = lds.outbound(traffic.egress_of(view, namespace), "interception", downstream)
    return resource(ResourceType.LDS, listener.name, encode(listener))


@derived
def passthrough_resource(view: View, mode: Mode) -> Resource:
    """The cluster of destinations that no service has, where they are allowed."""
    environment(view)
    return resource(ResourceType.CDS, names.PASSTHROUGH, encode(cds.passthrough(mode)))


@derived
def blackhole_resource(view: View) -> Resource:
    """The cluster of destinations that are refused."""
    environment(view)
    return resource(ResourceType.CDS, names.BLACKHOLE, encode(cds.blackhole()))


@derived
def catch_all_resource(view: View, table: int | str, namespace: str, gateway: bool) -> Resource:
    """The virtual host of the hosts that no service has. A gateway that passed them through would be an open proxy."""
    environment(view)
    egress: EgressMode = "registered" if gateway else traffic.egress_of(view, namespace)
    refers = (names.PASSTHROUGH,) if egress == "allow" else ()
    found = resource(ResourceType.VHDS, names.catch_all(table), encode(rds.catch_all(table, egress)), refers)
    return replace(found, lasting=True)


@derived
def route_table_resource(view: View, table: int | str) -> Resource:
    """The route table of a port number for delta streams: its virtual hosts come one by one."""
    environment(view)
    if isinstance(table, int):
        outbound_port_of(view, table, "allow", True)
    return resource(ResourceType.RDS, names.route_table(table), encode(rds.route_table(table)))


@derived
def whole_route_table_resource(view: View, scope: Scope, table: int | str) -> Resource:
    """The route table of a port number with its virtual hosts, for state-of-the-world streams."""
    hosts = (*_virtual_hosts(view, scope, table), catch_all_resource(view, table, scope.namespace, scope.gateway))
    body = rds.route_table_bytes(table, [host.body for host in hosts])
    return resource(ResourceType.RDS, names.route_table(table), body, (name for host in hosts for name in host.refers))


@derived
def tables_of(view: View, scope: Scope, incremental: bool) -> Shard:
    """Listeners, route tables and the fate of unknown destinations, shared by the proxies of a scope."""
    if scope.dialect == "grpc":
        return Shard({})
    intercepting = scope.dialect == "interception"
    found = [
        *_good(view, blackhole_resource),
        *_good(view, passthrough_resource, "interception" if intercepting else "explicit"),
    ]
    tables: list[int | str] = []
    if intercepting:
        reach = traffic.egress_of(view, scope.namespace), traffic.externals_allowed(view, scope.namespace)
        found += _good(view, outbound_listener_resource, scope.namespace, scope.downstream)
        for number in port_numbers(view):
            found += _good(view, port_listener_resource, number, *reach, scope.downstream)
            if outbound_port_of(view, number, *reach).http:
                tables.append(number)
    else:
        tables.append(names.EXPLICIT)
    for table in tables:
        found += _good(view, catch_all_resource, table, scope.namespace, scope.gateway)
        if incremental:
            found += _good(view, route_table_resource, table)
        else:
            found += _good(view, whole_route_table_resource, scope, table)
    return shard(found)


def _virtual_hosts(view: View, scope: Scope, table: int | str) -> Iterator[Resource]:
    externals = traffic.externals_allowed(view, scope.namespace)
    for group in range(16):
        for namespace in namespaces_of(view, group):
            audience = Audience(scope.dialect, Vantage(), namespace == scope.namespace, externals)
            yield from virtual_hosts_of(view, audience, namespace, table)


@derived
def virtual_hosts_of(view: View, audience: Audience, namespace: str, table: int | str) -> tuple[Resource, ...]:
    """The virtual hosts of a namespace in a route table, for clients that want route tables whole."""
    prefix = f"{names.route_table(table)}/"
    found: list[Resource] = []
    for key in owners(view, "namespace", namespace):
        for port in ports_of(view, key):
            if port.protocol != "tcp":
                found += _good(view, virtual_host_resource, key, port.number, audience.dialect, audience.own)
        for number in external_ports_of(view, key) if audience.externals else ():
            found += _good(view, external_host_resource, key, number, audience.dialect)
    return tuple(each for each in found if each.name.startswith(prefix))


def shard(resources: Iterable[Resource]) -> Shard:
    """A shard of resources by type and name."""
    found: dict[ResourceType, dict[str, Resource]] = {}
    for each in resources:
        found.setdefault(each.type, {})[each.name] = each
    return Shard(found)


# -- the proxy's own --------------------------------------------------------------------------------------------------


@derived
def inbound_of(view: View, ports: tuple[InboundPort, ...], proxy: Proxy) -> Shard:  # noqa: ARG001  # derivations are given a view
    """Listeners and clusters of a workload's own ports."""
    found: list[Resource] = []
    if proxy.role == "grpc":
        for port in ports:
            for host in ("0.0.0.0", "::", *((port.address,) if port.address else ())):  # noqa: S104  # what servers ask for
                listener = grpc.server_listener(host, port.number)
                found.append(resource(ResourceType.LDS, listener.name, encode(listener)))
        return shard(found)
    for port in ports:
        message = cds.inbound_cluster(port)
        found.append(resource(ResourceType.CDS, message.name, encode(message)))
    # Nothing is intercepted at a gateway: it has no ports but its own.
    for inbound in lds.inbound(ports, proxy.mode, proxy.downstream) if proxy.role != "gateway" else ():
        # In explicit mode a listener a port, named like the cluster behind it.
        refers = (
            [names.inbound_cluster(port.number) for port in ports] if proxy.mode == "interception" else [inbound.name]
        )
        found.append(resource(ResourceType.LDS, inbound.name, encode(inbound), refers))
    if proxy.role == "gateway":
        gateway = lds.gateway(proxy.explicit_port, proxy.explicit_address, downstream=proxy.downstream)
        found.append(resource(ResourceType.LDS, gateway.name, encode(gateway)))
    elif proxy.mode == "explicit":
        explicit = lds.explicit(proxy.explicit_port, proxy.explicit_address, proxy.downstream)
        found.append(resource(ResourceType.LDS, explicit.name, encode(explicit)))
        found += (_tcp_listener(each, proxy.downstream) for each in proxy.tcp)
    return shard(found)


def _tcp_listener(listener: TcpListener, downstream: Downstream) -> Resource:
    route: TcpRoute = listener.route
    refers = [backend.destination for backend in route.backends]
    return resource(ResourceType.LDS, listener.name, encode(lds.tcp(listener, downstream)), refers)


def dialect_of(proxy: Proxy) -> Dialect:
    """How the proxy's client finds destinations."""
    if proxy.role == "grpc":
        return "grpc"
    return "explicit" if proxy.role == "gateway" or proxy.mode == "explicit" else "interception"


@derived
def snapshot_of(view: View, proxy: Proxy, incremental: bool) -> Snapshot:
    """All that the proxies of a workload are served; `incremental`: virtual hosts one by one, for delta streams."""
    dialect = dialect_of(proxy)
    shared = Scope(dialect, proxy.vantage, proxy.namespace)
    return Snapshot(
        own=inbound_of(view, proxy.inbound, proxy),
        tables=tables_of(
            view, replace(shared, downstream=proxy.downstream, gateway=proxy.role == "gateway"), incremental
        ),
        services=tree_of(view, shared),
        namespace=proxy.namespace,
    )
