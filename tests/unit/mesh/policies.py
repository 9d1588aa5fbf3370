"""A graph over Services and policies written as YAML, for the tests of the translation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from xdscp.derive import Graph
from xdscp.resources.core import Key, Service, ServicePort
from xdscp.resources.mesh_api import PARSERS
from xdscp.store import Store, Write

REVIEWS = Key("shop", "reviews")
RATINGS = Key("shop", "ratings")
DATABASE = Key("shop", "database")

SERVICES = (
    Service(REVIEWS, ports=(ServicePort(80, "http"), ServicePort(9000, "tcp-admin"))),
    Service(RATINGS, ports=(ServicePort(80, "http"), ServicePort(8080, "grpc"))),
    Service(DATABASE, ports=(ServicePort(5432, "tcp-sql"),)),
)


def _targets(row: Any) -> Iterable[Key]:
    return {Key(row.key.namespace, target.name) for target in row.spec.target_refs}


def _backends(row: Any) -> Iterable[Key]:
    return {
        Key(backend.namespace or row.key.namespace, backend.name)
        for route in row.spec.routes
        for backend in route.backends
        if backend.name
    }


INDEXES = {
    "TrafficPolicy": {"target": _targets, "backend": _backends},
    "MeshPolicy": {"namespace": lambda row: (row.key.namespace,)},
}


def parsed(name: str, spec: str | dict[str, Any], kind: str = "TrafficPolicy", **metadata: Any) -> Any:
    """A stored object; a TrafficPolicy without targets is for `reviews`."""
    body = yaml.safe_load(spec) or {} if isinstance(spec, str) else spec
    if kind == "TrafficPolicy":
        body = {"targetRefs": [{"name": "reviews"}], **body}
    created = {"creationTimestamp": metadata.pop("created")} if "created" in metadata else {}
    return PARSERS[kind](
        {
            "apiVersion": "xdscp.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "shop", **created, **metadata},
            "spec": body,
        }
    )


class Mesh:
    """The services of `SERVICES` and the policies given."""

    def __init__(self, *policies: Any, services: Iterable[Service] = SERVICES) -> None:
        self.store = Store(INDEXES)
        self.graph = Graph(self.store)
        self.store.apply(Write("Service", service.key, service) for service in services)
        self.hold(*policies)

    def hold(self, *policies: Any) -> None:
        kinds = {"MeshPolicySpec": "MeshPolicy", "WorkloadSpec": "Workload"}
        writes = [Write(kinds.get(type(p.spec).__name__, "TrafficPolicy"), p.key, p) for p in policies]
        self.graph.touch(self.store.apply(writes))

    def __call__(self, function: Any, *arguments: Any) -> Any:
        return self.graph.value(function, *arguments)
