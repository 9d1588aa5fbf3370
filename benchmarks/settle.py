"""From rows to encoded resources for one workload: cold, one endpoint, one route; at three sizes.

Target: cold ≤ 1.5 s at 1,000 services; one endpoint ≤ 0.3 ms and one route ≤ 1 ms, whatever the number of services.
"""

from __future__ import annotations

import gc
import statistics
import time

from benchmarks.mesh import endpoint_slice, flipped, policy, service_key, world
from xdscp.assembly import snapshot_of
from xdscp.mesh.workload import Proxy
from xdscp.snapshot import EMPTY, ResourceType, changes
from xdscp.store import Write

PROXY = Proxy("ns-0", "sidecar", "interception")


def measured(services: int, repeats: int = 101) -> dict[str, float]:
    store, graph = world(services)
    graph.watch(snapshot_of, PROXY, True)
    started = time.perf_counter()
    (root,) = graph.settle()
    cold = time.perf_counter() - started
    snapshot = root.value
    resources = sum(len(each) for each in changes(EMPTY, snapshot).values())
    gc.collect()
    gc.freeze()

    endpoint_times, route_times = [], []
    row = endpoint_slice(services // 2)
    for _ in range(repeats):
        row = flipped(row)
        started = time.perf_counter()
        graph.touch(store.apply([Write("EndpointSlice", row.key, row)]))
        (root,) = graph.settle()
        changed = changes(snapshot, root.value)
        endpoint_times.append(time.perf_counter() - started)
        assert {type_: len(each) for type_, each in changed.items()} == {ResourceType.EDS: 1}
        snapshot = root.value
    rows = [policy(services // 2, generation) for generation in range(1, repeats + 1)]
    for each in rows:
        started = time.perf_counter()
        graph.touch(store.apply([Write("TrafficPolicy", service_key(services // 2), each)]))
        (root,) = graph.settle()
        changed = changes(snapshot, root.value)
        route_times.append(time.perf_counter() - started)
        assert {type_: len(each) for type_, each in changed.items()} == {ResourceType.VHDS: 1}
        snapshot = root.value
    return {
        "services": services,
        "resources": resources,
        "cold_s": cold,
        "endpoint_ms": statistics.median(endpoint_times) * 1e3,
        "route_ms": statistics.median(route_times) * 1e3,
    }


def main() -> None:
    print("services  resources  cold s  endpoint ms  route ms")
    for services in (100, 1_000, 10_000):
        figures = measured(services)
        print("{services:8}  {resources:9}  {cold_s:6.2f}  {endpoint_ms:11.3f}  {route_ms:8.3f}".format(**figures))


if __name__ == "__main__":
    main()
