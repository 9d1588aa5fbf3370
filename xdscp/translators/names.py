"""Every resource name is made here, and parsed back here.

Names are injective: the parts are Kubernetes names (no slash; a Service's name has no dot either), joined by slashes.

    out/<namespace>/<service>/<port>[/<subset>]   cluster and endpoints of a service's port
    in/<port>                                     cluster of a workload's own port
    ext/<namespace>/<name>/<port>                 cluster of an ExternalService
    out/<port>                                    outbound listener and route table (interception)
    out/explicit                                  route table of the explicit mode, all ports
    out/<table>/<namespace>.<service>             virtual host; in `explicit` followed by `.<port>`
    out/<table>/ext.<namespace>.<name>.<port>     virtual host of an ExternalService
    out/<table>/any                               virtual host of unknown hosts
    gateway/<port>                                listener of an ingress gateway
    grpc/<namespace>/<service>/<port>             route table of a proxyless gRPC client
    grpc/server?xds.resource.listening_address=…  listener of a gRPC server
    <service>[.<namespace>[.svc[.<domain>]]]:<port>   listener of a proxyless gRPC client: the target that it dials
"""

from __future__ import annotations

from xdscp.mesh.names import PASSTHROUGH, cluster, external_cluster
from xdscp.resources.core import Key

__all__ = [
    "BLACKHOLE",
    "EXPLICIT",
    "INBOUND",
    "OUTBOUND",
    "PASSTHROUGH",
    "catch_all",
    "cluster",
    "external_cluster",
    "external_virtual_host",
    "grpc_route_table",
    "inbound_cluster",
    "owner",
    "route_table",
    "virtual_host",
]

BLACKHOLE = "blackhole"
OUTBOUND = "outbound"
INBOUND = "inbound"
EXPLICIT = "explicit"
"""The table's part of names in explicit mode, where interception has a port number."""


def inbound_cluster(port: int) -> str:
    """Cluster of the workload's own port."""
    return f"in/{port}"


def route_table(table: int | str) -> str:
    """RouteConfiguration of a port number, or of `EXPLICIT`; the listener of the port has the same name."""
    return f"out/{table}"


def virtual_host(table: int | str, service: Key, port: int) -> str:
    """VirtualHost of a service's port in a route table."""
    name = f"out/{table}/{service.namespace}.{service.name}"
    return f"{name}.{port}" if table == EXPLICIT else name


def external_virtual_host(table: int | str, external: Key, port: int) -> str:
    """VirtualHost of an ExternalService's port in a route table; apart from that of a Service of the same name."""
    return f"out/{table}/ext.{external.namespace}.{external.name}.{port}"


def catch_all(table: int | str) -> str:
    """VirtualHost of the hosts that no service has."""
    return f"out/{table}/any"


def gateway(port: int) -> str:
    """Listener of an ingress gateway's port."""
    return f"gateway/{port}"


def grpc_route_table(service: Key, port: int) -> str:
    """RouteConfiguration of a service's port for proxyless gRPC clients."""
    return f"grpc/{service.namespace}/{service.name}/{port}"


def grpc_server(host: str, port: int) -> str:
    """Listener of a gRPC server; the template is the `server_listener_resource_name_template` of its bootstrap."""
    return f"grpc/server?xds.resource.listening_address={f'[{host}]' if ':' in host else host}:{port}"


def owner(name: str, namespace: str = "") -> Key | None:
    """The Service or ExternalService that a resource belongs to, by its name; None for what belongs to no service.

    `namespace` is the client's, for the targets of gRPC clients that leave it away.
    """
    kind, _, rest = name.partition("/")
    if not rest:
        labels = name.rpartition(":")[0].split(".")
        return Key(labels[1] if len(labels) > 1 else namespace, labels[0]) if labels[0] else None
    parts = rest.split("/")
    if kind == "out" and len(parts) == 2:
        return _owner_of_virtual_host(parts[1].split("."))
    if kind in {"out", "ext", "grpc"} and len(parts) >= 3:
        return Key(parts[0], parts[1])
    return None


def _owner_of_virtual_host(labels: list[str]) -> Key | None:
    if labels[0] == "ext" and len(labels) >= 4:
        return Key(labels[1], ".".join(labels[2:-1]))
    return Key(labels[0], labels[1]) if len(labels) >= 2 else None
