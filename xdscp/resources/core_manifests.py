"""The manifests of Kubernetes' own kinds as the trimmed objects of `core`.

Place in the flow: called by the table in `kinds`. Parsed by hand: a large cluster has hundreds of thousands of endpoints,
and validation models cost several times as much. Fields that a mesh does not read are ignored, since Kubernetes grows;
those that it reads are checked as the API server checks them, since a folder has none in front of it.
Each parser takes a manifest whose identity is known to be good, and raises `Rejected`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from xdscp.resources import core
from xdscp.resources.core import Key
from xdscp.resources.manifest_fields import (
    boolean,
    dns_label,
    dns_name,
    each,
    inside,
    integer,
    ip,
    ipv4,
    ipv6,
    labels,
    mapping,
    text,
    texts,
    word,
)
from xdscp.resources.rejection import Rejected, rejected

Manifest = Mapping[str, Any]
Transport = Literal["TCP", "UDP", "SCTP"]

SERVICE_LABEL = "kubernetes.io/service-name"
ZONE_LABEL = "topology.kubernetes.io/zone"
REGION_LABEL = "topology.kubernetes.io/region"
OWN_ANNOTATIONS = "xdscp.io/"

_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?!.*--)(?=.*[a-z])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


# -- Service -------------------------------------------------------------------------------------------------------------


def service(manifest: Manifest, key: Key) -> core.Service:
    """A v1 Service."""
    created = text(mapping(manifest, "metadata"), "creationTimestamp")
    return inside(manifest, "spec", lambda spec: _service(spec, key, created))


def _service(spec: Manifest, key: Key, created: str) -> core.Service:
    declared = word(spec, "type", ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"), "ClusterIP")
    is_external = declared == "ExternalName"
    addresses = () if is_external else _cluster_ips(spec)
    is_headless = addresses == ("None",)
    external_name = dns_name({"externalName": text(spec, "externalName").lower().removesuffix(".")}, "externalName")
    if is_external and not external_name:
        raise rejected("externalName", spec.get("externalName"), "must name a host: the type is ExternalName")
    policy = word(spec, "internalTrafficPolicy", ("Cluster", "Local"), "Cluster")
    return core.Service(
        key=key,
        type="ExternalName" if is_external else "Headless" if is_headless else "ClusterIP",
        cluster_ips=() if is_headless else addresses,
        ports=_service_ports(spec),
        selector=() if is_external else labels(spec, "selector"),
        external_name=external_name if is_external else "",
        publish_not_ready=bool(boolean(spec, "publishNotReadyAddresses")),
        traffic_distribution=text(spec, "trafficDistribution"),
        internal_traffic_policy=cast("Literal['Cluster', 'Local']", policy),
        session_affinity=word(spec, "sessionAffinity", ("None", "ClientIP"), "None") == "ClientIP",
        created=created,
    )


def _cluster_ips(spec: Manifest) -> tuple[str, ...]:
    """The virtual addresses, the first one first; `("None",)` when headless, () when none is given."""

    def address(value: str) -> str:
        return value if value == "None" else ip(value)

    several = texts(spec, "clusterIPs", address)
    first = text(spec, "clusterIP")
    if first:
        try:
            several = tuple(dict.fromkeys((address(first), *several)))
        except Rejected as error:
            raise error.under("clusterIP") from None
    if "None" in several and len(several) > 1:
        raise rejected("clusterIPs", list(several), "must be None alone, or addresses")
    return several


def _service_ports(spec: Manifest) -> tuple[core.ServicePort, ...]:
    ports = each(spec, "ports", _service_port)
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        if not port.name and len(ports) > 1:
            raise rejected(f"ports[{index}].name", "", "is required when a Service has several ports")
        if port.name in names:
            raise rejected(f"ports[{index}].name", port.name, "must differ from the names of the other ports")
        if (port.number, port.transport) in numbers:
            raise rejected(f"ports[{index}].port", port.number, f"stands twice for {port.transport}")
        names.add(port.name)
        numbers.add((port.number, port.transport))
    return ports


def _service_port(port: Manifest) -> core.ServicePort:
    number = _number(port, "port")
    return core.ServicePort(
        number=number,
        name=dns_label(port, "name"),
        target=_target(port) or number,
        transport=_transport(port),
        app_protocol=text(port, "appProtocol"),
    )


def _target(port: Manifest) -> int | str:
    """`targetPort`: a number, the name of a container port, or 0 when missing (which the API also writes as 0 or "")."""
    value = port.get("targetPort")
    if isinstance(value, str):
        if not value or _PORT_NAME.fullmatch(value) is not None:
            return value or 0
    elif value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535):
        return value or 0
    rule = "must be a number from 1 to 65535 (without quotes), or the name of a container port"
    raise rejected("targetPort", value, rule)


def _number(port: Manifest, field: str) -> int:
    number = integer(port, field, 1, 65535)
    if number is None:
        raise rejected(field, None, "is required: a number from 1 to 65535")
    return number


def _transport(port: Manifest) -> Transport:
    value = port.get("protocol")
    if value is None or value == "TCP":  # the usual ones, without a call
        return "TCP"
    return cast("Transport", word(port, "protocol", ("TCP", "UDP", "SCTP"), "TCP"))


# -- EndpointSlice -------------------------------------------------------------------------------------------------------


def endpoint_slice(manifest: Manifest, key: Key) -> core.EndpointSlice:
    """A discovery.k8s.io/v1 EndpointSlice. FQDN slices are refused: Kubernetes gives them no meaning for a Service."""
    family = text(manifest, "addressType")
    if family not in ("IPv4", "IPv6"):
        why = "; FQDN slices have no endpoints to send to, use an ExternalName Service" if family == "FQDN" else ""
        raise rejected("addressType", family, f"must be IPv4 or IPv6{why}")
    owner = dict(inside(manifest, "metadata", lambda metadata: labels(metadata, "labels", SERVICE_LABEL)))
    address = ipv4 if family == "IPv4" else ipv6
    return core.EndpointSlice(
        key=key,
        service=owner.get(SERVICE_LABEL, ""),
        family=cast("Literal['IPv4', 'IPv6']", family),
        ports=each(manifest, "ports", _slice_port),
        endpoints=each(manifest, "endpoints", lambda endpoint: _slice_endpoint(endpoint, key.namespace, address)),
    )


def _slice_port(port: Manifest) -> core.SlicePort:
    """`port: null` means every port of the endpoints."""
    return core.SlicePort(
        number=integer(port, "port", 1, 65535),
        name=dns_label(port, "name"),
        transport=_transport(port),
        app_protocol=text(port, "appProtocol"),
    )


def _slice_endpoint(endpoint: Manifest, namespace: str, address: Any) -> core.SliceEndpoint:
    """An endpoint; a condition that is not said reads as the API asks: ready, serving as ready, not terminating."""
    addresses = texts(endpoint, "addresses", address)
    if not addresses:
        raise rejected("addresses", endpoint.get("addresses"), "must have an address")
    try:
        conditions = mapping(endpoint, "conditions")
        ready = boolean(conditions, "ready")
        serving = boolean(conditions, "serving")
        terminating = boolean(conditions, "terminating")
    except Rejected as error:
        raise error if error.findings[0].field == "conditions" else error.under("conditions") from None
    hints: tuple[str, ...] = ()
    if endpoint.get("hints") is not None:
        hints = inside(endpoint, "hints", lambda hints: each(hints, "forZones", lambda zone: text(zone, "name")))
    return core.SliceEndpoint(
        addresses=addresses,
        ready=ready is not False,
        serving=ready is not False if serving is None else serving,
        terminating=terminating is True,
        hostname=dns_label(endpoint, "hostname"),
        node=text(endpoint, "nodeName"),
        zone=text(endpoint, "zone"),
        hint_zones=hints,
        pod=_pod_key(mapping(endpoint, "targetRef"), namespace),
    )


def _pod_key(reference: Manifest, namespace: str) -> Key | None:
    if reference.get("kind") != "Pod":
        return None
    try:
        return Key(text(reference, "namespace") or namespace, text(reference, "name"))
    except Rejected as error:
        raise error.under("targetRef") from None


# -- Pod -----------------------------------------------------------------------------------------------------------------


def pod(manifest: Manifest, key: Key) -> core.Pod:
    """A v1 Pod; one without status conditions, as a folder has it, is ready."""
    own, annotations, is_leaving = inside(
        manifest,
        "metadata",
        lambda metadata: (
            labels(metadata, "labels"),
            labels(metadata, "annotations", OWN_ANNOTATIONS),
            metadata.get("deletionTimestamp") is not None,
        ),
    )
    status = mapping(manifest, "status")
    spec = mapping(manifest, "spec")
    ips, ready, phase = inside(manifest, "status", _pod_status)
    try:
        return core.Pod(
            key=key,
            labels=own,
            ips=ips,
            service_account=dns_name(spec, "serviceAccountName") or "default",
            node=text(spec, "nodeName"),
            hostname=dns_label(spec, "hostname"),
            subdomain=dns_label(spec, "subdomain"),
            ports=_container_ports(spec),
            annotations=annotations,
            ready=ready or not status.get("conditions"),
            terminating=is_leaving,
            finished=phase in ("Succeeded", "Failed"),
        )
    except Rejected as error:
        raise error.under("spec") from None


def _pod_status(status: Manifest) -> tuple[tuple[str, ...], bool, str]:
    """The addresses, whether the condition Ready is true, and the phase."""
    conditions = dict(
        each(status, "conditions", lambda condition: (text(condition, "type"), text(condition, "status")))
    )
    several = each(status, "podIPs", lambda entry: _ip(entry, "ip"))
    first = _ip(status, "podIP")
    ips = tuple(dict.fromkeys(address for address in (first, *several) if address))
    return ips, conditions.get("Ready") == "True", text(status, "phase")


def _ip(manifest: Manifest, field: str) -> str:
    value = text(manifest, field)
    try:
        return value and ip(value)
    except Rejected as error:
        raise error.under(field) from None


def _container_ports(spec: Manifest) -> tuple[core.ContainerPort, ...]:
    def ports(container: Manifest) -> tuple[core.ContainerPort, ...]:
        return each(container, "ports", _container_port)

    def of_sidecar(container: Manifest) -> tuple[core.ContainerPort, ...]:
        return ports(container) if container.get("restartPolicy") == "Always" else ()

    sidecars = each(spec, "initContainers", of_sidecar)  # an init container that keeps running serves like the others
    return tuple(port for container in (*each(spec, "containers", ports), *sidecars) for port in container)


def _container_port(port: Manifest) -> core.ContainerPort:
    return core.ContainerPort(text(port, "name"), _number(port, "containerPort"), _transport(port))


# -- Namespace and Node --------------------------------------------------------------------------------------------------


def namespace(manifest: Manifest, key: Key) -> core.Namespace:
    """A v1 Namespace."""
    return core.Namespace(key, inside(manifest, "metadata", lambda metadata: labels(metadata, "labels")))


def node(manifest: Manifest, key: Key) -> core.Node:
    """A v1 Node: where it stands."""
    place = dict(inside(manifest, "metadata", lambda metadata: labels(metadata, "labels", "topology.kubernetes.io/")))
    return core.Node(key, place.get(ZONE_LABEL, ""), place.get(REGION_LABEL, ""))
