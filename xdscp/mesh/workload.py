"""Which workload a proxy belongs to, and what that workload listens on.

Place in the flow: a node id names a Pod or a Workload; pods of equal configuration derive the equal `Proxy` value, and
share all that is derived from it. In explicit mode a pod's own addresses are part of it, so only its own listeners are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from xdscp.derive import View, derived
from xdscp.mesh import traffic
from xdscp.mesh.destination import Locality, Protocol
from xdscp.mesh.endpoints import locality_of_node, row_port
from xdscp.mesh.environment import environment
from xdscp.mesh.listening import Downstream, InboundPort, Mode, TcpListener
from xdscp.mesh.locality import Vantage
from xdscp.mesh.service import MeshPort, ports_of, selected_by, services_of_pod
from xdscp.resources.core import Key, Pod

Role = Literal["sidecar", "gateway", "grpc"]

ADDRESS_ANNOTATION = "xdscp.io/explicit-address"
PORT_ANNOTATION = "xdscp.io/explicit-port"
APP_ADDRESS_ANNOTATION = "xdscp.io/app-address"
GATEWAY_PORT_ANNOTATION = "xdscp.io/gateway-port"

LOOPBACK = "127.0.0.1"
EXPLICIT_PORT = 15001
GATEWAY_PORT = 8080
RESERVED_PORTS = frozenset({15000, 15001, 15006, 15021, 15090})
"""Envoy's own in a sidecar; an application cannot be intercepted there."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """All that a proxy's configuration depends on; equal for the replicas of a workload in interception mode.

    `namespace` gives the short names that resolve; `explicit_address` and `explicit_port` are where the explicit mode
    (or a gateway) listens for requests by host.
    """

    namespace: str
    role: Role
    mode: Mode
    vantage: Vantage = Vantage()
    inbound: tuple[InboundPort, ...] = ()
    explicit_address: str = LOOPBACK
    explicit_port: int = EXPLICIT_PORT
    tcp: tuple[TcpListener, ...] = ()
    service_account: str = "default"
    downstream: Downstream = Downstream()


@derived
def proxy_of(view: View, node: Key, role: Role, mode: Mode) -> Proxy:
    """The proxy of a node id; a node that no Pod or Workload names is a client without ports of its own."""
    pod: Pod | None = view.get("Pod", node)
    if pod is not None:
        return _proxy_of_pod(view, pod, role, mode)
    workload = view.get("Workload", node)
    if workload is None:
        environment(view)  # where its listeners come from, when there is nothing else
        return Proxy(
            node.namespace,
            role,
            mode,
            tcp=_tcp_listeners(view, node, mode),
            explicit_port=_explicit_port(view, node, role),
        )
    spec = workload.spec
    locality = Locality(spec.locality.region, spec.locality.zone) if spec.locality is not None else Locality()
    explicit = spec.explicit
    return Proxy(
        node.namespace,
        role,
        mode,
        Vantage(locality),
        _inbound_of_workload(view, node, _inbound_mode(role, mode)) if role != "gateway" else (),
        (explicit.address if explicit is not None and explicit.address else LOOPBACK),
        (explicit.port if explicit is not None and explicit.port else _explicit_port(view, node, role)),
        _tcp_listeners(view, node, mode),
        spec.service_account,
        Downstream(ipv6=":" in str(spec.address)),
    )


def _proxy_of_pod(view: View, pod: Pod, role: Role, mode: Mode) -> Proxy:
    annotations = dict(pod.annotations)
    chosen = annotations.get(PORT_ANNOTATION if role == "sidecar" else GATEWAY_PORT_ANNOTATION, "")
    port = int(chosen) if chosen.isdigit() and 0 < int(chosen) < 65536 else _explicit_port(view, pod.key, role)
    locality = locality_of_node(view, pod.node) if pod.node else Locality()
    node = pod.node if view.select("Service", "nodeLocal", ()) else ""
    return Proxy(
        pod.key.namespace,
        role,
        mode,
        Vantage(locality, node),
        _inbound_of_pod(view, pod, _inbound_mode(role, mode)) if role != "gateway" else (),
        annotations.get(ADDRESS_ANNOTATION, LOOPBACK if role == "sidecar" else "0.0.0.0"),  # noqa: S104  # a gateway serves all
        port,
        _tcp_listeners(view, pod.key, mode),
        pod.service_account,
        Downstream(ipv6=any(":" in ip for ip in pod.ips)),
    )


def _inbound_mode(role: Role, mode: Mode) -> Mode:
    """A gRPC server serves on its ports itself: there is no second address, as with interception."""
    return "interception" if role == "grpc" else mode


def _explicit_port(view: View, node: Key, role: Role) -> int:
    if role == "gateway":
        return GATEWAY_PORT
    return traffic.explicit_port_of(view, node.namespace) or EXPLICIT_PORT


def _tcp_listeners(view: View, node: Key, mode: Mode) -> tuple[TcpListener, ...]:
    return traffic.tcp_listeners_of(view, node) if mode == "explicit" else ()


def _inbound_of_pod(view: View, pod: Pod, mode: Mode) -> tuple[InboundPort, ...]:
    targets: dict[int, Protocol] = {}
    for service in services_of_pod(view, pod.key):
        for port in ports_of(view, service):
            number = port.target if isinstance(port.target, int) else row_port(pod, port.target)
            if number:
                _claim(targets, number, port)
    address = pod.ips[0] if pod.ips else ""
    app_address = dict(pod.annotations).get(APP_ADDRESS_ANNOTATION, LOOPBACK)
    return tuple(_inbound(targets, mode, address, app_address))


def _inbound_of_workload(view: View, workload: Key, mode: Mode) -> tuple[InboundPort, ...]:
    row = view.get("Workload", workload)
    if row is None:
        return ()
    spec = row.spec
    targets: dict[int, Protocol] = {}
    app_ports: dict[int, int] = {}
    for service in sorted(selected_by(view, workload.namespace, row.labels)):
        for port in ports_of(view, service):
            number = port.target if isinstance(port.target, int) else 0
            for own in spec.ports:
                if own.name and own.name in {port.target, port.name}:
                    number = own.port
            if number:
                _claim(targets, number, port)
    for own in spec.ports:
        app_ports[own.port] = own.app_port or own.port
    address = str(spec.address)
    app_address = str(spec.app_address or LOOPBACK)
    return tuple(_inbound(targets, mode, address, app_address, app_ports))


def _claim(targets: dict[int, Protocol], number: int, port: MeshPort) -> None:
    """Of services that say different things of one port, opaque bytes are right for all."""
    known = targets.setdefault(number, port.protocol)
    if known != port.protocol:
        targets[number] = "tcp" if "tcp" in {known, port.protocol} else "http"


def _inbound(
    targets: dict[int, Protocol], mode: Mode, address: str, app_address: str, app_ports: dict[int, int] | None = None
) -> Iterator[InboundPort]:
    for number, protocol in sorted(targets.items()):
        if mode == "interception":
            if number not in RESERVED_PORTS:
                yield InboundPort(number, protocol)
            continue
        app_port = (app_ports or {}).get(number, number)
        if address and (address, number) != (app_address, app_port):
            yield InboundPort(number, protocol, address, app_address, app_port)
