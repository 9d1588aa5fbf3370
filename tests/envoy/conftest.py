"""Fixtures of the live tests: a mesh on loopback whose streams are all recorded and checked."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.envoy.mesh import Mesh
from tests.envoy.service import SharedControlPlane


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/envoy/" in str(item.path):
            item.add_marker(pytest.mark.envoy)


@pytest.fixture(scope="session")
def envoy_binary(envoy_path):
    """The path of Envoy; without one the test is skipped, or fails where XDSCP_REQUIRE names envoy."""
    return envoy_path


@pytest.fixture(params=["delta", "sotw"])
def variant(request):
    """Both variants of the protocol."""
    return request.param


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The control plane that tests use one after another."""
    made = SharedControlPlane(tmp_path_factory.mktemp("xdscp"))
    yield made
    made.stop()


@asynccontextmanager
async def checked(folder, shared, *, incremental):
    """A mesh that is not started; at the end all invariants must have held on all streams."""
    made = Mesh(folder, shared, incremental=incremental)
    try:
        yield made
        broken = made.broken()
    finally:
        await made.stop()
    assert not broken, "\n".join(broken[:20])


@pytest_asyncio.fixture
async def mesh(envoy_binary, shared, variant, tmp_path):
    """A mesh that is not started, in both variants."""
    async with checked(tmp_path, shared, incremental=variant == "delta") as made:
        yield made


@pytest_asyncio.fixture
async def delta_mesh(envoy_binary, shared, tmp_path):
    """The same, in delta only."""
    async with checked(tmp_path, shared, incremental=True) as made:
        yield made


@pytest_asyncio.fixture
async def sotw_mesh(envoy_binary, shared, tmp_path):
    """The same, in SotW only."""
    async with checked(tmp_path, shared, incremental=False) as made:
        yield made
