"""How an Envoy comes to its first configuration."""

from __future__ import annotations

import time

from tests.envoy.manifests import endpoint_slice, service


async def test_sw_01_wildcard_boot_and_traffic(mesh):
    """Envoy asks for clusters and listeners without names, gets all of them, and serves; then nothing more is sent."""
    address = await mesh.application("app-a", 21)
    mesh.put("app", service("app"), endpoint_slice("app-1", "app", address))
    await mesh.start()
    envoy = await mesh.envoy()
    first = [one for one in envoy.tap.requests if one.type in {"cds", "lds"} and not one.nonce]
    assert [one.names for one in first] == [(), ()]
    async with mesh.load("app.shop", rate=300) as load:
        await load.last(300, 300)
    load.report.require_none_lost(at_least=300)
    await envoy.tap.quiet(0.3)
    before = len(envoy.tap.log)
    await envoy.tap.quiet(1.0)
    assert len(envoy.tap.log) == before
    assert not envoy.tap.invariants.repeats


async def test_or_13_boot_budget(mesh):
    """Among 500 services of which 50 have no endpoints, Envoy is live in under 5 s and no fetch timed out."""
    objects = []
    for number in range(500):
        objects.append(service(f"s{number}"))
        members = [] if number % 10 == 0 else [mesh.address(21)]
        objects.append(endpoint_slice(f"s{number}-1", f"s{number}", *members))
    mesh.put("services", *objects)
    await mesh.start()
    began = time.monotonic()
    envoy = await mesh.envoy()
    seconds = time.monotonic() - began
    stats = await envoy.stats("init_fetch_timeout|update_rejected|warming_clusters|active_clusters")
    assert seconds < 5.0
    assert not [name for name, value in stats.items() if "init_fetch" in name and value]
    assert not [name for name, value in stats.items() if "rejected" in name and value]
    assert stats["cluster_manager.warming_clusters"] == 0
    assert stats["cluster_manager.active_clusters"] >= 500
