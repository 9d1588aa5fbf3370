"""The tree of services' shards, shared by all proxies of a scope.

    shard of a service -> [buckets ->] namespace -> group of namespaces -> tree

Place in the flow: between `services` and the snapshot. It is sixteen wide at each level, so a change costs the path to its
shard, not the number of services. A resource whose derivation raises is served as it was last good.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from zlib import crc32

from xdscp.assembly.scope import Audience, Scope, good
from xdscp.assembly.services import (
    cluster_resource,
    endpoints_resource,
    external_cluster_resource,
    external_host_resource,
    fixed_endpoints_resource,
    grpc_listener_resource,
    grpc_route_resource,
    virtual_host_resource,
)
from xdscp.derive import View, derived
from xdscp.mesh import outbound, traffic
from xdscp.mesh.external import external_ports_of
from xdscp.mesh.locality import vantage_for
from xdscp.mesh.service import ports_of
from xdscp.resources.core import Key
from xdscp.snapshot import Branch, Node, Resource, ResourceType, Shard

FLAT = 32
"""Up to so many services a namespace is one branch."""
WIDE = 512
"""From so many on it is two levels of sixteen above the branches."""


@derived
def shard_of(view: View, owner: Key, audience: Audience) -> Shard:
    """All resources of a service, and of an ExternalService of the same name."""
    found: dict[ResourceType, dict[str, Resource]] = {}
    for each in _resources_of(view, owner, audience):
        found.setdefault(each.type, {})[each.name] = each
    return Shard(found)


def _resources_of(view: View, owner: Key, audience: Audience) -> Iterator[Resource]:
    dialect = audience.dialect
    ports = ports_of(view, owner)
    subsets = ("", *(name for name, _ in traffic.subsets_of(view, owner))) if ports else ()
    for port in ports:
        for subset in subsets:
            yield from good(view, cluster_resource, owner, port.number, subset, dialect)
            destination = view.attempt(outbound.destination_of, owner, port.number, subset, dialect).value
            if destination is not None and destination.discovery == "eds":
                vantage = vantage_for(view, owner, port.number, audience.vantage, subset)
                yield from good(view, endpoints_resource, owner, port.number, subset, vantage)
            elif destination is not None and destination.discovery == "static" and dialect == "grpc":
                yield from good(view, fixed_endpoints_resource, owner, port.number, subset)
        if port.protocol == "tcp":
            continue
        if dialect == "grpc":
            yield from good(view, grpc_route_resource, owner, port.number, audience.own)
            for host in outbound.names_of(view, owner, own=audience.own):
                yield from good(view, grpc_listener_resource, owner, port.number, f"{host}:{port.number}")
        else:
            yield from good(view, virtual_host_resource, owner, port.number, dialect, audience.own)
    if dialect == "grpc":  # a target of its own would be needed to dial an ExternalService
        return
    for number in external_ports_of(view, owner) if audience.externals else ():
        yield from good(view, external_cluster_resource, owner, number, dialect)
        yield from good(view, external_host_resource, owner, number, dialect)


def by_group(owner: Key) -> Hashable:
    """Level of the tree: one of sixteen groups of namespaces."""
    return crc32(owner.namespace.encode()) & 15


def by_namespace(owner: Key) -> Hashable:
    """Level of the tree: the namespace."""
    return owner.namespace


def by_high(owner: Key) -> Hashable:
    """Level of a large namespace: the high four bits of the name's digest."""
    return (crc32(owner.name.encode()) & 255) >> 4


def by_low(owner: Key) -> Hashable:
    """Level of a very large namespace: the low four bits of the name's digest."""
    return crc32(owner.name.encode()) & 15


def by_name(owner: Key) -> Hashable:
    """Last level: the service."""
    return owner.name


def owners(view: View, index: str, value: Hashable) -> tuple[Key, ...]:
    """The Services and ExternalServices under an index."""
    return tuple(sorted({*view.select("Service", index, value), *view.select("ExternalService", index, value)}))


@derived
def namespaces_of(view: View, group: int) -> tuple[str, ...]:
    """The namespaces of a group that have services."""
    return tuple(sorted({key.namespace for key in owners(view, "group", group)}))


@derived
def spread_of(view: View, namespace: str) -> int:
    """How many levels of sixteen a namespace has above its branches: 0, 1 or 2."""
    count = len(owners(view, "namespace", namespace))
    return 0 if count <= FLAT else 1 if count <= WIDE else 2


@derived
def tree_of(view: View, scope: Scope) -> Node:
    """The shards of all services, for all proxies of a scope."""
    own = by_group(Key(scope.namespace, ""))
    externals = traffic.externals_allowed(view, scope.namespace)
    audience = Audience(scope.dialect, scope.vantage, own=False, externals=externals)
    groups: dict[Hashable, Node] = {
        group: _group(view, audience, group, scope.namespace if group == own else "")
        for group in range(16)
        if namespaces_of(view, group)
    }
    return Branch(by_group, groups)


@derived
def _group(view: View, audience: Audience, group: int, own: str) -> Node:
    return Branch(
        by_namespace,
        {
            namespace: _namespace(view, replace(audience, own=namespace == own), namespace)
            for namespace in namespaces_of(view, group)
        },
    )


@derived
def _namespace(view: View, audience: Audience, namespace: str) -> Node:
    spread = spread_of(view, namespace)
    if spread == 0:
        return _branch(view, audience, owners(view, "namespace", namespace))
    return Branch(by_high, {high: _bucket(view, audience, namespace, high, spread) for high in range(16)})


@derived
def _bucket(view: View, audience: Audience, namespace: str, high: int, spread: int) -> Node:
    if spread == 1:
        return _branch(view, audience, owners(view, "bucket16", (namespace, high)))
    return Branch(by_low, {low: _small_bucket(view, audience, namespace, high << 4 | low) for low in range(16)})


@derived
def _small_bucket(view: View, audience: Audience, namespace: str, digest: int) -> Node:
    return _branch(view, audience, owners(view, "bucket256", (namespace, digest)))


def _branch(view: View, audience: Audience, keys: Iterable[Key]) -> Branch:
    return Branch(by_name, {key.name: shard_of(view, key, audience) for key in keys})
