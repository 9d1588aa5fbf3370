"""What the demo shows: headings, edits as diffs, counts that grow as bars, checks, and the table at the end.

On a terminal the counts move while requests run; elsewhere (or with `plain`) only what stands at the end is printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.demo.checks import Check, Result, share
from examples.demo.shop import Edit

BAR = 44
COLOURS = ("cyan", "magenta", "blue", "yellow")
DIFF = {"+": "green", "-": "red"}


@dataclass(slots=True)
class Tally:
    """Counts by label, shown as bars; labels in `bad` are red."""

    order: Sequence[str] = ()
    bad: frozenset[str] = frozenset()
    note: str = ""
    """A line below the bars."""
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, label: str) -> None:
        self.counts[label] += 1

    def __rich__(self) -> Group:
        grid = Table.grid(padding=(0, 1))
        total = self.counts.total()
        labels = [*self.order, *sorted(label for label in self.counts if label not in self.order)]
        for index, label in enumerate(labels):
            count = self.counts[label]
            style = "red" if label in self.bad else COLOURS[index % len(COLOURS)]
            width = round(BAR * count / total) if total else 0
            bar = Text("█" * width, style=style) + Text("·" * (BAR - width), style="bright_black")
            grid.add_row(label, bar, Text(f"{count:,}", justify="right"), Text(share(count, total), justify="right"))
        return Group(grid, *([Text(self.note, style="dim")] if self.note else []))


class Screen:
    """Prints the demo; `plain`: no colours and nothing that moves."""

    def __init__(self, *, plain: bool = False) -> None:
        made = Console(highlight=False)
        self.moving = made.is_terminal and not plain
        self.console = made if self.moving else Console(highlight=False, no_color=True, force_terminal=False, width=110)

    def title(self, text: str, detail: str) -> None:
        panel = Panel(Group(Text(text, style="bold"), Text(detail, style="dim")), box=box.ROUNDED, padding=(0, 2))
        self.console.print(panel)

    def heading(self, number: int, title: str, explanation: str) -> None:
        self.console.print()
        rule = Rule(Text.assemble((f" {number} ", "reverse"), (f" {title} ", "bold")), align="left", style="dim")
        self.console.print(rule)
        self._indented(Text(explanation))

    def note(self, text: str) -> None:
        self._indented(Text(text, style="dim"))

    def failure(self, text: str) -> None:
        self._indented(Text(text, style="red"))

    def edit(self, edit: Edit) -> None:
        """The file's name and the lines that changed."""
        verb = "deleted" if not edit.after else "written" if edit.before else "new"
        lines = edit.diff() if edit.after and edit.before else []
        shown = Text.assemble((edit.file, "bold"), (f"  {verb}", "dim"))
        for line in lines:
            shown.append(f"\n{line[:1]} {line[1:]}", style=DIFF.get(line[:1], "dim"))
        self._indented(shown, 4)

    def check(self, check: Check) -> None:
        line = Table.grid(padding=(0, 1))
        mark = Text("✔", style="bold green") if check.true else Text("✘", style="bold red")
        line.add_row(mark, Text(check.text, style="" if check.true else "red"))
        self._indented(line)

    def _indented(self, shown: RenderableType, columns: int = 2) -> None:
        self.console.print(Padding(shown, (0, 0, 0, columns), expand=False))

    @contextmanager
    def counting(self, tally: Tally) -> Iterator[Tally]:
        """The tally moves within the block and stays as it is at its end."""
        shown = Padding(tally, (0, 0, 0, 4), expand=False)
        if not self.moving:
            yield tally
            self.console.print(shown)
            return
        with Live(shown, console=self.console, refresh_per_second=15):
            yield tally

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A spinner within the block."""
        if not self.moving:
            self.note(text)
            yield
            return
        with self.console.status(Text(text)):
            yield

    def results(self, results: Sequence[Result]) -> None:
        """The table at the end, with the claims that were not true."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("", "scene", "measured"):
            table.add_column(column)
        for column in ("claims", "time"):
            table.add_column(column, justify="right")
        for result in results:
            mark = Text("✔", style="bold green") if result.good else Text("✘", style="bold red")
            wrong = [Text(check.text, style="red") for check in result.checks if not check.true]
            measured = Text("\n").join([Text(result.found), *wrong] if result.found else wrong)
            claims = f"{sum(check.true for check in result.checks)}/{len(result.checks)}"
            table.add_row(mark, result.title, measured, claims, f"{result.seconds:.1f} s")
        self.console.print()
        self.console.print(table)

    def verdict(self, text: str, *, good: bool) -> None:
        self.console.print(Text(text, style="bold green" if good else "bold red"))
