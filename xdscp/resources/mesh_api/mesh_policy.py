"""MeshPolicy: what holds for a whole namespace, or for the whole mesh.

Place in the flow: stored under the index `namespace`; `mesh.mesh_settings` reads it. A policy of the namespace
`xdscp-system` is for the whole mesh; one of any other namespace is for that one, and goes before the mesh's.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import DnsLabel, PortNumber, PositiveDuration
from xdscp.resources.mesh_api.part import Part, Stored, envoy, refusal
from xdscp.resources.mesh_api.routes import Retry

MESH_NAMESPACE = "xdscp-system"
"""Where a MeshPolicy is for the whole mesh."""


class ServiceReference(Part):
    """A Service by name."""

    name: DnsLabel = Field(description="The Service's name.")
    namespace: DnsLabel | None = Field(None, description="Its namespace; left out: that of the workload.")


class ExplicitTcp(Part):
    """A TCP service that applications reach on a loopback port, in explicit mode."""

    service: ServiceReference = Field(description="The Service.")
    port: PortNumber = Field(description="The Service's port.")
    listen_port: PortNumber | None = Field(
        None, description="The loopback port that the proxy listens on; left out: `port`."
    )


class Explicit(Part):
    """Proxies in explicit mode: applications send HTTP to one port, and each TCP service has a port of its own."""

    port: PortNumber | None = Field(None, description="The loopback port for HTTP; left out: 15001.")
    tcp: tuple[ExplicitTcp, ...] = Field((), max_length=256, description="TCP services.")

    @model_validator(mode="after")
    def _ports_once(self) -> Self:
        once([entry.listen_port or entry.port for entry in self.tcp])
        return self


def once(ports: list[int]) -> None:
    """Raises when a loopback port is listened on twice."""
    for port in ports:
        if ports.count(port) > 1:
            raise refusal("tcp listens on port {port} twice; give listenPort", port=port)


class Defaults(Part):
    """What holds where no TrafficPolicy says otherwise."""

    connect_timeout: PositiveDuration | None = Field(
        None,
        description="Time to set up a connection; left out: 5s.",
        json_schema_extra=envoy("Cluster.connect_timeout"),
    )
    retry: Retry | None = Field(
        None,
        description="Retries of HTTP requests; left out: none.",
        json_schema_extra=envoy("RouteAction.retry_policy"),
    )


EgressMode = Annotated[
    Literal["Allow", "Registered", "Deny"],
    Field(
        description="Destinations that are no Service. `Allow`: passed through. `Registered`: only ExternalServices. "
        "`Deny`: none. Left out: `Allow`."
    ),
]


class MeshPolicySpec(Part):
    """What holds for a namespace, or for the mesh. Of several for the same, the oldest that gives a part counts."""

    egress: EgressMode | None = None
    explicit: Explicit | None = Field(None, description="Proxies in explicit mode.")
    defaults: Defaults | None = Field(None, description="What holds where no TrafficPolicy says otherwise.")


MeshPolicy = Stored[MeshPolicySpec]
