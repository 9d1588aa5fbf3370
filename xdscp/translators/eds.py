"""Endpoints: model to load assignments.

A load assignment is mostly its endpoints, and mostly the same ones as before. So an endpoint's bytes are kept, and the
bytes of an assignment are a join: one changed endpoint costs one encoding, whatever the size of the service.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import HealthStatus
from envoy_data_plane.envoy.config.core.v3 import Locality as EnvoyLocality
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    EndpointAdditionalAddress,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as EnvoyEndpoint

from xdscp.mesh.destination import Endpoint, Locality, LocalityEndpoints
from xdscp.translators.addresses import socket_address
from xdscp.translators.construct import unchecked
from xdscp.translators.encode import encode
from xdscp.translators.wire import embedded

_ENDPOINTS_KEPT: Final = 131_072
"""Bytes of so many endpoints are kept, about 200 bytes each."""

_ENDPOINTS_FIELD: Final = 2
"""ClusterLoadAssignment.endpoints"""
_LB_ENDPOINTS_FIELD: Final = 2
"""LocalityLbEndpoints.lb_endpoints"""

_assignment = unchecked(ClusterLoadAssignment)
_locality_lb_endpoints = unchecked(LocalityLbEndpoints)
_lb_endpoint = unchecked(LbEndpoint)
_endpoint = unchecked(EnvoyEndpoint)
_envoy_locality = unchecked(EnvoyLocality)


def load_assignment(name: str, localities: tuple[LocalityEndpoints, ...]) -> ClusterLoadAssignment:
    """The endpoints of the cluster `name`; no localities: no endpoints, which ends a cluster's warming too."""
    return _assignment(cluster_name=name, endpoints=[locality_endpoints(each) for each in localities])


def fixed(name: str, endpoints: tuple[Endpoint, ...]) -> ClusterLoadAssignment:
    """Endpoints that stand in the cluster itself, by locality."""
    groups: dict[Locality, list[Endpoint]] = {}
    for endpoint in endpoints:
        groups.setdefault(endpoint.locality, []).append(endpoint)
    return load_assignment(
        name,
        tuple(
            LocalityEndpoints(locality, 0, sum(max(1, endpoint.weight) for endpoint in members), tuple(members))
            for locality, members in sorted(groups.items())
        ),
    )


def locality_endpoints(group: LocalityEndpoints) -> LocalityLbEndpoints:
    """Locality and weight are always there: gRPC clients refuse endpoints without the one, ignore them without the other."""
    return _locality_lb_endpoints(
        locality=_locality(group.locality),
        lb_endpoints=[lb_endpoint(endpoint) for endpoint in group.endpoints],
        load_balancing_weight=max(1, group.weight),
        priority=group.priority,
    )


def _locality(locality: Locality) -> EnvoyLocality:
    return _envoy_locality(region=locality.region, zone=locality.zone)


def lb_endpoint(endpoint: Endpoint) -> LbEndpoint:
    """One endpoint. Its health is unknown, so it counts as healthy until outlier detection says otherwise."""
    return _lb_endpoint(
        endpoint=_endpoint(
            address=socket_address(endpoint.address, endpoint.port),
            hostname=endpoint.hostname,
            additional_addresses=[
                EndpointAdditionalAddress(address=socket_address(address, endpoint.port))
                for address in endpoint.additional_addresses
            ],
        ),
        health_status=HealthStatus.DRAINING if endpoint.draining else HealthStatus.UNKNOWN,
        load_balancing_weight=max(1, endpoint.weight),
    )


def load_assignment_bytes(name: str, localities: tuple[LocalityEndpoints, ...]) -> bytes:
    """The bytes of `load_assignment(name, localities)`."""
    return encode(_assignment(cluster_name=name)) + b"".join(
        embedded(_ENDPOINTS_FIELD, _group_bytes(group)) for group in localities
    )


def _group_bytes(group: LocalityEndpoints) -> bytes:
    before, after = _frame(group.locality, group.weight, group.priority)
    return before + b"".join(map(_framed_endpoint, group.endpoints)) + after


@lru_cache(maxsize=4096)
def _frame(locality: Locality, weight: int, priority: int) -> tuple[bytes, bytes]:
    """What stands before and after the endpoints of a locality."""
    before = encode(LocalityLbEndpoints(locality=_locality(locality)))
    after = encode(LocalityLbEndpoints(load_balancing_weight=max(1, weight), priority=priority))
    return before, after


@lru_cache(maxsize=_ENDPOINTS_KEPT)
def _framed_endpoint(endpoint: Endpoint) -> bytes:
    return embedded(_LB_ENDPOINTS_FIELD, encode(lb_endpoint(endpoint)))
