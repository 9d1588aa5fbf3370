"""What an ExternalService is to a client: destinations outside of the mesh, by the host names that it registers.

Place in the flow: beside `mesh.service` and `mesh.outbound`, which do the same for Services. A host or an
address that two register belongs to the older one; a name or a virtual address of a Service belongs to that Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from xdscp.derive import View, derived
from xdscp.mesh import names, policy_routes
from xdscp.mesh.destination import Connection, Destination, Endpoint, Locality
from xdscp.mesh.endpoints import host_refusal_of
from xdscp.mesh.listening import RESERVED_PORTS
from xdscp.mesh.mesh_settings import settings_of
from xdscp.mesh.routing import Backend, Forward, RequestMatch, Route, TcpRoute, VirtualHost
from xdscp.mesh.service import bare_port, is_address, protocol_of, service_named
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
    connection = Connection()
    timeout = settings_of(view, external.namespace).connect_timeout
    if timeout is not None:
        connection = replace(connection, connect_timeout=timeout)
    if row.spec.resolution == "Static":
        endpoints = tuple(
            Endpoint(
                each.address,
                each.port or number,
                Locality(each.locality.region, each.locality.zone) if each.locality else Locality(),
                weight=each.weight,
            )
            for each in row.spec.endpoints
            if not host_refusal_of(view, each.address)
        )
        return Destination(name, "static", protocol, connection, endpoints=endpoints, tls_sni=sni)
    endpoint = row.spec.endpoints[0] if row.spec.endpoints else None
    looked_up = endpoint.address if endpoint is not None else row.spec.hosts[0]
    if host_refusal_of(view, looked_up):
        return Destination(name, "static", protocol, connection, tls_sni=sni)
    return Destination(
        name,
        "dns",
        protocol,
        connection,
        dns_name=looked_up,
        dns_port=(endpoint.port if endpoint is not None else None) or number,
        tls_sni=sni,
    )


@derived
def external_host_of(view: View, external: Key, number: int, explicit: bool) -> VirtualHost | None:
    """The virtual host of an ExternalService's HTTP port, not yet named; `explicit`: its hosts carry the port."""
    if number not in external_http_ports(view, external) or (not explicit and number in RESERVED_PORTS):
        return None
    row = _row(view, external)
    hosts = tuple(host for host in (row.spec.hosts if row is not None else ()) if _owns(view, external, host))
    if not hosts:
        return None
    if explicit:
        numbers = external_http_ports(view, external)
        hosts = (
            *(hosts if number == bare_port(numbers) else ()),
            *(f"{host}:{number}" for host in hosts),
        )
    backend = Backend(names.external_cluster(external, number))
    retry = policy_routes.retry(settings_of(view, external.namespace).retry, None)
    return VirtualHost("", hosts, (Route("default", (RequestMatch(),), Forward((backend,), retry=retry)),))


def external_tcp_route(external: Key, number: int) -> TcpRoute:
    """Where the connections to an ExternalService's TCP port go."""
    name = names.external_cluster(external, number)
    return TcpRoute(name, (Backend(name),))


@derived
def external_addresses_of(view: View, external: Key, number: int) -> tuple[str, ...]:
    """The virtual addresses by which a TCP port is told apart: those it states, else its static endpoints."""
    row = _row(view, external)
    addresses = addresses_of(row) if row is not None else ()
    return tuple(address for address in addresses if _owns_address(view, external, address, number))


def addresses_of(row: ExternalService) -> tuple[str, ...]:
    """The addresses that an ExternalService claims."""
    stated = tuple(str(address) for address in row.spec.addresses)
    return stated or tuple(each.address for each in row.spec.endpoints if is_address(each.address))


def _owns(view: View, external: Key, host: str) -> bool:
    return _service_of(view, host) is None and _oldest(view, view.select("ExternalService", "host", host), external)


def _owns_address(view: View, external: Key, address: str, number: int) -> bool:
    """Whether the connections to an address and port are its own: a Service's address is the Service's, at any port."""
    if view.select("Service", "address", address):
        return False
    claimants = view.select("ExternalService", "address", address)
    return _oldest(view, (key for key in claimants if _port(view, key, number) is not None), external)


def _oldest(view: View, claimants: Iterable[Key], external: Key) -> bool:
    ages = {key: (row.created or "9", key) for key in claimants if (row := _row(view, key)) is not None}
    return not ages or min(ages, key=ages.__getitem__) == external


def _service_of(view: View, host: str) -> Key | None:
    """The Service of the mesh that a host names, by a name or by a virtual address."""
    if is_address(host):
        return next(iter(view.select("Service", "address", host)), None)
    return service_named(view, host)


@derived
def external_problems(view: View, external: Key) -> tuple[Problem, ...]:
    """What of an ExternalService belongs to another object, leads to the proxy's own machine, or cannot be reached."""
    row = _row(view, external)
    if row is None:
        return ()
    found = [
        _conflict(external, "spec.hosts", host, _service_of(view, host))
        for host in row.spec.hosts
        if not _owns(view, external, host)
    ]
    numbers = [port.number for port in row.spec.ports if port.number not in external_http_ports(view, external)]
    for address in addresses_of(row) if numbers else ():
        if not all(_owns_address(view, external, address, number) for number in numbers):
            field = "spec.addresses" if row.spec.addresses else "spec.endpoints"
            found.append(_conflict(external, field, address, _service_of(view, address)))
    if numbers and not addresses_of(row):
        message = f"spec.addresses: TCP port {numbers[0]} cannot be told apart from others without an address"
        found.append(Problem("ExternalService", external, "AddressMissing", message, field="spec.addresses"))
    return (*found, *_refusals(view, external, row))


def _refusals(view: View, external: Key, row: ExternalService) -> Iterator[Problem]:
    places = [(f"spec.endpoints[{index}].address", each.address) for index, each in enumerate(row.spec.endpoints)]
    for field, host in places or [("spec.hosts[0]", row.spec.hosts[0])]:
        refusal = host_refusal_of(view, host)
        if refusal:
            message = f"{field}: {host} {refusal}; it gets no requests"
            yield Problem("ExternalService", external, "AddressRefused", message, field=field)


def _conflict(external: Key, field: str, value: str, owner: Key | None) -> Problem:
    whose = f"Service {owner}" if owner is not None else "an older ExternalService"
    message = f"{field}: {value} belongs to {whose}; remove it here or there"
    return Problem("ExternalService", external, "Conflicted", message, field=field)
