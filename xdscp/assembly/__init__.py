"""The derivations that assemble a proxy's snapshot from the model, one encoded resource a derivation.

    services -> tree --.
               tables --> snapshot of a proxy
                  own --'

Place in the flow: between `mesh`/`translators` and `fleet`, which watches `snapshot_of`.
"""

from __future__ import annotations

from dataclasses import replace

from xdscp.assembly.own import inbound_of
from xdscp.assembly.scope import Scope
from xdscp.assembly.tables import tables_of
from xdscp.assembly.tree import tree_of
from xdscp.derive import View, derived
from xdscp.mesh.outbound import Dialect
from xdscp.mesh.workload import Proxy
from xdscp.snapshot import Snapshot

__all__ = ["dialect_of", "snapshot_of"]


def dialect_of(proxy: Proxy) -> Dialect:
    """How the proxy's client finds destinations."""
    if proxy.role == "grpc":
        return "grpc"
    return "explicit" if proxy.role == "gateway" or proxy.mode == "explicit" else "interception"


@derived
def snapshot_of(view: View, proxy: Proxy, incremental: bool) -> Snapshot:
    """All that the proxies of a workload are served; `incremental`: virtual hosts one by one, for delta streams."""
    dialect = dialect_of(proxy)
    shared = Scope(dialect, proxy.vantage, proxy.namespace)
    return Snapshot(
        own=inbound_of(view, proxy.inbound, proxy),
        tables=tables_of(
            view, replace(shared, downstream=proxy.downstream, gateway=proxy.role == "gateway"), incremental
        ),
        services=tree_of(view, shared),
        namespace=proxy.namespace,
    )
