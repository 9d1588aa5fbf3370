"""Load balancing as Envoy's: the policy of a cluster, and what is common to all policies."""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterCommonLbConfig,
    ClusterCommonLbConfigLocalityWeightedLbConfig,
    ClusterLbPolicy,
    ClusterLeastRequestLbConfig,
    ClusterMaglevLbConfig,
    ClusterRingHashLbConfig,
    ClusterRoundRobinLbConfig,
    ClusterSlowStartConfig,
)
from envoy_data_plane.envoy.config.core.v3 import RuntimeDouble
from envoy_data_plane.envoy.type.v3 import Percent

from xdscp.mesh.destination import LoadBalancer

_POLICIES: Final = {
    "RoundRobin": ClusterLbPolicy.ROUND_ROBIN,
    "LeastRequest": ClusterLbPolicy.LEAST_REQUEST,
    "Random": ClusterLbPolicy.RANDOM,
    "RingHash": ClusterLbPolicy.RING_HASH,
    "Maglev": ClusterLbPolicy.MAGLEV,
}
_MINIMUM_RING_SIZE: Final = 1024
"""Envoy's default."""
_AGGRESSION_KEY: Final = "upstream.slow_start.aggression"
"""Envoy asks for a runtime key with the value; nobody sets it."""


def balance(cluster: Cluster, balancer: LoadBalancer, *, locality_weighted: bool) -> None:
    """Write the balancer into `cluster`."""
    cluster.lb_policy = _POLICIES[balancer.type]
    cluster.common_lb_config = _common(balancer, locality_weighted=locality_weighted)
    match balancer.type:
        case "RoundRobin" if balancer.slow_start:
            cluster.round_robin_lb_config = ClusterRoundRobinLbConfig(slow_start_config=_slow_start(balancer))
        case "LeastRequest" if balancer.slow_start or balancer.choice_count:
            cluster.least_request_lb_config = ClusterLeastRequestLbConfig(
                choice_count=balancer.choice_count, slow_start_config=_slow_start(balancer)
            )
        case "RingHash":
            cluster.ring_hash_lb_config = ring_hash(balancer)
        case "Maglev" if balancer.table_size:
            cluster.maglev_lb_config = ClusterMaglevLbConfig(table_size=balancer.table_size)


def ring_hash(balancer: LoadBalancer) -> ClusterRingHashLbConfig:
    """Sizes of the ring; Envoy refuses a maximum under its minimum, which a small maximum alone would be."""
    minimum, maximum = balancer.minimum_ring_size, balancer.maximum_ring_size
    if maximum is not None:
        minimum = min(minimum or _MINIMUM_RING_SIZE, maximum)
    return ClusterRingHashLbConfig(minimum_ring_size=minimum, maximum_ring_size=maximum)


def _slow_start(balancer: LoadBalancer) -> ClusterSlowStartConfig | None:
    if not balancer.slow_start:
        return None
    aggression = balancer.slow_start_aggression
    return ClusterSlowStartConfig(
        slow_start_window=balancer.slow_start,
        aggression=None if aggression is None else RuntimeDouble(default_value=aggression, runtime_key=_AGGRESSION_KEY),
    )


def _common(balancer: LoadBalancer, *, locality_weighted: bool) -> ClusterCommonLbConfig | None:
    if not locality_weighted and balancer.panic_threshold is None:
        return None
    return ClusterCommonLbConfig(
        healthy_panic_threshold=None
        if balancer.panic_threshold is None
        else Percent(value=float(balancer.panic_threshold)),
        locality_weighted_lb_config=ClusterCommonLbConfigLocalityWeightedLbConfig() if locality_weighted else None,
    )
