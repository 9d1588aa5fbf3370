"""Fair bounds and claims."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.checks import fair, share


@given(st.integers(1, 100_000), st.floats(0, 100))
def test_bounds_hold_the_expected_count_and_stay_within_the_trials(trials, percent):
    """The expected count, rounded, is fair, and no bound lies outside of what can be counted."""
    bounds = fair(trials, percent)

    assert 0 <= bounds.low <= bounds.high + 1 <= trials + 1
    assert bounds.low - 1 <= trials * percent / 100 <= bounds.high + 1


@pytest.mark.parametrize("percent", [10, 50])
def test_fair_draws_are_within_and_others_are_not(percent):
    """Draws of the probability are fair, those of one that is twenty points off are not."""
    draw = random.Random(7)

    def drawn(share):
        return sum(draw.random() < share / 100 for _ in range(2000))

    bounds = fair(2000, percent)

    assert all(drawn(percent) in bounds for _ in range(50))
    assert not any(drawn(percent + 20) in bounds for _ in range(50))


def test_certain_events_allow_one_count():
    """Zero and a hundred percent leave nothing to chance."""
    assert (fair(100, 0).low, fair(100, 0).high) == (0, 0)
    assert (fair(100, 100).low, fair(100, 100).high) == (100, 100)


def test_a_share_is_written_with_one_decimal():
    """A share of nothing is none."""
    assert share(1, 8) == "12.5 %"
    assert share(0, 0) == "none"
