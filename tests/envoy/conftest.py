"""Fixtures of the live tests: a mesh on loopback whose streams are all recorded and checked."""

from __future__ import annotations

import os

import pytest
import pytest_asyncio

from examples.demo.envoy import binary
from tests.envoy.mesh import Mesh


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/envoy/" in str(item.path):
            item.add_marker(pytest.mark.envoy)


@pytest.fixture(scope="session")
def envoy_binary():
    """The path of Envoy; without one the test is skipped, or fails where XDSCP_REQUIRE names envoy."""
    try:
        path = binary()
    except FileNotFoundError as error:
        if "envoy" in os.environ.get("XDSCP_REQUIRE", ""):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return path


@pytest.fixture(params=["delta", "sotw"])
def variant(request):
    """Both variants of the protocol."""
    return request.param


@pytest_asyncio.fixture
async def mesh(envoy_binary, variant, tmp_path):
    """A mesh that is not started; at the end all invariants must have held on all streams."""
    made = Mesh(tmp_path, incremental=variant == "delta")
    try:
        yield made
        broken = made.broken()
    finally:
        await made.stop()
    assert not broken, "\n".join(broken[:20])


@pytest_asyncio.fixture
async def delta_mesh(envoy_binary, tmp_path):
    """The same, for what does not depend on the variant."""
    made = Mesh(tmp_path, incremental=True)
    try:
        yield made
        broken = made.broken()
    finally:
        await made.stop()
    assert not broken, "\n".join(broken[:20])
