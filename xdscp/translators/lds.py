"""Listeners: model to what Envoy listens on.

Interception: connections arrive at one outbound and one inbound port, whatever was dialled; the outbound one hands
each over to the unbound listener of the dialled port, the inbound one has a filter chain a port. Explicit mode: each
listener is bound where clients dial it.

A changed listener drains its connections, so what changes with a policy stands in routes and clusters.
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.core.v3 import TcpKeepalive, TrafficDirection
from envoy_data_plane.envoy.config.listener.v3 import (
    AdditionalAddress,
    Filter,
    FilterChain,
    FilterChainMatch,
    Listener,
    ListenerFilter,
)
from envoy_data_plane.envoy.config.route.v3 import Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost
from envoy_data_plane.envoy.extensions.filters.listener.original_dst.v3 import OriginalDst

from xdscp.mesh.listening import Downstream, EgressMode, InboundPort, Mode, OutboundPort, TcpListener, TcpService
from xdscp.translators import http_connection_manager, names, tcp_proxy
from xdscp.translators.addresses import single_address_range, socket_address
from xdscp.translators.durations import NONE
from xdscp.translators.encode import packed

OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15006

ANY_IPV4: Final = "0.0.0.0"  # noqa: S104  # intercepted connections come from and go to any address
ANY_IPV6: Final = "::"

EDGE_BUFFER_LIMIT: Final = 32_768
"""Bytes a connection; Envoy's advice for edge proxies, whose clients it does not know."""

_ORIGINAL_DESTINATION: Final = ListenerFilter(
    name="envoy.filters.listener.original_dst", typed_config=packed(OriginalDst())
)
_DEFAULT: Final = Downstream()


def outbound(egress: EgressMode, mode: Mode, downstream: Downstream = _DEFAULT) -> Listener:
    """Where a workload's outgoing connections arrive; those to a port without a listener have their fate here.

    Raises ValueError in explicit mode, in which applications dial `explicit` and `tcp` listeners.
    """
    if mode != "interception":
        raise ValueError(f"no outbound listener in mode {mode}")
    found = _bound(names.OUTBOUND, ANY_IPV4, OUTBOUND_PORT, TrafficDirection.OUTBOUND)
    _add_ipv6(found, OUTBOUND_PORT, downstream)
    found.use_original_dst = True
    found.listener_filters = [_ORIGINAL_DESTINATION]
    found.filter_chains = [_loop_guard(OUTBOUND_PORT, downstream)]
    found.default_filter_chain = _fate_of_unknown(egress, downstream)
    return found


def outbound_port(port: OutboundPort, downstream: Downstream = _DEFAULT) -> Listener:
    """All services on one port number. It binds nothing: `outbound` hands over connections dialled to the number."""
    name = names.route_table(port.number)
    found = _listener(name, ANY_IPV4, port.number, TrafficDirection.OUTBOUND)
    _add_ipv6(found, port.number, downstream)
    found.bind_to_port = False
    found.filter_chains = [_tcp_chain(service, downstream) for service in port.tcp]
    found.default_filter_chain = (
        FilterChain(name="http", filters=[http_connection_manager.outbound(name, downstream)])
        if port.http
        else _fate_of_unknown(port.egress, downstream)
    )
    return found


def explicit(port: int, address: str, downstream: Downstream = _DEFAULT) -> Listener:
    """Explicit mode: all HTTP services behind one address, told apart by their hosts."""
    table = names.route_table(names.EXPLICIT)
    found = _bound(names.OUTBOUND, address, port, TrafficDirection.OUTBOUND)
    found.filter_chains = [FilterChain(name="http", filters=[http_connection_manager.explicit(table, downstream)])]
    return found


def tcp(listener: TcpListener, downstream: Downstream = _DEFAULT) -> Listener:
    """Explicit mode: one TCP service behind one address."""
    found = _bound(listener.name, listener.address, listener.port, TrafficDirection.OUTBOUND)
    found.filter_chains = [FilterChain(name="tcp", filters=[tcp_proxy.to_route(listener.route, downstream)])]
    return found


def inbound(ports: tuple[InboundPort, ...], mode: Mode, downstream: Downstream = _DEFAULT) -> tuple[Listener, ...]:
    """Where connections to the workload arrive: one listener with interception, one a port in explicit mode."""
    if mode == "explicit":
        return tuple(_inbound_explicit(port, downstream) for port in ports)
    found = _bound(names.INBOUND, ANY_IPV4, INBOUND_PORT, TrafficDirection.INBOUND)
    _add_ipv6(found, INBOUND_PORT, downstream)
    found.listener_filters = [_ORIGINAL_DESTINATION]
    found.filter_chains = [
        _loop_guard(INBOUND_PORT, downstream),
        *(
            FilterChain(
                name=names.inbound_cluster(port.number),
                filter_chain_match=FilterChainMatch(destination_port=port.number),
                filters=[_inbound_filter(port, downstream)],
            )
            for port in ports
        ),
    ]
    # A port that no Service names is the application's own matter.
    found.default_filter_chain = _fate_of_unknown("allow", downstream)
    return (found,)


def _inbound_explicit(port: InboundPort, downstream: Downstream) -> Listener:
    name = names.inbound_cluster(port.number)
    found = _bound(name, port.address, port.number, TrafficDirection.INBOUND)
    found.filter_chains = [FilterChain(name=name, filters=[_inbound_filter(port, downstream)])]
    return found


def _inbound_filter(port: InboundPort, downstream: Downstream) -> Filter:
    name = names.inbound_cluster(port.number)
    if port.protocol == "tcp":
        return tcp_proxy.to_cluster(name, downstream)
    return http_connection_manager.inbound(_inbound_routes(name), downstream)


def _inbound_routes(name: str) -> RouteConfiguration:
    """Everything to the application, without a timeout and without retries: those are the caller's."""
    return RouteConfiguration(
        name=name,
        virtual_hosts=[
            VirtualHost(
                name=name,
                domains=["*"],
                routes=[Route(name="app", match=RouteMatch(prefix="/"), route=RouteAction(cluster=name, timeout=NONE))],
            )
        ],
        validate_clusters=False,
    )


def gateway(port: int, address: str, table: int | str = names.EXPLICIT, downstream: Downstream = _DEFAULT) -> Listener:
    """Role gateway: requests from outside the mesh, routed by host in the route table of `table`."""
    found = _bound(names.gateway(port), address, port, TrafficDirection.OUTBOUND)
    if address == ANY_IPV4:
        _add_ipv6(found, port, downstream)
    found.per_connection_buffer_limit_bytes = EDGE_BUFFER_LIMIT
    manager = http_connection_manager.gateway(names.route_table(table), downstream)
    found.filter_chains = [FilterChain(name="http", filters=[manager])]
    return found


def _listener(name: str, address: str, port: int, direction: TrafficDirection) -> Listener:
    return Listener(name=name, address=socket_address(address, port), traffic_direction=direction)


def _bound(name: str, address: str, port: int, direction: TrafficDirection) -> Listener:
    found = _listener(name, address, port, direction)
    # Connections have no idle timeout of ours; the kernel's keepalive finds those whose peer is gone.
    found.tcp_keepalive = TcpKeepalive()
    return found


def _add_ipv6(listener: Listener, port: int, downstream: Downstream) -> None:
    if downstream.ipv6:
        listener.additional_addresses = [AdditionalAddress(address=socket_address(ANY_IPV6, port))]


def _tcp_chain(service: TcpService, downstream: Downstream) -> FilterChain:
    return FilterChain(
        name=service.route.name,
        filter_chain_match=FilterChainMatch(prefix_ranges=[single_address_range(each) for each in service.addresses]),
        filters=[tcp_proxy.to_route(service.route, downstream)],
    )


def _fate_of_unknown(egress: EgressMode, downstream: Downstream) -> FilterChain:
    name = names.PASSTHROUGH if egress == "allow" else names.BLACKHOLE
    return FilterChain(name=name, filters=[tcp_proxy.to_cluster(name, downstream)])


def _loop_guard(port: int, downstream: Downstream) -> FilterChain:
    """Who dials the listener's own port is sent to it again by the passthrough, without end; such connections close."""
    return FilterChain(
        name="loop",
        filter_chain_match=FilterChainMatch(destination_port=port),
        filters=[tcp_proxy.to_cluster(names.BLACKHOLE, downstream)],
    )
