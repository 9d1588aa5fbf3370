"""What belongs to no service: outbound listeners, route tables, and the fate of unknown destinations.

Place in the flow: beside `tree` in the snapshot of a proxy; shared by the proxies of a scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from xdscp.assembly.scope import Audience, Scope, good, resource, shard
from xdscp.assembly.services import external_host_resource, virtual_host_resource
from xdscp.assembly.tree import namespaces_of, owners
from xdscp.derive import View, derived
from xdscp.mesh import outbound, traffic
from xdscp.mesh.environment import environment
from xdscp.mesh.external import external_ports_of
from xdscp.mesh.listening import Downstream, EgressMode, Mode, OutboundPort
from xdscp.mesh.locality import Vantage
from xdscp.mesh.service import ports_of
from xdscp.snapshot import Resource, ResourceType, Shard
from xdscp.translators import cds, lds, names, rds
from xdscp.translators.encode import encode


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
        *good(view, blackhole_resource),
        *good(view, passthrough_resource, "interception" if intercepting else "explicit"),
    ]
    tables: list[int | str] = []
    if intercepting:
        reach = traffic.egress_of(view, scope.namespace), traffic.externals_allowed(view, scope.namespace)
        found += good(view, outbound_listener_resource, scope.namespace, scope.downstream)
        for number in port_numbers(view):
            found += good(view, port_listener_resource, number, *reach, scope.downstream)
            if outbound_port_of(view, number, *reach).http:
                tables.append(number)
    else:
        tables.append(names.EXPLICIT)
    for table in tables:
        found += good(view, catch_all_resource, table, scope.namespace, scope.gateway)
        if incremental:
            found += good(view, route_table_resource, table)
        else:
            found += good(view, whole_route_table_resource, scope, table)
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
                found += good(view, virtual_host_resource, key, port.number, audience.dialect, audience.own)
        for number in external_ports_of(view, key) if audience.externals else ():
            found += good(view, external_host_resource, key, number, audience.dialect)
    return tuple(each for each in found if each.name.startswith(prefix))
