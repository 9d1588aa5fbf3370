"""The graph: incremental equals full, cut-off, failures, forgetting."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdscp.derive import CircularDerivation, Failure, Graph, View, derived
from xdscp.store import Store, Write

INDEXES = {"number": {"parity": lambda row: [row % 2], "all": lambda _: [()]}}


@derived
def parity_sum(view: View, parity: int) -> int:
    return sum(double(view, key) for key in view.select("number", "parity", parity))


@derived
def double(view: View, key: str) -> int:
    row = view.get("number", key)
    if row == 13:
        raise ValueError("thirteen")
    return row // 4 * 2


@derived
def tolerant(view: View) -> tuple:
    return tuple((key, view.attempt(double, key).value) for key in view.select("number", "all", ()))


@derived
def total(view: View) -> int:
    return parity_sum(view, 0) + parity_sum(view, 1)


@derived
def loop(view: View) -> int:
    return loop(view)


class World:
    def __init__(self) -> None:
        self.store = Store(INDEXES)
        self.graph = Graph(self.store)

    def write(self, **rows: int | None) -> None:
        self.graph.touch(self.store.apply(Write("number", key, row) for key, row in rows.items()))


WRITES = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers(0, 20), min_size=1, max_size=3), max_size=30
)


@given(WRITES)
@settings(deadline=None)
def test_incremental_equals_full(writes):
    """after any edits a watched value equals that of a fresh graph."""
    world = World()
    world.graph.watch(total)
    world.graph.watch(parity_sum, 1)
    for rows in writes:
        world.write(**rows)
        seen = {each.function.__name__ + str(each.arguments): each.value for each in world.graph.settle()}
        fresh = Graph(world.store)
        for function, args in ((total, ()), (parity_sum, (1,))):
            held = next(iter(world.graph.derivations(function, *args))).value
            fresh.watch(function, *args)
            list(fresh.settle())
            assert held == next(iter(fresh.derivations(function, *args))).value
        for value in seen.values():
            assert value is not None


@given(WRITES, st.integers(0, 5))
@settings(deadline=None)
def test_steps_before_settling_change_nothing_but_the_pace(writes, pause):
    """running outdated derivations ahead gives the same changes as settling alone."""
    ahead, plain = World(), World()
    for world in (ahead, plain):
        world.graph.watch(total)
        world.graph.watch(tolerant)
    for rows in writes:
        for world in (ahead, plain):
            world.write(**rows)
        for _, _ in zip(range(pause), ahead.graph.steps(), strict=False):
            pass

        settled = [
            {(each.function.__name__, each.arguments): each.value for each in world.graph.settle()}
            for world in (ahead, plain)
        ]
        assert settled[0] == settled[1]
        assert ahead.graph.outdated == 0


@given(WRITES)
@settings(deadline=None)
def test_nothing_is_left_when_nothing_is_watched(writes):
    """a derivation that nobody reads or watches is forgotten, with the sources that it read."""
    world = World()
    world.graph.watch(total)
    for rows in writes:
        world.write(**rows)
        list(world.graph.settle())
    world.graph.unwatch(total)

    assert len(world.graph) == 0
    assert not world.graph._sources


def test_equal_result_stops_the_wave():
    """a change that leaves a result equal runs nothing above it."""
    world = World()
    world.write(a=4, b=8)
    world.graph.watch(total)
    list(world.graph.settle())
    runs = world.graph.runs
    world.write(a=6)

    assert list(world.graph.settle()) == []
    assert world.graph.runs == runs + 1


def test_equal_row_touches_nothing():
    """writing the row that is held is no change."""
    world = World()
    world.write(a=4)

    assert world.store.apply([Write("number", "a", 4)]) == set()


def test_unrelated_change_runs_nothing():
    """a change outside of what was read does not make a derivation due."""
    world = World()
    world.write(a=4, b=5)
    world.graph.watch(parity_sum, 0)
    list(world.graph.settle())
    runs = world.graph.runs
    world.write(b=7)

    assert list(world.graph.settle()) == []
    assert world.graph.runs == runs


def test_failure_is_memoized_and_harms_only_its_readers():
    """a derivation that raises is a Failure for its readers, and heals with the next change."""
    world = World()
    world.write(a=13, b=4)
    world.graph.watch(parity_sum, 1)
    world.graph.watch(parity_sum, 0)
    seen = {each.arguments: each.value for each in world.graph.settle()}

    assert isinstance(seen[(1,)], Failure)
    assert seen[(0,)] == 2
    assert {each.arguments for each, _ in world.graph.failures()} == {("a",), (1,)}

    world.write(a=5)

    assert [each.value for each in world.graph.settle()] == [2]
    assert not list(world.graph.failures())


def test_attempt_gives_the_last_good_value():
    """a reader that attempts a derivation keeps serving the value of its last good run."""
    world = World()
    world.write(a=8, b=4)
    world.graph.watch(tolerant)
    assert [each.value for each in world.graph.settle()] == [(("a", 4), ("b", 2))]
    world.write(a=13, b=8)

    assert [each.value for each in world.graph.settle()] == [(("a", 4), ("b", 4))]


def test_circular_derivation_is_an_error():
    """a derivation that reads itself fails instead of recursing."""
    world = World()
    with pytest.raises(CircularDerivation):
        world.graph.value(loop)


def test_cells_are_the_provenance():
    """the cells of a derivation are all rows and buckets that it read."""
    world = World()
    world.write(a=4, b=5)
    world.graph.watch(total)
    list(world.graph.settle())
    root = next(iter(world.graph.derivations(total)))

    assert world.graph.cells(root) == {
        ("number", "parity", 0),
        ("number", "parity", 1),
        ("number", "a"),
        ("number", "b"),
    }


def test_watch_twice_needs_unwatch_twice():
    """watches are counted."""
    world = World()
    world.graph.watch(total)
    world.graph.watch(total)
    list(world.graph.settle())
    world.graph.unwatch(total)
    world.write(a=4)

    assert [each.value for each in world.graph.settle()] == [2]


@pytest.mark.parametrize("seed", range(20))
def test_settle_yields_only_what_changed(seed):
    """each yielded derivation has a value other than before."""
    world = World()
    numbers = random.Random(seed)
    world.graph.watch(total)
    before = None
    for _ in range(50):
        world.write(**{numbers.choice("abcdef"): numbers.choice([None, 1, 4, 5, 8, 9])})
        for each in world.graph.settle():
            assert each.value != before
            before = each.value
