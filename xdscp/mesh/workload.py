"""Which workload a proxy belongs to, and what that workload listens on.

Place in the flow: a node id names a Pod or a Workload; pods of equal configuration derive the equal `Proxy` value, and
share all that is derived from it. In explicit mode a pod's own addresses are part of it, so only its own listeners are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from xdscp.derive import View, derived
from xdscp.mesh import pod_annotations, traffic
from xdscp.mesh.destination import Locality, Protocol
from xdscp.mesh.endpoints import locality_of_node, row_port
from xdscp.mesh.environment import environment
from xdscp.mesh.listening import RESERVED_PORTS, Downstream, InboundPort, Mode, TcpListener
from xdscp.mesh.locality import Vantage
from xdscp.mesh.mesh_settings import EXPLICIT_PORT
from xdscp.mesh.service import ports_of, selected_by, services_of_pod
from xdscp.resources.core import Key, Pod

Role = Literal["sidecar", "gateway", "grpc"]

LOOPBACK = "127.0.0.1"
GATEWAY_PORT = 8080


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
    known: bool = True
    """Whether a Pod or Workload is named like the node."""


@derived
def proxy_of(view: View, node: Key, role: Role, mode: Mode) -> Proxy:
    """The proxy of a node id; a node that no Pod or Workload names is a client without ports of its own."""
    found = _distinct(_proxy(view, node, role, mode))
    return _with_header_case(found) if view.select("TrafficPolicy", "headerCase", ()) else found


def _with_header_case(proxy: Proxy) -> Proxy:
    """What a destination's `preserveHeaderCase` asks of the listeners between the client and the application."""
    return replace(
        proxy,
        inbound=tuple(replace(port, preserve_header_case=True) for port in proxy.inbound),
        downstream=replace(proxy.downstream, preserve_header_case=True),
    )


def _distinct(proxy: Proxy) -> Proxy:
    """The proxy with each address and port listened on once: Envoy refuses a second listener there.

    The workload's own ports go first; then requests by host, at the default port where theirs is taken; then TCP.
    """
    taken = {(port.address, port.number) for port in proxy.inbound if port.address}
    if (proxy.explicit_address, proxy.explicit_port) in taken:
        proxy = replace(proxy, explicit_port=EXPLICIT_PORT)
    taken.add((proxy.explicit_address, proxy.explicit_port))
    tcp = tuple(listener for listener in proxy.tcp if (listener.address, listener.port) not in taken)
    return proxy if len(tcp) == len(proxy.tcp) else replace(proxy, tcp=tcp)


def _proxy(view: View, node: Key, role: Role, mode: Mode) -> Proxy:
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
            tcp=_tcp_listeners(view, node, mode, LOOPBACK),
            explicit_port=_explicit_port(view, node, role),
            known=False,
        )
    spec = workload.spec
    locality = Locality(spec.locality.region, spec.locality.zone) if spec.locality is not None else Locality()
    explicit = spec.explicit
    return Proxy(
        node.namespace,
        role,
        mode,
        Vantage(locality),
        _inbound_of_role(role, _inbound_of_workload(view, node, _inbound_mode(role, mode)), str(spec.address)),
        (address := explicit.address if explicit is not None and explicit.address else LOOPBACK),
        (explicit.port if explicit is not None and explicit.port else _explicit_port(view, node, role)),
        _tcp_listeners(view, node, mode, address),
        spec.service_account,
        Downstream(ipv6=":" in str(spec.address)),
    )


def _proxy_of_pod(view: View, pod: Pod, role: Role, mode: Mode) -> Proxy:
    chosen = pod_annotations.value_of(
        pod, pod_annotations.EXPLICIT_PORT if role == "sidecar" else pod_annotations.GATEWAY_PORT
    )
    port = int(chosen) if chosen else _explicit_port(view, pod.key, role)
    locality = locality_of_node(view, pod.node) if pod.node else Locality()
    node = pod.node if view.select("Service", "nodeLocal", ()) else ""
    address = pod_annotations.value_of(pod, pod_annotations.EXPLICIT_ADDRESS)
    return Proxy(
        pod.key.namespace,
        role,
        mode,
        Vantage(locality, node),
        _inbound_of_role(role, _inbound_of_pod(view, pod, _inbound_mode(role, mode)), next(iter(pod.ips), "")),
        address or (LOOPBACK if role == "sidecar" else "0.0.0.0"),  # noqa: S104  # a gateway serves all
        port,
        _tcp_listeners(view, pod.key, mode, address or LOOPBACK),
        pod.service_account,
        Downstream(ipv6=any(":" in ip for ip in pod.ips)),
    )


def _inbound_mode(role: Role, mode: Mode) -> Mode:
    """A gRPC server serves on its ports itself: there is no second address, as with interception."""
    return "interception" if role == "grpc" else mode


def _inbound_of_role(role: Role, ports: tuple[InboundPort, ...], address: str) -> tuple[InboundPort, ...]:
    """A gateway has no inbound ports; a gRPC server may bind the workload's own address."""
    if role == "gateway":
        return ()
    return tuple(replace(port, address=address) for port in ports) if role == "grpc" else ports


def _explicit_port(view: View, node: Key, role: Role) -> int:
    if role == "gateway":
        return GATEWAY_PORT
    return traffic.explicit_port_of(view, node.namespace) or EXPLICIT_PORT


def _tcp_listeners(view: View, node: Key, mode: Mode, address: str) -> tuple[TcpListener, ...]:
    return traffic.tcp_listeners_of(view, node, address) if mode == "explicit" else ()


def _inbound_of_pod(view: View, pod: Pod, mode: Mode) -> tuple[InboundPort, ...]:
    targets: dict[int, set[Protocol]] = {}
    for service in services_of_pod(view, pod.key):
        for port in ports_of(view, service):
            number = port.target if isinstance(port.target, int) else row_port(pod, port.target)
            if number:
                targets.setdefault(number, set()).add(port.protocol)
    address = pod.ips[0] if pod.ips else ""
    app_address = pod_annotations.value_of(pod, pod_annotations.APP_ADDRESS) or LOOPBACK
    return tuple(_inbound(targets, mode, address, app_address))


def _inbound_of_workload(view: View, workload: Key, mode: Mode) -> tuple[InboundPort, ...]:
    row = view.get("Workload", workload)
    if row is None:
        return ()
    spec = row.spec
    targets: dict[int, set[Protocol]] = {}
    app_ports: dict[int, int] = {}
    for service in sorted(selected_by(view, workload.namespace, row.labels)):
        for port in ports_of(view, service):
            number = port.target if isinstance(port.target, int) else 0
            for own in spec.ports:
                if own.name and own.name in {port.target, port.name}:
                    number = own.port
            if number:
                targets.setdefault(number, set()).add(port.protocol)
    for own in spec.ports:
        app_ports[own.port] = own.app_port or own.port
    address = str(spec.address)
    app_address = str(spec.app_address or LOOPBACK)
    return tuple(_inbound(targets, mode, address, app_address, app_ports))


def _protocol(said: set[Protocol]) -> Protocol:
    """Of services that say different things of one port, opaque bytes are right for all."""
    return "tcp" if "tcp" in said else "http" if "http" in said else "http2"


def _inbound(
    targets: dict[int, set[Protocol]],
    mode: Mode,
    address: str,
    app_address: str,
    app_ports: dict[int, int] | None = None,
) -> Iterator[InboundPort]:
    for number, said in sorted(targets.items()):
        protocol, any_http = _protocol(said), said == {"http", "http2"}
        if mode == "interception":
            if number not in RESERVED_PORTS:
                yield InboundPort(number, protocol, any_http=any_http)
            continue
        app_port = (app_ports or {}).get(number, number)
        if address and (address, number) != (app_address, app_port):
            yield InboundPort(number, protocol, address, app_address, app_port, any_http=any_http)
