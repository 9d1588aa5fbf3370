"""The event loop's lag, measured: a timer that notes how late it is woken.

Place in the flow: a task of `app`, beside the others on the one loop that it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def watch_lag(observe: Callable[[float], None], interval: float = 0.1) -> None:
    """Gives `observe` the seconds by which each wake-up comes late, every `interval` seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, loop.time() - due))
