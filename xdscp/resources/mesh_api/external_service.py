"""ExternalService: something outside of the mesh that workloads may call by name.

Place in the flow: stored under the index `host`; the mesh makes a destination of each port of it.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import Address, Hostname, PortName, PortNumber, Text
from xdscp.resources.mesh_api.part import Part, Stored, envoy, refusal
from xdscp.resources.mesh_api.workload import AppProtocol, EndpointWeight, WorkloadLocality


class ExternalTls(Part):
    """TLS between the proxy and the external service."""

    mode: Literal["None", "Originate"] = Field(
        "None",
        description="`Originate`: applications speak plain text, the proxy speaks TLS and checks the certificate against "
        "the system's roots. `None`: bytes are passed on as they are.",
        json_schema_extra=envoy("Cluster.transport_socket"),
    )
    sni: Hostname | None = Field(
        None,
        description="The name asked for and checked; left out: the first of `hosts`.",
        json_schema_extra=envoy("UpstreamTlsContext.sni"),
    )

    @model_validator(mode="after")
    def _sni_of_tls(self) -> Self:
        if self.sni is not None and self.mode == "None":
            raise refusal("sni needs mode Originate")
        return self


class ExternalPort(Part):
    """A port of the external service."""

    number: PortNumber = Field(description="The port that clients call.")
    name: PortName | None = Field(
        None, description="Its name; the part before the first `-` says the protocol where `appProtocol` does not."
    )
    app_protocol: AppProtocol | None = Field(None, description="What it speaks, as for a Service's port.")
    tls: ExternalTls = Field(default_factory=ExternalTls, description="TLS to the external service.")


class ExternalEndpoint(Part):
    """An address of the external service."""

    address: Annotated[str, Text("an IP address or a DNS name")] = Field(
        description="An IP address; with resolution `DNS` a DNS name."
    )
    port: PortNumber | None = Field(None, description="The port there; left out: the port that was called.")
    locality: WorkloadLocality | None = Field(None, description="Where it is.")
    weight: EndpointWeight = Field(1, description="Its share of the traffic.")


class ExternalServiceSpec(Part):
    """Something outside of the mesh that workloads may call by name."""

    hosts: tuple[Hostname, ...] = Field(
        min_length=1,
        max_length=64,
        description="The names by which clients call it, exactly; a name without a dot is a Service's.",
    )
    addresses: tuple[Address, ...] = Field(
        (),
        max_length=64,
        description="Virtual IP addresses by which clients call it; TCP ports need one to be told apart.",
    )
    ports: tuple[ExternalPort, ...] = Field(min_length=1, max_length=64, description="Its ports.")
    resolution: Literal["DNS", "Static"] = Field(
        "DNS",
        description="`DNS`: the proxy looks up the endpoint's name, or the host where no endpoint is given. `Static`: the "
        "endpoints are IP addresses.",
        json_schema_extra=envoy("Cluster.type"),
    )
    endpoints: tuple[ExternalEndpoint, ...] = Field((), max_length=1000, description="Where it is.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, values in (
            ("hosts", self.hosts),
            ("addresses", self.addresses),
            ("ports", [port.number for port in self.ports]),
        ):
            for value in values:
                if list(values).count(value) > 1:
                    raise refusal("{what} has {value} twice", what=what, value=value)
        return self

    @model_validator(mode="after")
    def _no_short_names(self) -> Self:
        for host in self.hosts:
            if "." not in host:
                raise refusal(
                    "host {host} has no dot: in each namespace that is the short name of a Service", host=host
                )
        return self

    @model_validator(mode="after")
    def _endpoints_fit_resolution(self) -> Self:
        static = self.resolution == "Static"
        if static and not self.endpoints:
            raise refusal("resolution Static needs endpoints")
        if not static and len(self.endpoints) > 1:
            raise refusal("resolution DNS takes one endpoint at most: its name is looked up")
        for endpoint in self.endpoints:
            if _is_address(endpoint.address) != static:
                kind = "an IP address" if static else "a DNS name"
                raise refusal("endpoint {address} must be {kind}", address=endpoint.address, kind=kind)
            if not static:
                _HOST.checked(endpoint.address)
        return self


_HOST: Text = Hostname.__metadata__[0]  # type: ignore[attr-defined]  # Annotated[str, Text(…)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


ExternalService = Stored[ExternalServiceSpec]
