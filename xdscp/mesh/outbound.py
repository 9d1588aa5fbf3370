"""What the services are to a client: destinations, virtual hosts and ports, each derived once for all proxies.

Place in the flow: from `mesh.service`, `mesh.endpoints` and `mesh.traffic`; `assembly` gives them to the translators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from xdscp.derive import View, derived
from xdscp.mesh import names, traffic
from xdscp.mesh.destination import Destination, Endpoint
from xdscp.mesh.endpoints import alias_of, endpoints_of, host_refusal_of
from xdscp.mesh.environment import environment
from xdscp.mesh.external import external_addresses_of, external_http_ports, external_ports_of, external_tcp_route
from xdscp.mesh.listening import RESERVED_PORTS, EgressMode, OutboundPort, TcpService
from xdscp.mesh.routing import VirtualHost
from xdscp.mesh.service import (
    MeshPort,
    bare_port,
    external_name_of,
    is_address,
    is_headless,
    port_of,
    ports_of,
    virtual_addresses_of,
)
from xdscp.resources.core import Key

Dialect = Literal["interception", "explicit", "grpc"]
"""How a client finds its destinations: by the address it dialled, by host through one listener, or as gRPC does."""


@derived
def destination_of(view: View, service: Key, number: int, subset: str, dialect: Dialect) -> Destination | None:
    """The destination of a service's port or subset; None when the service has no such port."""
    port = port_of(view, service, number)
    if port is None:
        return None
    connection = traffic.connection_of(view, service, number, subset)
    name = names.cluster(service, number, subset)
    external = external_name_of(view, service)
    if external and alias_of(view, service) is None:
        if host_refusal_of(view, external):
            return Destination(name, "static", port.protocol, connection)
        if is_address(external):
            return Destination(name, "static", port.protocol, connection, endpoints=(Endpoint(external, number),))
        return Destination(name, "dns", port.protocol, connection, dns_name=external, dns_port=number)
    if dialect == "interception" and not subset and is_headless(view, service):
        return Destination(name, "original", port.protocol, connection)
    weighted = traffic.locality_mode_of(view, service, number, subset) == "Weighted"
    return Destination(name, "eds", port.protocol, connection, locality_weighted=weighted)


def names_of(view: View, service: Key, *, own: bool) -> tuple[str, ...]:
    """The DNS names of a service; `own`: for clients of its namespace, which may leave the namespace away."""
    domain = environment(view).cluster_domain
    full = f"{service.name}.{service.namespace}"
    return (*((service.name,) if own else ()), full, f"{full}.svc", f"{full}.svc.{domain}")


def hosts_of(view: View, service: Key, *, own: bool) -> tuple[str, ...]:
    """All that an authority may say for a service: its names, those of a headless one's pods, and its addresses."""
    hosts = list(names_of(view, service, own=own))
    if is_headless(view, service):
        hosts += [f"*.{host}" for host in hosts]
    hosts += [f"[{address}]" if ":" in address else address for address in virtual_addresses_of(view, service)]
    return tuple(hosts)


@derived
def virtual_host_of(view: View, service: Key, number: int, dialect: Dialect, own: bool) -> VirtualHost | None:
    """The virtual host of a service's HTTP port, not yet named; None when the port is none.

    Interception has a table for each port and ignores the port of the authority; the explicit mode has one table, so
    its hosts carry the port, and the one without belongs to port 80, or to the first HTTP port.
    """
    port = port_of(view, service, number)
    if port is None or port.protocol == "tcp" or (dialect == "interception" and number in RESERVED_PORTS):
        return None
    hosts = hosts_of(view, service, own=own)
    if dialect != "interception":
        bare = hosts if dialect == "grpc" or number == _default_port(view, service) else ()
        hosts = (*bare, *(f"{host}:{number}" for host in hosts))
    return VirtualHost("", hosts, traffic.routes_of(view, service, number))


def _default_port(view: View, service: Key) -> int:
    numbers = [port.number for port in ports_of(view, service) if port.protocol != "tcp"]
    return bare_port(numbers)


@dataclass(frozen=True, slots=True)
class PortClaim:
    """What a service needs of the outbound listener of a port number: HTTP routing, or a chain of its own."""

    number: int
    tcp: TcpService | None = None
    headless: bool = False
    """The addresses are those of pods: they come and go, and each time the listener would drain."""
    external: bool = False


@derived
def port_claims(view: View, owner: Key) -> tuple[PortClaim, ...]:
    """What a service, or an ExternalService of the same name, needs of the outbound listeners."""
    return (
        *(_claim(view, owner, port) for port in ports_of(view, owner) if port.number not in RESERVED_PORTS),
        *(
            _external_claim(view, owner, number)
            for number in external_ports_of(view, owner)
            if number not in RESERVED_PORTS
        ),
    )


def _claim(view: View, service: Key, port: MeshPort) -> PortClaim:
    if port.protocol != "tcp":
        return PortClaim(port.number)
    route = traffic.tcp_route_of(view, service, port.number)
    if is_headless(view, service):
        pods = tuple(endpoint.address for endpoint in endpoints_of(view, service, port.number))
        return PortClaim(port.number, TcpService(pods, route), headless=True)
    return PortClaim(port.number, TcpService(virtual_addresses_of(view, service), route))


def _external_claim(view: View, external: Key, number: int) -> PortClaim:
    if number in external_http_ports(view, external):
        return PortClaim(number, external=True)
    service = TcpService(external_addresses_of(view, external, number), external_tcp_route(external, number))
    return PortClaim(number, service, external=True)


def outbound_port(number: int, claims: Iterator[PortClaim], egress: EgressMode) -> OutboundPort:
    """The outbound listener that the claims on a number make up; an address that two claim goes to the first.

    The pods of a headless service come last, since a slice may name any address. They are named only where there is
    another fate for unknown destinations than to be passed through: else the listener would change with each pod.
    """
    ordered = sorted(claims, key=lambda claim: claim.headless)
    http = any(claim.tcp is None for claim in ordered)
    tcp: list[TcpService] = []
    taken: set[str] = set()
    for claim in ordered:
        if claim.tcp is None or (claim.headless and egress == "allow" and not http):
            continue
        addresses = tuple(address for address in claim.tcp.addresses if address not in taken)
        taken.update(addresses)
        if addresses:
            tcp.append(TcpService(addresses, claim.tcp.route))
    return OutboundPort(number, http, tuple(tcp), egress)
