"""Clusters: model to where and how Envoy connects.

Endpoints come apart, by EDS, so a cluster changes only with its policy: every change makes Envoy warm it anew.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterCustomClusterType,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
    UpstreamConnectionOptions,
)
from envoy_data_plane.envoy.config.core.v3 import TcpKeepalive as EnvoyTcpKeepalive
from envoy_data_plane.envoy.extensions.clusters.dynamic_forward_proxy.v3 import ClusterConfig

from xdscp.mesh.destination import (
    CircuitBreaker,
    Destination,
    Endpoint,
    HttpOptions,
    Protocol,
    TcpKeepalive,
)
from xdscp.mesh.listening import InboundPort, Mode
from xdscp.translators import eds, load_balancing, names, resilience, tls_origination, upstream_http
from xdscp.translators.config_source import ADS
from xdscp.translators.construct import unchecked
from xdscp.translators.durations import whole_seconds
from xdscp.translators.encode import packed
from xdscp.translators.filters import dynamic_forward_proxy

_DNS_FAMILIES: Final = {
    "V4Preferred": ClusterDnsLookupFamily.V4_PREFERRED,
    "Auto": ClusterDnsLookupFamily.AUTO,
    "All": ClusterDnsLookupFamily.ALL,
}
_LOCAL_CONNECT_TIMEOUT: Final = timedelta(seconds=1)
"""To the application in the same pod: there is no network between."""
_PASSTHROUGH_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
_AS_DOWNSTREAM: Final = packed(upstream_http.as_downstream())
_UNLIMITED: Final = resilience.circuit_breakers(CircuitBreaker())

_cluster = unchecked(Cluster)
_eds_config = unchecked(ClusterEdsClusterConfig)


def cluster(destination: Destination) -> Cluster:
    """The cluster of a destination; its resource name is the destination's."""
    connection = destination.connection
    found = _cluster(
        name=destination.name,
        connect_timeout=connection.connect_timeout,
        circuit_breakers=resilience.circuit_breakers(connection.circuit_breaker),
        outlier_detection=None
        if connection.outlier_detection is None
        else resilience.outlier_detection(connection.outlier_detection),
        upstream_connection_options=None
        if connection.tcp_keepalive is None
        else UpstreamConnectionOptions(tcp_keepalive=_tcp_keepalive(connection.tcp_keepalive)),
    )
    load_balancing.balance(found, connection.load_balancer, locality_weighted=destination.locality_weighted)
    _discover(found, destination)
    protocol = _protocol(destination)
    _speak(found, protocol, connection.http)
    if destination.tls_sni:
        found.transport_socket = tls_origination.transport_socket(destination.tls_sni, protocol)
    return found


def _protocol(destination: Destination) -> Protocol:
    """What is spoken to the endpoints: the port's protocol, or the HTTP version that a policy asks for."""
    upgrade = destination.connection.upgrade_http2
    if destination.protocol == "tcp" or upgrade is None:
        return destination.protocol
    return "http2" if upgrade else "http"


def _speak(found: Cluster, protocol: Protocol, options: HttpOptions) -> None:
    if protocol != "tcp":
        found.typed_extension_protocol_options = {
            upstream_http.NAME: upstream_http.explicit(options, http2=protocol == "http2")
        }


def _discover(found: Cluster, destination: Destination) -> None:
    match destination.discovery:
        case "eds":
            found.type = ClusterDiscoveryType.EDS
            found.eds_cluster_config = _eds_config(eds_config=ADS, service_name=destination.name)
        case "dns":
            found.type = ClusterDiscoveryType.STRICT_DNS
            found.dns_lookup_family = _DNS_FAMILIES[destination.dns_family]
            named = Endpoint(destination.dns_name, destination.dns_port)
            found.load_assignment = eds.fixed(destination.name, (named,))
        case "static":
            found.type = ClusterDiscoveryType.STATIC
            found.load_assignment = eds.fixed(destination.name, destination.endpoints)
        case "original":
            _dial_original(found)


def _dial_original(found: Cluster) -> None:
    """The address that the client dialled is the endpoint; there is nothing to balance."""
    found.type = ClusterDiscoveryType.ORIGINAL_DST
    found.lb_policy = ClusterLbPolicy.CLUSTER_PROVIDED
    found.common_lb_config = None
    found.least_request_lb_config = None
    found.round_robin_lb_config = None
    found.ring_hash_lb_config = None
    found.maglev_lb_config = None


def _tcp_keepalive(keepalive: TcpKeepalive) -> EnvoyTcpKeepalive:
    return EnvoyTcpKeepalive(
        keepalive_probes=keepalive.probes,
        keepalive_time=whole_seconds(keepalive.time),
        keepalive_interval=whole_seconds(keepalive.interval),
    )


def inbound_cluster(port: InboundPort) -> Cluster:
    """The application behind a port of the workload: at its own address, or where the peer dialled."""
    found = _cluster(
        name=names.inbound_cluster(port.number),
        connect_timeout=_LOCAL_CONNECT_TIMEOUT,
        circuit_breakers=_UNLIMITED,
    )
    if port.app_address:
        found.type = ClusterDiscoveryType.STATIC
        found.load_assignment = eds.fixed(found.name, (Endpoint(port.app_address, port.app_port),))
    else:
        _dial_original(found)
    _speak(found, port.protocol, HttpOptions(preserve_header_case=port.preserve_header_case))
    if port.any_http:
        found.typed_extension_protocol_options = {upstream_http.NAME: _AS_DOWNSTREAM}
    return found


def passthrough(mode: Mode = "interception") -> Cluster:
    """Connects to where the client wanted to go, and speaks what the client speaks.

    Interception: the address that was dialled. Explicit mode: the host of the request, resolved by
    `filters.dynamic_forward_proxy`.
    """
    found = _cluster(
        name=names.PASSTHROUGH,
        connect_timeout=_PASSTHROUGH_CONNECT_TIMEOUT,
        circuit_breakers=_UNLIMITED,
        typed_extension_protocol_options={upstream_http.NAME: _AS_DOWNSTREAM},
    )
    if mode == "interception":
        _dial_original(found)
    else:
        found.lb_policy = ClusterLbPolicy.CLUSTER_PROVIDED
        found.cluster_type = ClusterCustomClusterType(
            name="envoy.clusters.dynamic_forward_proxy",
            typed_config=packed(ClusterConfig(dns_cache_config=dynamic_forward_proxy.NAMES)),
        )
    return found


def blackhole() -> Cluster:
    """Has no endpoints: a connection to it is closed."""
    return Cluster(
        name=names.BLACKHOLE,
        type=ClusterDiscoveryType.STATIC,
        connect_timeout=_LOCAL_CONNECT_TIMEOUT,
    )
