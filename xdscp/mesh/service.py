"""What a Service is to the mesh: its ports and what they speak, and where it is reached.

Place in the flow: derived from Service rows; read by `mesh.endpoints`, `mesh.traffic` and `mesh.outbound`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from xdscp.derive import View, derived
from xdscp.mesh.destination import Protocol
from xdscp.mesh.environment import environment
from xdscp.resources.core import EndpointSlice, Key, Pod, Service, ServicePort

PROTOCOLS: dict[str, Protocol] = {
    "http": "http",
    "http1": "http",
    "grpc-web": "http",
    "kubernetes.io/ws": "http",
    "http2": "http2",
    "h2c": "http2",
    "kubernetes.io/h2c": "http2",
    "grpc": "http2",
    "tcp": "tcp",
    "tls": "tcp",
    "https": "tcp",
    "kubernetes.io/wss": "tcp",
    "mongo": "tcp",
    "mysql": "tcp",
    "redis": "tcp",
}
"""What an `appProtocol`, or a port name up to its first `-`, says. Anything else is opaque: nothing is sniffed."""


@dataclass(frozen=True, slots=True)
class MeshPort:
    """A port of a service that the mesh carries."""

    number: int
    name: str
    protocol: Protocol
    target: int | str = 0


def protocol_of(port: ServicePort) -> Protocol:
    """What a port speaks: a known `appProtocol` first, then the prefix of the port's name, else `tcp`."""
    stated = PROTOCOLS.get(port.app_protocol.lower())
    if stated is not None:
        return stated
    name = port.name.lower()
    if name.startswith("grpc-web"):
        return "http"
    return PROTOCOLS.get(name.partition("-")[0], "tcp")


@derived
def ports_of(view: View, service: Key) -> tuple[MeshPort, ...]:
    """The TCP ports of a service; empty for an unknown one. UDP and SCTP are not carried by a mesh of TCP proxies."""
    row: Service | None = view.get("Service", service)
    if row is None:
        return ()
    return tuple(
        MeshPort(port.number, port.name, protocol_of(port), port.target or port.number)
        for port in row.ports
        if port.transport == "TCP"
    )


def port_of(view: View, service: Key, number: int) -> MeshPort | None:
    """The port of that number, or None."""
    return next((port for port in ports_of(view, service) if port.number == number), None)


@derived
def is_headless(view: View, service: Key) -> bool:
    """Whether clients of the service dial its pods."""
    row: Service | None = view.get("Service", service)
    return row is not None and row.type == "Headless"


@derived
def external_name_of(view: View, service: Key) -> str:
    """The name that an ExternalName service stands for, in lower case without the last dot; "" for any other."""
    row: Service | None = view.get("Service", service)
    return row.external_name.rstrip(".").lower() if row is not None and row.type == "ExternalName" else ""


@derived
def virtual_addresses_of(view: View, service: Key) -> tuple[str, ...]:
    """The virtual IPs by which a service is told apart. Of services that claim the same one, the oldest has it."""
    row: Service | None = view.get("Service", service)
    if row is None or row.type != "ClusterIP":
        return ()
    return tuple(address for address in row.cluster_ips if _claims(view, service, address))


@derived
def lost_addresses_of(view: View, service: Key) -> tuple[str, ...]:
    """The virtual IPs that a service claims and an older one has."""
    row: Service | None = view.get("Service", service)
    if row is None or row.type != "ClusterIP":
        return ()
    owned = virtual_addresses_of(view, service)
    return tuple(address for address in row.cluster_ips if address not in owned)


def _claims(view: View, service: Key, address: str) -> bool:
    claimants = view.select("Service", "address", address)
    if len(claimants) == 1:
        return True
    ages = {key: (other.created or "9", key) for key in claimants if (other := view.get("Service", key)) is not None}
    return bool(min(ages, key=ages.__getitem__) == service)


def bare_port(numbers: Sequence[int]) -> int:
    """Of a host's HTTP ports, the one that an authority without a port means: 80, or the first."""
    return 80 if 80 in numbers else numbers[0]


def is_address(text: str) -> bool:
    """Whether a host is an IP literal."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def service_named(view: View, host: str) -> Key | None:
    """The Service that a DNS name of the mesh names, in any of the forms with a namespace; None for any other host."""
    for suffix in ("", ".svc", f".svc.{environment(view).cluster_domain}"):
        labels = host.removesuffix(suffix).split(".")
        if len(labels) == 2 and view.get("Service", key := Key(labels[1], labels[0])) is not None:
            return key
    return None


@derived
def services_of_pod(view: View, pod: Key) -> tuple[Key, ...]:
    """The services that a pod serves, by selector or as the target of a slice."""
    row: Pod | None = view.get("Pod", pod)
    found: set[Key] = set()
    if row is not None:
        found |= selected_by(view, pod.namespace, row.labels)
        for name in view.select("EndpointSlice", "pod", pod):
            row_of_slice: EndpointSlice | None = view.get("EndpointSlice", name)
            if row_of_slice is not None:
                found.add(Key(name.namespace, row_of_slice.service))
    return tuple(sorted(found))


def selected_by(view: View, namespace: str, labels: tuple[tuple[str, str], ...]) -> set[Key]:
    """The services of a namespace whose selector matches the labels; costs the labels, not the services."""
    held = set(labels)
    found: set[Key] = set()
    for label in labels:
        for key in view.select("Service", "selector", (namespace, *label)):
            row: Service | None = view.get("Service", key)
            if row is not None and held.issuperset(row.selector):
                found.add(key)
    return found
