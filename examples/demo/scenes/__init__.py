"""The scenes in the order in which they are shown; each edits the folder, sends requests, and checks what it counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from examples.demo.scenes import instances, mistakes, resilience, routing
from examples.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """`explanation`: a sentence or two for someone who sees it for the first time; `play` returns what it found in short."""

    title: str
    explanation: str
    play: Callable[[Stage], Awaitable[str]]


SCENES = (
    Scene(
        "Canary 90/10",
        "Two instances run version v1 of reviews, one runs v2. The policy gives v2 a tenth of the requests.",
        routing.canary,
    ),
    Scene(
        "The split is changed while requests run",
        "Two numbers in a YAML file are changed. No Envoy restarts, no request is lost.",
        routing.split,
    ),
    Scene(
        "A retry hides a failing instance",
        "One of three instances of ratings answers every request with 503. First without, then with a retry.",
        resilience.retry,
    ),
    Scene(
        "Outlier detection ejects an instance and takes it back",
        "The same instance still fails. After five failures in a row it gets no more requests; healed, it returns.",
        resilience.outlier,
    ),
    Scene(
        "A circuit breaker sheds load",
        "catalog becomes slow. One connection and one waiting request are allowed; the others fail at once.",
        resilience.circuit_breaker,
    ),
    Scene(
        "A fault is injected",
        "To see what callers do: 20 % of the requests to catalog are answered 418, 30 % are held for 150 ms.",
        resilience.fault,
    ),
    Scene(
        "An instance goes and comes back under load",
        "reviews-v1-b is taken out, its processes end, new ones start. 300 requests a second run all the time.",
        instances.replaced,
    ),
    Scene(
        "A mistake in a policy harms nobody",
        "Broken policies are written while requests run. They are refused; what was in force stays in force.",
        mistakes.refused,
    ),
)
