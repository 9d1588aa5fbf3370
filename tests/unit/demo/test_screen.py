"""What is printed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from examples.demo.checks import Check, Result
from examples.demo.screen import Screen, Tally
from examples.demo.shop import Edit


@pytest.fixture
def screen():
    made = Screen(plain=True)
    made.console = Console(file=io.StringIO(), width=110, no_color=True, force_terminal=False)
    return made


def printed(screen):
    return screen.console.file.getvalue()


def test_counts_are_bars_with_figures(screen):
    """The labels given come first, with a count and a share each."""
    with screen.counting(Tally(order=("v1", "v2"))) as tally:
        for label in ["v1"] * 3 + ["v2"]:
            tally.count(label)

    assert [line.split()[0] for line in printed(screen).splitlines()] == ["v1", "v2"]
    assert "75.0 %" in printed(screen)
    assert "█" * 33 + "·" * 11 in printed(screen)


def test_an_edit_is_shown_as_a_difference(screen):
    """Only what changed, with its surroundings."""
    screen.edit(Edit("p.yaml", "a: 1\nb: 2\nc: 3\n", "a: 1\nb: 5\nc: 3\n", 0.0))

    assert [line.strip() for line in printed(screen).splitlines()] == [
        "p.yaml  written",
        "a: 1",
        "- b: 2",
        "+ b: 5",
        "c: 3",
    ]


def test_the_table_marks_a_scene_with_one_false_claim(screen):
    """A scene without claims has shown nothing, so it fails too."""
    screen.results(
        [
            Result("one", "", (Check("x", True), Check("y is wrong", False)), 1.0),
            Result("two", "found", (Check("z", True),), 2.0),
            Result("three", "", (), 0.1),
        ]
    )

    marks = {
        line.split()[1]: line.split()[0] for line in printed(screen).splitlines() if line.strip()[:1] in {"✔", "✘"}
    }
    assert marks == {"one": "✘", "two": "✔", "three": "✘"}
    assert "y is wrong" in printed(screen)
    assert "1/2" in printed(screen)
