"""The Kubernetes objects that a mesh needs, trimmed to what it reads; made from manifests by `resources.kinds`.

Every object has a `key`; `created` (RFC 3339, "" when unknown) decides conflicts: oldest wins, then name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Labels = tuple[tuple[str, str], ...]
"""Labels or a selector, sorted by name."""


class Key(NamedTuple):
    """Namespace ("" for what has none) and name of an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class ServicePort:
    number: int
    name: str = ""
    target: int | str = 0
    """Number, or a container port's name; the reader fills in `number` where the manifest has none."""
    transport: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """v1 Service."""

    key: Key
    type: Literal["ClusterIP", "Headless", "ExternalName"] = "ClusterIP"
    """NodePort and LoadBalancer read as ClusterIP; `clusterIP: None` as Headless."""
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: Labels = ()
    """Empty: no selector."""
    external_name: str = ""
    publish_not_ready: bool = False
    traffic_distribution: str = ""
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    session_affinity: bool = False
    """`sessionAffinity: ClientIP`."""
    created: str = ""


@dataclass(frozen=True, slots=True)
class SlicePort:
    number: int | None
    name: str = ""
    transport: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hostname: str = ""
    node: str = ""
    zone: str = ""
    hint_zones: tuple[str, ...] = ()
    pod: Key | None = None


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """discovery.k8s.io/v1 EndpointSlice; `service` is empty when the label `kubernetes.io/service-name` is missing."""

    key: Key
    service: str
    family: Literal["IPv4", "IPv6"] = "IPv4"
    ports: tuple[SlicePort, ...] = ()
    endpoints: tuple[SliceEndpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerPort:
    name: str
    number: int
    transport: Literal["TCP", "UDP", "SCTP"] = "TCP"


@dataclass(frozen=True, slots=True)
class Pod:
    """v1 Pod. `ready` is the Ready condition, true where a folder's manifest has no status conditions."""

    key: Key
    labels: Labels = ()
    ips: tuple[str, ...] = ()
    service_account: str = "default"
    node: str = ""
    hostname: str = ""
    subdomain: str = ""
    ports: tuple[ContainerPort, ...] = ()
    annotations: Labels = ()
    """Only those of `xdscp.io/`."""
    ready: bool = True
    terminating: bool = False
    finished: bool = False
    """Phase Succeeded or Failed."""


@dataclass(frozen=True, slots=True)
class Namespace:
    key: Key
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Node:
    key: Key
    zone: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding about one object: a value, not a log line. Kept as rows of kind `Problem` beside the objects.

    `reason` is the condition reason (CamelCase); `message` names the field, the value and what is allowed.
    """

    kind: str
    key: Key
    reason: str
    message: str
    file: str = ""
    document: int = 0
    field: str = field(default="")
