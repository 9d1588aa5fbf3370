"""What the whole mesh runs in, as a row that derivations read: kind `Environment`, key `ENVIRONMENT`."""

from __future__ import annotations

from dataclasses import dataclass

from xdscp.derive import View

ENVIRONMENT = "mesh"


@dataclass(frozen=True, slots=True)
class Environment:
    """`loopback_endpoints`: whether slices may name loopback addresses (a folder on a laptop: yes; a cluster: no)."""

    cluster_domain: str = "cluster.local"
    loopback_endpoints: bool = False


def environment(view: View) -> Environment:
    """The environment row, or the defaults."""
    return view.get("Environment", ENVIRONMENT) or Environment()
