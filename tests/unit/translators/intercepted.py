"""Run inside a new network namespace: real interception of IPv4 and IPv6 by a real Envoy; prints what each dial got.

unshare --net python -m tests.unit.translators.intercepted
"""

from __future__ import annotations

import http.client
import json
import subprocess

from tests.unit.translators.envoy_validation import bootstrap, echo_server, running
from xdscp.mesh.destination import Destination, Endpoint
from xdscp.mesh.listening import Downstream, OutboundPort, TcpService
from xdscp.mesh.routing import Backend, TcpRoute
from xdscp.translators import cds, lds

NETWORK = """
ip link set lo up
ip addr add 10.9.9.1/24 dev lo
ip addr add fd09::1/64 dev lo nodad
ip -6 route add local fd09::/64 dev lo
iptables -t nat -A OUTPUT -p tcp -d 10.9.9.0/24 -j REDIRECT --to-ports 15001
ip6tables -t nat -A OUTPUT -p tcp -d fd09::/64 -j REDIRECT --to-ports 15001
"""


def dialled(address: str, port: int) -> str:
    """The status of a request to the address, or the name of the error."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def main() -> None:
    for command in NETWORK.strip().splitlines():
        subprocess.run(command.split(), check=True)
    both = Downstream(ipv6=True)
    service = TcpService(("10.9.9.7", "fd09::7"), TcpRoute("service", (Backend("service"),)))
    with echo_server() as server:
        clusters = [
            cds.cluster(Destination("service", "static", "tcp", endpoints=(Endpoint("127.0.0.1", server),))),
            cds.blackhole(),
            cds.passthrough(),
        ]
        listeners = [
            lds.outbound("registered", "interception", both),
            lds.outbound_port(OutboundPort(81, False, (service,), "registered"), both),
        ]
        with running(bootstrap(clusters, listeners)):
            dials = {"10.9.9.7": 81, "fd09::7": 81, "10.9.9.8": 81, "fd09::8": 82}
            print(json.dumps({address: dialled(address, port) for address, port in dials.items()}))


if __name__ == "__main__":
    main()
