"""A mesh of any size as rows of the store: N services of ten endpoints each, as a benchmark's input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from xdscp.derive import Graph
from xdscp.resources.core import EndpointSlice, Key, Service, ServicePort, SliceEndpoint, SlicePort
from xdscp.resources.kinds import INDEXES, parse
from xdscp.store import Store, Write

NAMESPACES = 10


def service_key(number: int) -> Key:
    return Key(f"ns-{number % NAMESPACES}", f"service-{number}")


def address(service: int, endpoint: int) -> str:
    return f"10.{service >> 8 & 255}.{service & 255}.{endpoint + 1}"


def service(number: int) -> Service:
    ip = f"172.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return Service(service_key(number), cluster_ips=(ip,), ports=(ServicePort(80, "http", 8080),))


def endpoint_slice(number: int, endpoints: int = 10) -> EndpointSlice:
    key = service_key(number)
    members = tuple(SliceEndpoint((address(number, each),), node=f"node-{each % 3}") for each in range(endpoints))
    return EndpointSlice(
        Key(key.namespace, f"{key.name}-abcde"), key.name, ports=(SlicePort(8080, "http"),), endpoints=members
    )


def flipped(row: EndpointSlice) -> EndpointSlice:
    """The slice with its first endpoint made unready, or ready again."""
    first, *others = row.endpoints
    return replace(row, endpoints=(replace(first, ready=not first.ready), *others))


def policy(number: int, generation: int) -> object:
    """A TrafficPolicy with two routes whose timeout is told apart by `generation`."""
    key = service_key(number)
    manifest = {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": key.name, "namespace": key.namespace, "generation": generation},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": key.name}],
            "routes": [
                {
                    "name": "api",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                    "timeouts": {"request": f"{generation}ms"},
                },
                {"name": "rest"},
            ],
        },
    }
    return parse("TrafficPolicy", key, manifest)


def writes(services: int) -> Iterator[Write]:
    for number in range(services):
        row, members = service(number), endpoint_slice(number)
        yield Write("Service", row.key, row)
        yield Write("EndpointSlice", members.key, members)


def world(services: int) -> tuple[Store, Graph]:
    store = Store(INDEXES)
    graph = Graph(store)
    graph.touch(store.apply(writes(services)))
    return store, graph
