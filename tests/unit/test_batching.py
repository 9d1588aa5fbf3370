"""The pace of flushes, with a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdscp.batching import LONGEST, Pace, gathered, joined
from xdscp.resources.core import Key
from xdscp.sources.changes import Batch, Change


def batch(*names: str) -> Batch:
    return Batch(tuple(Change("Service", Key("shop", name), {}) for name in names))


def flushes(arrivals: list[float]) -> list[float]:
    """When what arrives at these times is flushed, if a flush takes no time."""
    pace, found = Pace(), []
    for arrival in sorted(arrivals):
        if found and arrival <= found[-1]:
            continue  # gathered into the flush that is waited for
        found.append(arrival + pace.wait(arrival))
        pace.flushed_at = found[-1]
    return found


def test_a_change_after_quiet_goes_at_once():
    """changes that are far apart are not held back."""
    assert flushes([0.0, 0.5, 1.0]) == [0.0, 0.5, 1.0]


def test_a_storm_makes_few_flushes():
    """a hundred changes in a second are flushed a dozen times (OR-12)."""
    assert len(flushes([each / 100 for each in range(100)])) <= 14


@given(st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_no_change_waits_longer_than_the_longest_gap(arrivals):
    """whatever comes, every change is flushed within the longest gap."""
    times = flushes(arrivals)
    for arrival in arrivals:
        assert any(arrival <= flush <= arrival + LONGEST + 1e-9 for flush in times)


async def test_batches_that_wait_are_joined_in_order():
    """what comes during a flush is one batch afterwards, nothing lost, the mark of the sync kept."""

    async def source():
        yield batch("a")
        yield batch("b")
        yield Batch(batch("c").changes, synced=True)

    found = [each async for each in gathered(source())]

    assert [change.key.name for each in found for change in each.changes] == ["a", "b", "c"]
    assert any(each.synced for each in found)


async def test_what_the_source_raises_is_raised():
    """an unreadable source ends the flow with its own words."""

    async def source():
        yield batch("a")
        raise OSError("gone")

    given = gathered(source())

    assert await anext(given) == batch("a")
    with pytest.raises(OSError, match="gone"):
        await anext(given)


def test_joined_is_one_batch():
    """joining keeps order and marks."""
    assert joined([batch("a"), batch("b")]) == batch("a", "b")
