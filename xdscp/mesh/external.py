"""What an ExternalService is to a client: destinations outside of the mesh, by the host names that it registers.

Place in the flow: beside `mesh.service` and `mesh.outbound`, which do the same for Services. A host that two register
belongs to the older one; the name of a Service of the mesh belongs to that Service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdscp.derive import View, derived
from xdscp.mesh import names
from xdscp.mesh.destination import Connection, Destination, Endpoint, Locality
from xdscp.mesh.environment import environment
from xdscp.mesh.routing import Backend, Forward, RequestMatch, Route, TcpRoute, VirtualHost
from xdscp.mesh.service import is_address, protocol_of
from xdscp.resources.core import Key, Problem, ServicePort

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api.external_service import ExternalPort, ExternalService


def _row(view: View, external: Key) -> ExternalService | None:
    row: ExternalService | None = view.get("ExternalService", external)
    return row


def _port(view: View, external: Key, number: int) -> ExternalPort | None:
    row = _row(view, external)
    return next((port for port in row.spec.ports if port.number == number), None) if row is not None else None


def _service_port(port: ExternalPort) -> ServicePort:
    return ServicePort(port.number, port.name or "", app_protocol=port.app_protocol or "")


@derived
def external_ports_of(view: View, external: Key) -> tuple[int, ...]:
    """The port numbers of an ExternalService; empty for an unknown one."""
    row = _row(view, external)
    return tuple(port.number for port in row.spec.ports) if row is not None else ()


def external_http_ports(view: View, external: Key) -> tuple[int, ...]:
    """Those of its ports that speak HTTP to the client."""
    row = _row(view, external)
    ports = row.spec.ports if row is not None else ()
    return tuple(port.number for port in ports if protocol_of(_service_port(port)) != "tcp")


@derived
def external_destination_of(view: View, external: Key, number: int) -> Destination | None:
    """The destination of an ExternalService's port; None when it has no such port."""
    row, port = _row(view, external), _port(view, external, number)
    if row is None or port is None:
        return None
    name = names.external_cluster(external, number)
    protocol = protocol_of(_service_port(port))
    sni = (port.tls.sni or row.spec.hosts[0]) if port.tls.mode == "Originate" else ""
    if row.spec.resolution == "Static":
        endpoints = tuple(
            Endpoint(
                each.address,
                each.port or number,
                Locality(each.locality.region, each.locality.zone) if each.locality else Locality(),
                weight=each.weight,
            )
            for each in row.spec.endpoints
        )
        return Destination(name, "static", protocol, Connection(), endpoints=endpoints, tls_sni=sni)
    endpoint = row.spec.endpoints[0] if row.spec.endpoints else None
    return Destination(
        name,
        "dns",
        protocol,
        Connection(),
        dns_name=endpoint.address if endpoint is not None else row.spec.hosts[0],
        dns_port=(endpoint.port if endpoint is not None else None) or number,
        tls_sni=sni,
    )


@derived
def external_host_of(view: View, external: Key, number: int, explicit: bool) -> VirtualHost | None:
    """The virtual host of an ExternalService's HTTP port, not yet named; `explicit`: its hosts carry the port."""
    if number not in external_http_ports(view, external):
        return None
    row = _row(view, external)
    hosts = tuple(host for host in (row.spec.hosts if row is not None else ()) if _owns(view, external, host))
    if not hosts:
        return None
    if explicit:
        first = external_http_ports(view, external)[0]
        hosts = (*(hosts if number == first else ()), *(f"{host}:{number}" for host in hosts))
    backend = Backend(names.external_cluster(external, number))
    return VirtualHost("", hosts, (Route("default", (RequestMatch(),), Forward((backend,))),))


def external_tcp_route(external: Key, number: int) -> TcpRoute:
    """Where the connections to an ExternalService's TCP port go."""
    name = names.external_cluster(external, number)
    return TcpRoute(name, (Backend(name),))


@derived
def external_addresses_of(view: View, external: Key) -> tuple[str, ...]:
    """The virtual addresses by which its TCP ports are told apart: those it states, else its static endpoints."""
    row = _row(view, external)
    if row is None:
        return ()
    stated = tuple(str(address) for address in row.spec.addresses)
    return stated or tuple(each.address for each in row.spec.endpoints if is_address(each.address))


def _owns(view: View, external: Key, host: str) -> bool:
    if _service_of(view, host) is not None:
        return False
    claimants = view.select("ExternalService", "host", host)
    ages = {key: (row.created or "9", key) for key in claimants if (row := _row(view, key)) is not None}
    return not ages or min(ages, key=ages.__getitem__) == external


def _service_of(view: View, host: str) -> Key | None:
    """The Service of the mesh that a host names."""
    labels = host.lower().removesuffix(f".svc.{environment(view).cluster_domain}").removesuffix(".svc").split(".")
    key = Key(labels[1], labels[0]) if len(labels) == 2 else None
    return key if key is not None and view.get("Service", key) is not None else None


@derived
def external_problems(view: View, external: Key) -> tuple[Problem, ...]:
    """The hosts of an ExternalService that belong to another object."""
    row = _row(view, external)
    found = []
    for host in row.spec.hosts if row is not None else ():
        if not _owns(view, external, host):
            owner = _service_of(view, host)
            whose = f"Service {owner}" if owner is not None else "an older ExternalService"
            message = f"spec.hosts: {host} belongs to {whose}; remove it here or there"
            found.append(Problem("ExternalService", external, "Conflicted", message, field="spec.hosts"))
    return tuple(found)
