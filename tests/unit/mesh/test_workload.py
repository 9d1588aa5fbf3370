"""Which proxy a node is: ports, addresses, vantage."""

from __future__ import annotations

from tests.unit.mesh.world import World
from xdscp.mesh.destination import Locality
from xdscp.mesh.listening import InboundPort
from xdscp.mesh.locality import Vantage
from xdscp.mesh.workload import Proxy, proxy_of
from xdscp.resources.core import Key

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-metrics, namespace: shop}
spec: {clusterIP: 10.1.0.2, selector: {app: web}, ports: [{name: tcp-metrics, port: 9100}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.1.0.3, selector: {app: web, tier: other}, ports: [{name: http, port: 81}]}
"""


def pod(name: str, ip: str, annotations: str = "{}", node: str = "n1") -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web}}, annotations: {annotations}}}
spec:
  nodeName: {node}
  serviceAccountName: web
  containers: [{{name: app, image: x, ports: [{{name: web, containerPort: 8080}}]}}]
status: {{podIP: {ip}}}
---
apiVersion: v1
kind: Node
metadata: {{name: n1, labels: {{topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-a}}}}
"""


def test_replicas_are_one_proxy():
    """pods of equal configuration derive the equal proxy with interception."""
    world = World(SERVICES + pod("a", "10.0.0.1") + pod("b", "10.0.0.2"))
    one, other = (world.ask(proxy_of, Key("shop", name), "sidecar", "interception") for name in "ab")

    assert one == other
    assert one.inbound == (InboundPort(8080, "http"), InboundPort(9100, "tcp"))
    assert one.vantage == Vantage(Locality("eu", "eu-a"))
    assert one.service_account == "web"


def test_explicit_mode_has_the_pods_own_addresses():
    """in explicit mode Envoy listens on the pod's address, and the application elsewhere."""
    world = World(SERVICES + pod("a", "10.0.0.1", '{xdscp.io/app-address: 127.0.0.9, xdscp.io/explicit-port: "15101"}'))
    proxy = world.ask(proxy_of, Key("shop", "a"), "sidecar", "explicit")

    assert proxy.inbound[0] == InboundPort(8080, "http", "10.0.0.1", "127.0.0.9", 8080)
    assert (proxy.explicit_address, proxy.explicit_port) == ("127.0.0.1", 15101)


def test_an_application_on_the_pods_own_address_needs_no_listener():
    """where the application already listens on the pod's address and port, Envoy does not."""
    world = World(SERVICES + pod("a", "10.0.0.1", "{xdscp.io/app-address: 10.0.0.1}"))

    assert world.ask(proxy_of, Key("shop", "a"), "sidecar", "explicit").inbound == ()


def test_gateway_listens_for_all():
    """a gateway has one listener for requests from outside, and no inbound ports."""
    world = World(SERVICES + pod("a", "10.0.0.1", '{xdscp.io/gateway-port: "8443"}'))
    proxy = world.ask(proxy_of, Key("shop", "a"), "gateway", "explicit")

    assert (proxy.explicit_address, proxy.explicit_port, proxy.inbound) == ("0.0.0.0", 8443, ())


def test_grpc_server_has_its_ports():
    """a proxyless server is given a listener for each of its ports."""
    world = World(SERVICES + pod("a", "10.0.0.1"))

    assert [port.number for port in world.ask(proxy_of, Key("shop", "a"), "grpc", "explicit").inbound] == [8080, 9100]


def test_unknown_node_is_a_client():
    """a node that no object names gets no inbound listener."""
    world = World(SERVICES)

    assert world.ask(proxy_of, Key("shop", "x"), "sidecar", "interception") == Proxy(
        "shop", "sidecar", "interception", known=False
    )


def test_services_that_disagree_make_a_port_opaque():
    """a port that one service calls HTTP and another TCP is opaque to the proxy before it."""
    text = SERVICES.replace("tcp-metrics, port: 9100", "tcp-web, port: 9100, targetPort: web")
    world = World(text + pod("a", "10.0.0.1"))

    assert world.ask(proxy_of, Key("shop", "a"), "sidecar", "interception").inbound == (InboundPort(8080, "tcp"),)


def test_node_counts_only_while_a_service_is_node_local():
    """the node is part of a proxy only while some service wants node-local traffic."""
    world = World(SERVICES + pod("a", "10.0.0.1"))
    world.apply(SERVICES.split("---", maxsplit=1)[0].replace("selector", "internalTrafficPolicy: Local, selector"))

    assert world.ask(proxy_of, Key("shop", "a"), "sidecar", "interception").vantage.node == "n1"


WORKLOAD = """
apiVersion: xdscp.io/v1alpha1
kind: Workload
metadata: {name: vm, namespace: shop, labels: {app: web}}
spec:
  address: 10.9.0.1
  serviceAccount: vm
  ports: [{name: http, port: 8080, appPort: 18080}]
  locality: {region: eu, zone: eu-b}
  explicit: {port: 15222}
"""


def test_workload_outside_of_kubernetes():
    """a Workload is a proxy as a pod is, with ports, application ports and locality of its own."""
    proxy = World(SERVICES + "---" + WORKLOAD).ask(proxy_of, Key("shop", "vm"), "sidecar", "explicit")

    assert proxy.inbound[0] == InboundPort(8080, "http", "10.9.0.1", "127.0.0.1", 18080)
    assert proxy.vantage.locality == Locality("eu", "eu-b")
    assert (proxy.explicit_port, proxy.service_account) == (15222, "vm")
