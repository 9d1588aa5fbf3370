"""What a scene claims, and the bounds within which a count is what its probability says."""

from __future__ import annotations

import math
from dataclasses import dataclass

SIGMAS = 5.0
"""Standard deviations that a count may be off: about one false alarm in two million counts."""


@dataclass(frozen=True, slots=True)
class Check:
    """A claim in words with its figures, and whether it was measured true."""

    text: str
    true: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A scene that was played: `found` in short, and the seconds that it took."""

    title: str
    found: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """All claims are true; a scene without claims has shown nothing."""
        return bool(self.checks) and all(check.true for check in self.checks)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The counts that are fair, both ends included."""

    low: int
    high: int

    def __contains__(self, count: int) -> bool:
        return self.low <= count <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


def fair(trials: int, percent: float, sigmas: float = SIGMAS) -> Bounds:
    """The counts to expect of an event with a probability of `percent` in `trials` independent trials."""
    share = percent / 100
    middle, spread = trials * share, sigmas * math.sqrt(trials * share * (1 - share))
    return Bounds(max(0, math.ceil(middle - spread)), min(trials, math.floor(middle + spread)))


def share(count: int, total: int) -> str:
    """`count` of `total` as a percentage with one decimal."""
    return f"{100 * count / total:.1f} %" if total else "none"
