"""When changes are flushed: at once when idle, gathered for a moment under churn.

Place in the flow: between a source's batches and `pipeline.take`. The first change after a quiet time is not held back; each
that follows soon doubles the gap between flushes, up to `LONGEST`, so a storm makes few pushes and none waits for it to end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from xdscp.sources.changes import Batch

SHORTEST = 0.01
"""Seconds between the first two flushes of a storm."""
LONGEST = 0.1
"""Seconds between flushes at most; also how long it must be quiet for the next change to go at once."""


@dataclass(slots=True)
class Pace:
    """The gap between flushes. Times are seconds of any monotonic clock."""

    flushed_at: float = float("-inf")
    gap: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a change that came `now` is to be flushed."""
        if now - self.flushed_at > LONGEST:
            self.gap = 0.0
            return 0.0
        self.gap = min(max(SHORTEST, self.gap * 2), LONGEST)
        return max(0.0, self.flushed_at + self.gap - now)


async def gathered(batches: AsyncIterator[Batch], clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Batch]:
    """The batches, those that come too soon after a flush joined to one. Raises what `batches` raises.

    A flush lasts from when a batch is given until the next one is asked for.
    """
    waiting: asyncio.Queue[Batch | None] = asyncio.Queue()

    async def fill() -> None:
        try:
            async for batch in batches:
                waiting.put_nowait(batch)
        finally:
            waiting.put_nowait(None)

    filling = asyncio.ensure_future(fill())
    pace = Pace()
    try:
        more = True
        while more and (first := await waiting.get()) is not None:
            await asyncio.sleep(pace.wait(clock()))
            parts = [first]
            while more and not waiting.empty():
                following = waiting.get_nowait()
                more = following is not None
                if following is not None:
                    parts.append(following)
            yield joined(parts)
            pace.flushed_at = clock()
        await filling
    finally:
        filling.cancel()


def joined(parts: Iterable[Batch]) -> Batch:
    """One batch of several, in their order."""
    parts = tuple(parts)
    return Batch(
        tuple(change for part in parts for change in part.changes),
        tuple(trouble for part in parts for trouble in part.troubles),
        any(part.synced for part in parts),
    )
