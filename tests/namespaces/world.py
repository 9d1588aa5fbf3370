"""The mesh of these tests: which pods there are, what they serve, and the Services that name them.

client        shop    sidecar            calls; egress Allow
strict        strict  sidecar            calls; egress Registered
web           shop    sidecar            HTTP 8080, and 9999 that no Service names
web-other     other   no sidecar         HTTP 8080: the Service has the name and port of the one in shop
multi         shop    sidecar            HTTP 8081 and 8082, TCP 9001: three ports of one Service
db-a, db-b    shop    no sidecar         TCP 5432: two Services on the same port number
peers-0, -1   shop    sidecar, none      HTTP 8080 and TCP 7001: a headless Service
gateway       shop    gateway            from outside
outside       -       no mesh            HTTP 80, 8080, 8090, 8443, TCP 5432, 7777, UDP 5353: no Service
"""

from __future__ import annotations

import asyncio

from tests.envoy.manifests import pod, service
from tests.namespaces.mesh import Mesh

HOSTS = {
    "client": 11,
    "strict": 12,
    "web": 21,
    "web-other": 22,
    "multi": 23,
    "db-a": 31,
    "db-b": 32,
    "peers-0": 41,
    "peers-1": 42,
    "gateway": 51,
    "outside": 61,
}
"""The last part of each pod's address."""

IP = {name: f"10.97.0.{host}" for name, host in HOSTS.items()}
IP6 = {name: f"fd97::{host:x}" for name, host in HOSTS.items()}

VIP = {"web": "10.96.0.1", "web-other": "10.96.0.2", "multi": "10.96.0.3", "db-a": "10.96.0.4", "db-b": "10.96.0.5"}
VIP6 = {"web": "fd96::1", "db-a": "fd96::4"}

NAMESPACE = {"strict": "strict", "web-other": "other"}
INTERCEPTED = ("client", "strict", "web", "multi", "peers-0")
EXTERNAL_TCP = "10.96.0.99"
"""The virtual address of the ExternalService's TCP port."""


def own_pod(name, *, ipv6):
    """A pod of the table, selected by its `app`."""
    labels = {"app": name.rpartition("-")[0] if name.startswith("peers") else name}
    manifest = pod(name, IP[name], labels, namespace=NAMESPACE.get(name, "shop"))
    if ipv6:
        manifest["status"]["podIPs"] = [{"ip": IP[name]}, {"ip": IP6[name]}]
    if name == "multi":
        manifest["spec"]["containers"][0]["ports"] = [{"name": "second", "containerPort": 8082}]
    return manifest


def own_service(name, *ports, ipv6, namespace="shop", app="", key=""):
    """A Service with a virtual address, with two where it has an IPv6 one."""
    key = key or name
    made = service(name, *ports, selector={"app": app or key}, namespace=namespace, clusterIP=VIP[key])
    if ipv6 and key in VIP6:
        made["spec"] |= {"clusterIPs": [VIP[key], VIP6[key]], "ipFamilies": ["IPv4", "IPv6"]}
        made["spec"]["ipFamilyPolicy"] = "RequireDualStack"
    return made


def manifests(*, ipv6):
    """All objects."""
    pods = [own_pod(name, ipv6=ipv6) for name in HOSTS if name != "outside"]
    services = [
        own_service("web", (80, 8080, "http"), ipv6=ipv6),
        own_service("web", (80, 8080, "http"), ipv6=ipv6, namespace="other", key="web-other"),
        own_service("multi", (80, 8081, "http"), (81, "second", "http-2"), (9000, 9001, "tcp"), ipv6=ipv6),
        own_service("db-a", (5432, 5432, "tcp"), ipv6=ipv6),
        own_service("db-b", (5432, 5432, "tcp"), ipv6=ipv6),
        service("peers", (8080, 8080, "http"), (7001, 7001, "tcp"), selector={"app": "peers"}, clusterIP="None"),
    ]
    return [*pods, *services]


def strict_policies():
    """Namespace strict calls Services and what is registered, and nothing else."""
    return [
        {
            "apiVersion": "xdscp.io/v1alpha1",
            "kind": "MeshPolicy",
            "metadata": {"name": "egress", "namespace": "strict"},
            "spec": {"egress": "Registered"},
        },
        {
            "apiVersion": "xdscp.io/v1alpha1",
            "kind": "ExternalService",
            "metadata": {"name": "api", "namespace": "strict"},
            "spec": {
                "hosts": ["api.example.com"],
                "addresses": [EXTERNAL_TCP],
                "resolution": "Static",
                "ports": [
                    {"number": 80, "name": "http"},
                    {"number": 7777, "name": "tcp"},
                ],
                "endpoints": [{"address": IP["outside"]}],
            },
        },
    ]


async def started(*, ipv6):
    """The running mesh."""
    mesh = Mesh(ipv6=ipv6)
    try:
        await _start(mesh)
    except BaseException:
        await mesh.stop()
        raise
    return mesh


async def _start(mesh):
    mesh.put("mesh", *manifests(ipv6=mesh.ipv6))
    mesh.put("strict", *strict_policies())
    await mesh.start()
    for name, host in HOSTS.items():
        await mesh.place(name, host, intercepted=name in INTERCEPTED)
    for name, ports in {
        "web": (8080, 9999),
        "web-other": (8080,),
        "multi": (8081, 8082),
        "peers-0": (8080,),
        "peers-1": (8080,),
        "outside": (80, 8080, 8090),
    }.items():
        for port in ports:
            await mesh.http(name, port)
    mesh.seen = {
        name: await mesh.echo(name, port)
        for name, port in {
            "multi": 9001, "db-a": 5432, "db-b": 5432, "peers-0": 7001, "peers-1": 7001, "outside": 7777
        }.items()
    }  # fmt: skip
    await mesh.echo("outside", 5432)
    async with asyncio.TaskGroup() as tasks:
        for name in INTERCEPTED:
            tasks.create_task(mesh.envoy(name, NAMESPACE.get(name, "shop")))
        tasks.create_task(mesh.envoy("gateway", role="gateway"))
    await mesh.settled()
