"""The model of what a workload listens on: outbound ports, inbound ports, and the fate of unknown destinations.

Place in the flow: derived by `mesh.workload` and `mesh.service`; read by `translators.lds` (and `cds` for inbound).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdscp.mesh.destination import Protocol
from xdscp.mesh.routing import TcpRoute

EgressMode = Literal["allow", "registered"]
"""Unknown destinations: `allow` passes them through, `registered` refuses them."""

Mode = Literal["interception", "explicit"]

RESERVED_PORTS = frozenset({15000, 15001, 15006, 15021, 15090})
"""Envoy's own in a sidecar: an application cannot be intercepted there, and a second listener would be refused."""


@dataclass(frozen=True, slots=True)
class Downstream:
    """How a workload's listeners serve their clients; the same for all its ports."""

    access_log: str = ""
    """A path such as `/dev/stdout`, written as JSON lines; empty: no access log."""
    accept_http_10: bool = False
    preserve_header_case: bool = False
    """HTTP/1.1: header names keep their case, where the destination's options ask for it too."""
    ipv6: bool = False
    """Listen on IPv6 too; only where the workload has an IPv6 address, since without one Envoy cannot bind."""


@dataclass(frozen=True, slots=True)
class TcpService:
    """A TCP service on a port of an outbound listener, told apart by its virtual addresses (IP literals)."""

    addresses: tuple[str, ...]
    route: TcpRoute


@dataclass(frozen=True, slots=True)
class OutboundPort:
    """Interception: all services on one port number behind the listener `out/<number>`; HTTP by route table `out/<number>`."""

    number: int
    http: bool
    tcp: tuple[TcpService, ...]
    egress: EgressMode


@dataclass(frozen=True, slots=True)
class TcpListener:
    """Explicit mode: a TCP service on a loopback port of the workload."""

    name: str
    address: str
    port: int
    route: TcpRoute


@dataclass(frozen=True, slots=True)
class InboundPort:
    """A port on which the workload's application serves.

    Explicit mode: Envoy listens on `address:number` and connects to `app_address:app_port`.
    Interception: both addresses are empty, Envoy connects to the address that the peer dialled.
    """

    number: int
    protocol: Protocol
    address: str = ""
    app_address: str = ""
    app_port: int = 0
    preserve_header_case: bool = False
    """HTTP/1.1: the application's header names keep their case on their way back."""
    any_http: bool = False
    """Services say both HTTP/1.1 and HTTP/2 of the port: the application is spoken to as the peer speaks."""
