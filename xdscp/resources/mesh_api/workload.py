"""Workload: an instance of an application outside of Kubernetes, as a Pod is one inside.

Place in the flow: stored under the index `label`; Services select it by its labels as they select Pods.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import Address, DnsLabel, LabelPairs, PortName, PortNumber, Text
from xdscp.resources.mesh_api.mesh_policy import ExplicitTcp, once
from xdscp.resources.mesh_api.part import Part, Stored, refusal

_LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"

AppProtocol = Annotated[
    str, Text("an application protocol such as http, grpc, kubernetes.io/h2c or tcp", _LABEL_VALUE, 253)
]
EndpointWeight = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""Envoy refuses 0."""
_Place = Annotated[str, Text("a region's or zone's name", r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", 63)]


class WorkloadLocality(Part):
    """Where an instance runs."""

    region: _Place = Field("", description="The region.", validate_default=False)
    zone: _Place = Field("", description="The zone.", validate_default=False)


class WorkloadPort(Part):
    """A port on which the instance is reached."""

    name: PortName | None = Field(None, description="Its name, to which a Service's `targetPort` refers.")
    port: PortNumber = Field(description="The port on `address`; in explicit mode the proxy listens there.")
    app_port: PortNumber | None = Field(
        None, description="Explicit mode: the port on which the application listens at `appAddress`; left out: `port`."
    )


class WorkloadExplicit(Part):
    """Explicit mode: where the instance's proxy listens for the application's HTTP requests."""

    address: Address | None = Field(None, description="The address; left out: 127.0.0.1.")
    port: PortNumber | None = Field(None, description="The port; left out: as the MeshPolicy says, else 15001.")


class WorkloadSpec(Part):
    """An instance of an application outside of Kubernetes."""

    address: Address = Field(description="The IP address on which peers reach it.")
    labels: LabelPairs = Field(
        (), description="Labels by which Services and subsets select it, beside those of its metadata."
    )
    service_account: DnsLabel = Field("default", description="The service account that it runs as.")
    ports: tuple[WorkloadPort, ...] = Field((), max_length=64, description="Its ports.")
    app_address: Address = Field(
        "127.0.0.1", description="Explicit mode: the address on which the application listens."
    )
    locality: WorkloadLocality | None = Field(None, description="Where it runs.")
    weight: EndpointWeight = Field(1, description="Its share of the traffic among the endpoints of its zone.")
    explicit: WorkloadExplicit | None = Field(None, description="Explicit mode: where its proxy listens.")
    tcp: tuple[ExplicitTcp, ...] = Field(
        (), max_length=256, description="Explicit mode: TCP services on ports, before those of the MeshPolicy."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [port.name for port in self.ports if port.name]
        numbers = [port.port for port in self.ports]
        for value in (*names, *numbers):
            if (*names, *numbers).count(value) > 1:
                raise refusal("ports has {value} twice", value=value)
        once([entry.listen_port or entry.port for entry in self.tcp])
        return self


Workload = Stored[WorkloadSpec]
