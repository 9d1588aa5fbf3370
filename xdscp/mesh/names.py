"""The names of destinations, as routes refer to them; `translators.names` has those of all other resources.

Injective: the parts are Kubernetes names, which hold no slash.
"""

from __future__ import annotations

from xdscp.resources.core import Key

PASSTHROUGH = "passthrough"
"""The destination that the client dialled."""


def cluster(service: Key, port: int, subset: str = "") -> str:
    """Cluster and ClusterLoadAssignment of a service's port, or of a subset of it."""
    name = f"out/{service.namespace}/{service.name}/{port}"
    return f"{name}/{subset}" if subset else name


def external_cluster(external: Key, port: int) -> str:
    """Cluster of an ExternalService's port."""
    return f"ext/{external.namespace}/{external.name}/{port}"
