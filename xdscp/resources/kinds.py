"""The one table of kinds: what is read from manifests, by whom it is parsed, and how the store finds it. A new kind is one row.

Place in the flow: the sources ask `identity_of` what a manifest is; `admission` asks `parse` for the object;
`app` gives `INDEXES` to the store, under whose names the derivations look objects up.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from xdscp.resources import core_manifests
from xdscp.resources.core import EndpointSlice, Key, Service
from xdscp.resources.manifest_fields import dns_label, dns_name, inside, text
from xdscp.resources.rejection import Rejected, nearest, rejected

Manifest = Mapping[str, Any]
Index = Callable[[Any], Iterable[Hashable]]
"""The values under which an object is found; as `store.Index`, which is above this layer."""

GROUP = "xdscp.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is read. `parse` makes the object of a manifest with that key, or raises `Rejected`."""

    name: str
    plural: str
    group: str
    versions: tuple[str, ...]
    parse: Callable[[Manifest, Key], Any]
    indexes: Mapping[str, Index] = field(default_factory=dict)
    namespaced: bool = True


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object a manifest is about."""

    kind: str
    key: Key


# -- indexes -------------------------------------------------------------------------------------------------------------


def _namespace(row: Any) -> tuple[Hashable, ...]:
    return (row.key.namespace,)


def _all(_: Any) -> tuple[Hashable, ...]:
    return ((),)


def digest(name: str) -> int:
    """The leaf, from 0 to 255, of a name in the trees that derivations build over a namespace; its high half is the branch."""
    return crc32(name.encode()) & 255


def _bucket16(row: Any) -> tuple[Hashable, ...]:
    return ((row.key.namespace, digest(row.key.name) >> 4),)


def _bucket256(row: Any) -> tuple[Hashable, ...]:
    return ((row.key.namespace, digest(row.key.name)),)


def _group(row: Any) -> tuple[Hashable, ...]:
    return (crc32(row.key.namespace.encode()) & 15,)


def _port(row: Service) -> tuple[Hashable, ...]:
    return tuple(port.number for port in row.ports)


def _external_port(row: Any) -> tuple[Hashable, ...]:
    return tuple(port.number for port in row.spec.ports)


def _selector(row: Service) -> tuple[Hashable, ...]:
    """One label is enough to find a selector by; the reader checks the others."""
    return tuple((row.key.namespace, name, value) for name, value in row.selector[:1])


def _address(row: Service) -> tuple[Hashable, ...]:
    return row.cluster_ips


def _node_local(row: Service) -> tuple[Hashable, ...]:
    local = row.internal_traffic_policy == "Local" or row.traffic_distribution == "PreferSameNode"
    return ((),) if local else ()


def _service(row: EndpointSlice) -> tuple[Hashable, ...]:
    return (Key(row.key.namespace, row.service),) if row.service else ()


def _slice_pods(row: EndpointSlice) -> tuple[Hashable, ...]:
    return tuple({endpoint.pod for endpoint in row.endpoints if endpoint.pod is not None}) if row.service else ()


def _label(row: Any) -> tuple[Hashable, ...]:
    return tuple((row.key.namespace, name, value) for name, value in row.labels)


def _target(row: Any) -> tuple[Hashable, ...]:
    targets = (Key(row.key.namespace, target.name) for target in row.spec.target_refs if target.kind == "Service")
    return tuple(dict.fromkeys(targets))


def _backend(row: Any) -> tuple[Hashable, ...]:
    """The other services to which the routes of a TrafficPolicy send."""
    return tuple(
        {
            Key(backend.namespace or row.key.namespace, backend.name)
            for route in row.spec.routes or ()
            for backend in route.backends
            if backend.name is not None
        }
    )


def _header_case(row: Any) -> tuple[Hashable, ...]:
    """Of the policies that keep the case of header names, for which listeners must remember it."""
    connections = (row.spec.connection, *(subset.connection for subset in row.spec.subsets))
    asked = any(each is not None and each.http is not None and each.http.preserve_header_case for each in connections)
    return ((),) if asked else ()


def _host(row: Any) -> tuple[Hashable, ...]:
    return tuple(row.spec.hosts)


def _external_address(row: Any) -> tuple[Hashable, ...]:
    """The addresses that it claims: those it states, else those of its endpoints."""
    return tuple(str(address) for address in row.spec.addresses) or tuple(
        str(endpoint.address) for endpoint in row.spec.endpoints
    )


_TREE: Mapping[str, Index] = {
    "namespace": _namespace,
    "all": _all,
    "group": _group,
    "bucket16": _bucket16,
    "bucket256": _bucket256,
}


# -- the table -----------------------------------------------------------------------------------------------------------


def _ours(name: str) -> Callable[[Manifest, Key], Any]:
    def parse(manifest: Manifest, _: Key) -> Any:
        from xdscp.resources.mesh_api import PARSERS  # pydantic's models cost most of a start

        return PARSERS[name](manifest)

    return parse


_TABLE = (
    Kind(
        "Service",
        "services",
        "",
        ("v1",),
        core_manifests.service,
        {**_TREE, "port": _port, "selector": _selector, "address": _address, "nodeLocal": _node_local},
    ),
    Kind(
        "EndpointSlice",
        "endpointslices",
        "discovery.k8s.io",
        ("v1",),
        core_manifests.endpoint_slice,
        {"service": _service, "pod": _slice_pods},
    ),
    Kind("Pod", "pods", "", ("v1",), core_manifests.pod, {"namespace": _namespace, "label": _label}),
    Kind("Namespace", "namespaces", "", ("v1",), core_manifests.namespace, {"all": _all}, namespaced=False),
    Kind("Node", "nodes", "", ("v1",), core_manifests.node, {"all": _all}, namespaced=False),
    Kind(
        "TrafficPolicy",
        "trafficpolicies",
        GROUP,
        ("v1alpha1",),
        _ours("TrafficPolicy"),
        {"target": _target, "backend": _backend, "headerCase": _header_case, "all": _all},
    ),
    Kind(
        "MeshPolicy",
        "meshpolicies",
        GROUP,
        ("v1alpha1",),
        _ours("MeshPolicy"),
        {"namespace": _namespace, "all": _all},
    ),
    Kind(
        "ExternalService",
        "externalservices",
        GROUP,
        ("v1alpha1",),
        _ours("ExternalService"),
        {**_TREE, "port": _external_port, "host": _host, "address": _external_address},
    ),
    Kind(
        "Workload",
        "workloads",
        GROUP,
        ("v1alpha1",),
        _ours("Workload"),
        {"namespace": _namespace, "label": _label},
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _TABLE}
INDEXES: Mapping[str, Mapping[str, Index]] = {kind.name: kind.indexes for kind in _TABLE}

_OTHER_CORE_KINDS = {
    "Binding",
    "ComponentStatus",
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "ServiceAccount",
}


def identity_of(manifest: Manifest) -> Identity | None:
    """Which object the manifest is; None for a kind of Kubernetes or of others that is not read here.

    Raises `Rejected` when it does not say so, or is of our group and of no kind or version of it.
    """
    version, name = text(manifest, "apiVersion"), text(manifest, "kind")
    if not name or not version:
        raise rejected("kind" if not name else "apiVersion", "", "is required")
    kind = _kind(version, name)
    if kind is None:
        return None
    return Identity(name, inside(manifest, "metadata", lambda metadata: _key(metadata, kind)))


def parse(kind: str, key: Key, manifest: Manifest) -> Any:
    """The typed object. Raises `Rejected`; whatever else a parser raises is put into one, so that it harms only its object."""
    try:
        return KINDS[kind].parse(manifest, key)
    except Rejected:
        raise
    except Exception as error:
        raise rejected("", "", f"cannot be read: {type(error).__name__}: {error}"[:300]) from error


def _kind(api_version: str, name: str) -> Kind | None:
    group, _, version = api_version.rpartition("/")
    kind = KINDS.get(name)
    if kind is not None and kind.group == group:
        if version in kind.versions:
            return kind
        allowed = " or ".join(f"{group}/{known}".lstrip("/") for known in kind.versions)
        raise rejected("apiVersion", api_version, f"{name} is read as {allowed}")
    names = [known.name for known in _TABLE if known.group == group]
    if group == GROUP or (group == "" and version == "v1" and name not in _OTHER_CORE_KINDS):
        raise rejected("kind", name, f"there is no such kind in {api_version}; {nearest(name, names)}")
    if kind is not None and difflib.SequenceMatcher(None, group, kind.group).ratio() > 0.7:
        raise rejected("apiVersion", api_version, f"did you mean {kind.group}/{kind.versions[-1]}?".replace(" /", " "))
    return None


def _key(metadata: Manifest, kind: Kind) -> Key:
    is_label = kind.name in ("Service", "Namespace")
    name = dns_label(metadata, "name") if is_label else dns_name(metadata, "name")
    if not name:
        raise rejected("name", metadata.get("name"), "is required")
    return Key(dns_label(metadata, "namespace") or "default" if kind.namespaced else "", name)
