"""One mesh in network namespaces for the tests that ask for it; each test leaves the folder of manifests as it was."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.namespaces import world
from tests.namespaces.mesh import ipv6_missing


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/namespaces/" in str(item.path):
            item.add_marker(pytest.mark.namespaces)
            if "mesh" in item.fixturenames:
                item.add_marker(pytest.mark.envoy)
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def without_ipv6():
    """Why there is no IPv6 here, or nothing."""
    return await ipv6_missing()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(without_ipv6):
    """The mesh of `world`, running; no Envoy of it may have refused anything in the end."""
    made = await world.started(ipv6=not without_ipv6)
    try:
        yield made
        refused = {
            f"{node} {kind}": sync["last_error"]
            for node, types in (await made.control_plane.syncz()).items()
            for kind, sync in types.items()
            if sync["last_error"]
        }
    finally:
        await made.stop()
    assert not refused
