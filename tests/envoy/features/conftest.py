"""One mesh a module: its tests share a control plane, a client's Envoy and the applications."""

from __future__ import annotations

import pytest_asyncio

from tests.envoy.features.stage import Stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(envoy_binary, request):
    """The mesh; a module with `TCP = True` has the ledger."""
    made = Stage()
    try:
        yield await made.start(tcp=getattr(request.module, "TCP", False))
    finally:
        await made.stop()
