"""The endpoints of a service's port: from its EndpointSlices, or, where it has none, from the pods it selects.

Place in the flow: derived from slices, Pods, Workloads and Nodes; `translators.eds` makes load assignments of it.

Conditions as kube-proxy reads them: ready ones get traffic; terminating ones that still serve drain, and are used
when nothing else is left; the rest is absent. The same pod in slices of two families is one endpoint.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from xdscp.derive import View, derived
from xdscp.mesh.destination import Endpoint, Locality
from xdscp.mesh.environment import environment
from xdscp.mesh.listening import RESERVED_PORTS
from xdscp.mesh.service import (
    MeshPort,
    external_name_of,
    is_address,
    lost_addresses_of,
    port_of,
    ports_of,
    service_named,
)
from xdscp.resources.core import EndpointSlice, Key, Labels, Node, Pod, Problem, Service, SliceEndpoint

ALIAS_DEPTH = 8
"""How many ExternalNames in a row are followed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint as a slice tells it, before duplicates are merged."""

    endpoint: Endpoint
    ready: bool


@derived
def locality_of_node(view: View, node: str) -> Locality:
    """Region and zone of a node, from its labels."""
    row: Node | None = view.get("Node", Key("", node))
    return Locality(row.region, row.zone) if row is not None else Locality()


def refusal_of(view: View, address: str) -> str:
    """Why an address may not be an endpoint; "" when it may.

    A slice can be written by any tenant: an address of the proxy's own machine or of a metadata service would turn
    every sidecar into a confused deputy.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "is no IP address"
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local:
        return "is a link-local address"
    if ip.is_multicast or ip.is_unspecified:
        return "is no unicast address"
    if ip.is_loopback and not environment(view).loopback_endpoints:
        return "is a loopback address"
    return ""


def host_refusal_of(view: View, host: str) -> str:
    """Why a DNS name or address may not be where a service leads; "" when it may. `localhost` is never another's."""
    if host == "localhost" or host.endswith(".localhost"):
        return "is the proxy's own machine"
    return refusal_of(view, host) if is_address(host) else ""


@derived
def slice_candidates(view: View, slice_key: Key, port_name: str, default: int) -> tuple[Candidate, ...]:
    """What one slice holds for the port of that name; `default` is used for a slice port without number."""
    row: EndpointSlice | None = view.get("EndpointSlice", slice_key)
    if row is None:
        return ()
    number = next(
        (port.number or default for port in row.ports if port.name == port_name and port.transport == "TCP"), None
    )
    if number is None:
        return ()
    return tuple(
        candidate
        for member in row.endpoints
        if member.addresses and (member.ready or (member.serving and member.terminating))
        for candidate in _candidates(view, member, number)
    )


def _candidates(view: View, member: SliceEndpoint, number: int) -> Iterator[Candidate]:
    address = member.addresses[0]
    if refusal_of(view, address):
        return
    locality = locality_of_node(view, member.node) if member.node else Locality()
    if member.zone and member.zone != locality.zone:
        locality = Locality(locality.region, member.zone)
    yield Candidate(
        Endpoint(
            address=address,
            port=number,
            locality=locality,
            draining=not member.ready,
            hostname=member.hostname,
            hint_zones=member.hint_zones,
            node=member.node,
            workload=member.pod,
        ),
        member.ready,
    )


def selected(view: View, kind: str, namespace: str, selector: Labels) -> tuple[Key, ...]:
    """The Pods or Workloads of a namespace that a selector matches."""
    if not selector:
        return ()
    wanted = set(selector)
    return tuple(
        key
        for key in view.select(kind, "label", (namespace, *selector[0]))
        if (labels := labels_of(view, key)) is not None and wanted.issubset(labels)
    )


@derived
def labels_of(view: View, workload: Key) -> Labels | None:
    """The labels of a Pod or Workload; None when there is neither."""
    pod: Pod | None = view.get("Pod", workload)
    if pod is not None:
        return pod.labels
    external = view.get("Workload", workload)
    return external.labels if external is not None else None


@derived
def pod_candidates(view: View, pod: Key, target: int | str, not_ready: bool) -> tuple[Candidate, ...]:
    """A pod as an endpoint, for a service that has no slices; `target` is a number or a container port's name."""
    row: Pod | None = view.get("Pod", pod)
    if row is None or not row.ips or row.finished or refusal_of(view, row.ips[0]):
        return ()
    number = target if isinstance(target, int) else row_port(row, target)
    usable = row.ready or not_ready
    if not number or not (usable or row.terminating):
        return ()
    ready = usable and not row.terminating
    return (
        Candidate(
            Endpoint(
                address=row.ips[0],
                port=number,
                locality=locality_of_node(view, row.node) if row.node else Locality(),
                draining=not ready,
                additional_addresses=row.ips[1:],
                hostname=row.hostname,
                node=row.node,
                workload=pod,
            ),
            ready,
        ),
    )


def row_port(pod: Pod, name: str) -> int | None:
    """The number of a pod's TCP container port by name."""
    return next((port.number for port in pod.ports if port.name == name and port.transport == "TCP"), None)


@derived
def workload_candidates(view: View, workload: Key, port: MeshPort) -> tuple[Candidate, ...]:
    """A Workload as an endpoint: its port of the target's name, of the service port's name, or the target number."""
    row = view.get("Workload", workload)
    if row is None:
        return ()
    spec = row.spec
    number = port.target if isinstance(port.target, int) else 0
    for own in spec.ports:
        if own.name and own.name in {port.target, port.name}:
            number = own.port
    if not number or refusal_of(view, str(spec.address)):
        return ()
    locality = Locality(spec.locality.region, spec.locality.zone) if spec.locality is not None else Locality()
    endpoint = Endpoint(str(spec.address), number, locality, weight=spec.weight or 1, workload=workload)
    return (Candidate(endpoint, ready=True),)


@derived
def endpoints_of(view: View, service: Key, number: int) -> tuple[Endpoint, ...]:
    """The endpoints of a service's port, sorted by address; an alias of another service has that one's."""
    row: Service | None = view.get("Service", service)
    port = port_of(view, service, number)
    if row is None or port is None:
        return ()
    if row.type == "ExternalName":
        return _alias_endpoints(view, service, number)
    slices = view.select("EndpointSlice", "service", service)
    default = port.target if isinstance(port.target, int) else port.number
    candidates: list[Candidate] = []
    for key in slices:
        candidates.extend(slice_candidates(view, key, port.name, default))
    if not slices:
        for key in selected(view, "Pod", service.namespace, row.selector):
            candidates.extend(pod_candidates(view, key, port.target, row.publish_not_ready))
        for key in selected(view, "Workload", service.namespace, row.selector):
            candidates.extend(workload_candidates(view, key, port))
    family = ipaddress.ip_address(row.cluster_ips[0]).version if row.cluster_ips else 4
    return _merged(candidates, family)


def _alias_endpoints(view: View, service: Key, number: int) -> tuple[Endpoint, ...]:
    target = alias_of(view, service)
    return endpoints_of(view, target, number) if target is not None else ()


@derived
def alias_of(view: View, service: Key) -> Key | None:
    """The service of the mesh that an ExternalName stands for; None when it is no name of ours, or a loop."""
    seen = {service}
    current = service
    for _ in range(ALIAS_DEPTH):
        name = external_name_of(view, current)
        if not name:
            return current if current != service else None
        target = service_named(view, name)
        if target is None or target in seen:
            return None
        seen.add(target)
        current = target
    return None


def _merged(candidates: Iterable[Candidate], family: int) -> tuple[Endpoint, ...]:
    """Duplicates and families of one pod merged, and terminating ones put to use when nothing else is left."""
    by_identity: dict[object, Candidate] = {}
    for candidate in candidates:
        endpoint = candidate.endpoint
        identity = (endpoint.workload or endpoint.address, endpoint.port)
        known = by_identity.get(identity)
        by_identity[identity] = candidate if known is None else _joined(known, candidate, family)
    merged = sorted(by_identity.values(), key=lambda each: (each.endpoint.address, each.endpoint.port))
    if any(each.ready for each in merged):
        return tuple(each.endpoint for each in merged)
    return tuple(replace(each.endpoint, draining=False) for each in merged)


def _joined(one: Candidate, other: Candidate, family: int) -> Candidate:
    """Two entries of one pod: ready wins, and the address of the preferred family comes first."""
    addresses = sorted(
        {one.endpoint.address, *one.endpoint.additional_addresses, other.endpoint.address},
        key=lambda address: (ipaddress.ip_address(address).version != family, address),
    )
    ready = one.ready or other.ready
    best = one if one.ready or not other.ready else other
    endpoint = replace(
        best.endpoint, address=addresses[0], additional_addresses=tuple(addresses[1:]), draining=not ready
    )
    return Candidate(endpoint, ready)


@derived
def subset_endpoints(view: View, service: Key, number: int, labels: Labels) -> tuple[Endpoint, ...]:
    """The endpoints whose workload carries all the labels."""
    wanted = set(labels)
    return tuple(
        endpoint
        for endpoint in endpoints_of(view, service, number)
        if endpoint.workload is not None and wanted.issubset(labels_of(view, endpoint.workload) or ())
    )


@derived
def slice_problems(view: View, slice_key: Key) -> tuple[Problem, ...]:
    """The addresses of a slice that are refused, and a missing service label."""
    row: EndpointSlice | None = view.get("EndpointSlice", slice_key)
    if row is None:
        return ()
    found: list[Problem] = []
    if not row.service:
        message = (
            "metadata.labels: kubernetes.io/service-name is missing; the slice belongs to no Service and is ignored"
        )
        found.append(Problem("EndpointSlice", slice_key, "NoService", message))
    for position, member in enumerate(row.endpoints):
        for address in member.addresses[:1]:
            refusal = refusal_of(view, address)
            if refusal:
                message = f"endpoints[{position}].addresses: {address} {refusal}; allowed are addresses of workloads"
                found.append(Problem("EndpointSlice", slice_key, "AddressRefused", message))
    return tuple(found)


@derived
def service_problems(view: View, service: Key) -> tuple[Problem, ...]:
    """Ports that are the sidecar's own, virtual addresses of another, and ExternalNames that lead nowhere or to the proxy's own machine."""
    found: list[Problem] = []
    for port in ports_of(view, service):
        if port.number in RESERVED_PORTS:
            message = (
                f"spec.ports: {port.number} is the sidecar's own port; it is not reached where traffic is intercepted"
            )
            found.append(Problem("Service", service, "PortReserved", message, field="spec.ports"))
    for address in lost_addresses_of(view, service):
        message = f"spec.clusterIPs: {address} belongs to an older Service; traffic to it goes there"
        found.append(Problem("Service", service, "Conflicted", message, field="spec.clusterIPs"))
    name = external_name_of(view, service)
    if not name or alias_of(view, service) is not None:
        return tuple(found)
    refusal = host_refusal_of(view, name)
    if refusal:
        message = f"spec.externalName: {name} {refusal}; allowed is a DNS name"
        found.append(Problem("Service", service, "AddressRefused", message, field="spec.externalName"))
    elif service_named(view, name) is not None:
        message = f"spec.externalName: {name} leads back to itself, or over more than {ALIAS_DEPTH} Services"
        found.append(Problem("Service", service, "AliasLoop", message, field="spec.externalName"))
    return tuple(found)


@derived
def pod_problems(view: View, pod: Key) -> tuple[Problem, ...]:
    """An address of a Pod that is refused."""
    row: Pod | None = view.get("Pod", pod)
    return _own_address_problems(view, "Pod", pod, "status.podIP", row.ips[0] if row is not None and row.ips else "")


@derived
def workload_address_problems(view: View, workload: Key) -> tuple[Problem, ...]:
    """An address of a Workload that is refused."""
    row = view.get("Workload", workload)
    return _own_address_problems(
        view, "Workload", workload, "spec.address", str(row.spec.address) if row is not None else ""
    )


def _own_address_problems(view: View, kind: str, key: Key, field: str, address: str) -> tuple[Problem, ...]:
    refusal = refusal_of(view, address) if address else ""
    if not refusal:
        return ()
    message = f"{field}: {address} {refusal}; it serves no other workload"
    return (Problem(kind, key, "AddressRefused", message, field=field),)
