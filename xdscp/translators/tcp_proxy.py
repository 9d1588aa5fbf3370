"""The network filter that carries opaque bytes to a cluster."""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.listener.v3 import Filter
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy.v3 import (
    TcpProxy,
    TcpProxyWeightedCluster,
    TcpProxyWeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.type.v3 import HashPolicy, HashPolicySourceIp

from xdscp.mesh.listening import Downstream
from xdscp.mesh.routing import Backend, TcpRoute
from xdscp.translators import access_log, names
from xdscp.translators.durations import NONE
from xdscp.translators.encode import packed

NAME: Final = "envoy.filters.network.tcp_proxy"


def to_route(route: TcpRoute, downstream: Downstream) -> Filter:
    """Connections are shared out by the backends' weights; without a weight they are closed."""
    found = TcpProxy(
        stat_prefix=route.name,
        # Databases keep connections for days; the listener's keepalive finds the dead ones.
        idle_timeout=route.idle_timeout or NONE,
        access_log=access_log.tcp(downstream.access_log),
        hash_policy=[HashPolicy(source_ip=HashPolicySourceIp())] if route.hash_source_ip else [],
    )
    backends = tuple(backend for backend in route.backends if backend.weight > 0)
    match backends:
        case ():
            found.cluster = names.BLACKHOLE
        case (only,):
            found.cluster = only.destination
        case _:
            found.weighted_clusters = TcpProxyWeightedCluster(
                clusters=[
                    TcpProxyWeightedClusterClusterWeight(name=backend.destination, weight=backend.weight)
                    for backend in backends
                ]
            )
    return Filter(name=NAME, typed_config=packed(found))


def to_cluster(name: str, downstream: Downstream) -> Filter:
    """All connections go to one cluster, which gives the statistics their name too."""
    return to_route(TcpRoute(name, (Backend(name),)), downstream)
