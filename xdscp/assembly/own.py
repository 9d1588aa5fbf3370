"""What is a workload's own: the listeners and clusters of its ports.

Place in the flow: beside `tree` and `tables` in the snapshot of a proxy.
"""

from __future__ import annotations

from xdscp.assembly.scope import resource, shard
from xdscp.derive import View, derived
from xdscp.mesh.listening import Downstream, InboundPort, TcpListener
from xdscp.mesh.routing import TcpRoute
from xdscp.mesh.workload import Proxy
from xdscp.snapshot import Resource, ResourceType, Shard
from xdscp.translators import cds, grpc, lds, names
from xdscp.translators.encode import encode


@derived
def inbound_of(view: View, ports: tuple[InboundPort, ...], proxy: Proxy) -> Shard:  # noqa: ARG001  # derivations are given a view
    """Listeners and clusters of a workload's own ports."""
    found: list[Resource] = []
    if proxy.role == "grpc":
        for port in ports:
            for host in ("0.0.0.0", "::", *((port.address,) if port.address else ())):  # noqa: S104  # what servers ask for
                listener = grpc.server_listener(host, port.number)
                found.append(resource(ResourceType.LDS, listener.name, encode(listener)))
        return shard(found)
    for port in ports:
        message = cds.inbound_cluster(port)
        found.append(resource(ResourceType.CDS, message.name, encode(message)))
    # Nothing is intercepted at a gateway: it has no ports but its own.
    for inbound in lds.inbound(ports, proxy.mode, proxy.downstream) if proxy.role != "gateway" else ():
        # In explicit mode a listener a port, named like the cluster behind it.
        refers = (
            [names.inbound_cluster(port.number) for port in ports] if proxy.mode == "interception" else [inbound.name]
        )
        found.append(resource(ResourceType.LDS, inbound.name, encode(inbound), refers))
    if proxy.role == "gateway":
        gateway = lds.gateway(proxy.explicit_port, proxy.explicit_address, downstream=proxy.downstream)
        found.append(resource(ResourceType.LDS, gateway.name, encode(gateway)))
    elif proxy.mode == "explicit":
        explicit = lds.explicit(proxy.explicit_port, proxy.explicit_address, proxy.downstream)
        found.append(resource(ResourceType.LDS, explicit.name, encode(explicit)))
        found += (_tcp_listener(each, proxy.downstream) for each in proxy.tcp)
    return shard(found)


def _tcp_listener(listener: TcpListener, downstream: Downstream) -> Resource:
    route: TcpRoute = listener.route
    refers = [backend.destination for backend in route.backends]
    return resource(ResourceType.LDS, listener.name, encode(lds.tcp(listener, downstream)), refers)
