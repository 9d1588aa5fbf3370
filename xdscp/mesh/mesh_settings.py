"""What MeshPolicies say for a namespace: egress, the explicit mode's ports, defaults.

Place in the flow: derived from MeshPolicy rows; read by `mesh.traffic`. A policy of the namespace goes before one of
the mesh (namespace `xdscp-system`); of several for the same, the oldest that gives a part counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from xdscp.derive import View, derived
from xdscp.mesh.listening import EgressMode
from xdscp.mesh.policy_attachment import age
from xdscp.resources.core import Key, Problem

if TYPE_CHECKING:  # pydantic's models cost most of a start
    from xdscp.resources.mesh_api.mesh_policy import ExplicitTcp, MeshPolicy
    from xdscp.resources.mesh_api.routes import Retry

MESH_NAMESPACE = "xdscp-system"
EXPLICIT_PORT = 15001
"""Where proxies in explicit mode listen for HTTP, when nothing else is said."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`externals`: whether ExternalServices may be called. `explicit_port` None: the default one."""

    egress: EgressMode = "allow"
    externals: bool = True
    explicit_port: int | None = None
    explicit_tcp: tuple[ExplicitTcp, ...] = ()
    connect_timeout: timedelta | None = None
    retry: Retry | None = None


@derived
def mesh_policies_for(view: View, namespace: str) -> tuple[MeshPolicy, ...]:
    """The policies that count for a namespace, the most important first."""
    found: list[MeshPolicy] = []
    for scope in dict.fromkeys((namespace, MESH_NAMESPACE)):
        rows = (view.get("MeshPolicy", key) for key in view.select("MeshPolicy", "namespace", scope))
        found += sorted((row for row in rows if row is not None), key=age)
    return tuple(found)


@derived
def settings_of(view: View, namespace: str) -> Settings:
    """What holds for a namespace."""
    specs = [policy.spec for policy in mesh_policies_for(view, namespace)]
    defaults = [spec.defaults for spec in specs if spec.defaults is not None]
    explicit = [spec.explicit for spec in specs if spec.explicit is not None]
    egress = next((spec.egress for spec in specs if spec.egress is not None), "Allow")
    tcp: dict[int, ExplicitTcp] = {}
    for each in explicit:
        for entry in each.tcp:
            tcp.setdefault(entry.listen_port or entry.port, entry)
    return Settings(
        egress="allow" if egress == "Allow" else "registered",
        externals=egress != "Deny",
        explicit_port=next((each.port for each in explicit if each.port is not None), None),
        explicit_tcp=tuple(tcp.values()),
        connect_timeout=next((each.connect_timeout for each in defaults if each.connect_timeout is not None), None),
        retry=next((each.retry for each in defaults if each.retry is not None), None),
    )


def egress_of(view: View, namespace: str) -> EgressMode:
    """What becomes of requests of a namespace's workloads to unknown destinations."""
    return settings_of(view, namespace).egress


def externals_allowed(view: View, namespace: str) -> bool:
    """Whether a namespace's workloads may call ExternalServices."""
    return settings_of(view, namespace).externals


def explicit_port_of(view: View, namespace: str) -> int | None:
    """The HTTP port of proxies in explicit mode; None: the default."""
    return settings_of(view, namespace).explicit_port


@derived
def mesh_policy_problems(view: View, policy: Key) -> tuple[Problem, ...]:
    """The parts of a MeshPolicy that an older one of its namespace gives too."""
    row: MeshPolicy | None = view.get("MeshPolicy", policy)
    if row is None:
        return ()
    older = [
        other
        for other in mesh_policies_for(view, policy.namespace)
        if other.key.namespace == policy.namespace and age(other) < age(row)
    ]
    found = []
    for field, given in _given(row).items():
        rival = next((other for other in older if field in _given(other)), None)
        if given and rival is not None:
            message = f"{field} gives way to MeshPolicy {rival.key}, which is older"
            found.append(Problem("MeshPolicy", policy, "Conflicted", message, field=field))
    http = settings_of(view, policy.namespace).explicit_port or EXPLICIT_PORT
    for position, entry in enumerate(row.spec.explicit.tcp if row.spec.explicit is not None else ()):
        if (entry.listen_port or entry.port) == http:
            field = f"spec.explicit.tcp[{position}]"
            message = f"{field}: port {http} is where the proxy listens for HTTP; give listenPort"
            found.append(Problem("MeshPolicy", policy, "Conflicted", message, field=field))
    return tuple(found)


def _given(policy: MeshPolicy) -> dict[str, bool]:
    spec, found = policy.spec, {}
    if spec.egress is not None:
        found["spec.egress"] = True
    if spec.explicit is not None and spec.explicit.port is not None:
        found["spec.explicit.port"] = True
    for name in ("connectTimeout", "retry"):
        if spec.defaults is not None and getattr(spec.defaults, {"connectTimeout": "connect_timeout"}.get(name, name)):
            found[f"spec.defaults.{name}"] = True
    return found
