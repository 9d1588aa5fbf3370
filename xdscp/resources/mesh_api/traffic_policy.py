"""TrafficPolicy: routes to a Service, and how to connect to it. Attached to Services of its namespace by `targetRefs`.

Place in the flow: stored by `resources.kinds` under the indexes `target` and `backend`; `mesh.traffic` translates it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.connection import CircuitBreaker, Connection, LoadBalancer, OutlierDetection
from xdscp.resources.mesh_api.fields import DnsLabel, PartName, PortName, SomeLabels
from xdscp.resources.mesh_api.part import Part, Stored, envoy, refusal
from xdscp.resources.mesh_api.routes import Route


class TargetReference(Part):
    """A Service of the policy's namespace, or one port of it."""

    group: Literal[""] = Field("", description="The core API group.")
    kind: Literal["Service"] = Field("Service", description="Always `Service`.")
    name: DnsLabel = Field(description="The Service's name.")
    section_name: PortName | None = Field(
        None,
        description="The name of a port of the Service; left out: all ports. A policy of the port beats one of all.",
    )


class Connecting(Part):
    """The parts that say how to connect."""

    load_balancer: LoadBalancer | None = Field(None, description="How an endpoint is chosen.")
    circuit_breaker: CircuitBreaker | None = Field(
        None,
        description="Bounds of what is open at a time.",
        json_schema_extra=envoy("Cluster.circuit_breakers.thresholds"),
    )
    outlier_detection: OutlierDetection | None = Field(
        None,
        description="Takes endpoints that fail out of use; left out: none.",
        json_schema_extra=envoy("Cluster.outlier_detection"),
    )
    connection: Connection | None = Field(None, description="Options of connections.")


class Selection(Part):
    """Names a set of endpoints."""

    name: PartName = Field(description="The name that backends refer to, unique for the Service.")
    labels: SomeLabels = Field(description="Labels of Pods or Workloads, all of which must be equal.")


class Subset(Connecting, Selection):
    """The endpoints whose Pods carry all the labels. A part given here replaces that of the policy for the subset."""


class Routing(Part):
    """The parts that say where requests go."""

    target_refs: tuple[TargetReference, ...] = Field(
        min_length=1, max_length=16, description="The Services that the policy is for."
    )
    subsets: tuple[Subset, ...] = Field((), max_length=64, description="Named sets of endpoints.")
    routes: tuple[Route, ...] = Field(
        (),
        max_length=4096,
        description="The first that matches is taken; a request that none matches goes to the Service itself.",
    )

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        for what, names in (
            ("subsets", [subset.name for subset in self.subsets]),
            ("routes", [route.name for route in self.routes if route.name]),
            ("targetRefs", [f"{target.name}/{target.section_name or ''}" for target in self.target_refs]),
        ):
            seen: set[str] = set()
            for name in names:
                if name in seen:
                    raise refusal("{what} has {name} twice", what=what, name=name.rstrip("/"))
                seen.add(name)
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for position, route in enumerate(self.routes[:-1]):
            if not route.matches:
                raise refusal(
                    "routes[{after}] can never match: routes[{position}] has no matches and takes every request",
                    after=position + 1,
                    position=position,
                )
        return self


class TrafficPolicySpec(Connecting, Routing):
    """Routes to Services, and how to connect to them."""


TrafficPolicy = Stored[TrafficPolicySpec]
