"""Waiting for what a folder says to be with all proxies; shared by the live suites."""

from __future__ import annotations

import asyncio
import time

from examples.demo.control_plane import acknowledged


async def settled(control_plane, quiet=0.1, timeout=10.0, *, connected=False):
    """Returns when all is acknowledged by all, and has been for `quiet` seconds; `connected`: by at least one proxy."""
    last, since = None, time.monotonic()
    async with asyncio.timeout(timeout):
        while True:
            now = await control_plane.syncz()
            if now != last or not acknowledged(now) or (connected and not now):
                last, since = now, time.monotonic()
            elif time.monotonic() - since > quiet:
                return
            await asyncio.sleep(0.01)
