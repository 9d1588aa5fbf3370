from __future__ import annotations

import asyncio
import time

from xdscp.admin.lag import watch_lag


async def test_lag() -> None:
    """a blocked loop is seen as that much lag."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    task = asyncio.create_task(watch_lag(seen.put_nowait, interval=0.01))
    await seen.get()

    time.sleep(0.1)
    lags = [await seen.get(), await seen.get()]
    task.cancel()

    assert 0.05 < max(lags) < 5
