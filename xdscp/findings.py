"""All that is wrong now: refused manifests, checks of the model, derivations that failed, resources that proxies refused.

Place in the flow: `pipeline` keeps it beside the store; logs tell each finding once, `/syncz` and `/metrics` read all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog

from xdscp.derive import Derivation, Failure, Graph
from xdscp.mesh.status import CHECKS, problems_of
from xdscp.resources.core import Key, Problem
from xdscp.store import Store, Write

log = structlog.get_logger()

Subject = tuple[str, Key]

FAILED = "Internal"
"""The reason of a problem that is a bug of ours: a derivation raised."""
REFUSED = "Refused"
"""The reason of a problem that a proxy told: it does not accept the resource that the object makes."""


class Findings:
    """The problems, by where they come from."""

    def __init__(self, store: Store, graph: Graph) -> None:
        self._store = store
        self._graph = graph
        self._checked: dict[Subject, tuple[Problem, ...]] = {}
        self._watched: set[Subject] = set()
        self._refused: dict[Subject, Problem] = {}
        self._failed: dict[Derivation, Exception] = {}

    def __iter__(self) -> Iterator[Problem]:
        for _, row in self._store.rows("Problem"):
            yield row
        for problems in self._checked.values():
            yield from problems
        yield from self._refused.values()
        for derivation, error in self._graph.failures():
            subject = next((each for each in derivation.arguments if isinstance(each, Key)), Key("", ""))
            message = f"{derivation.function.__name__} failed, the last good version is served: {error!r}"
            yield Problem("Service", subject, FAILED, message[:500])

    def watch(self, writes: Iterable[Write]) -> None:
        """Follows the objects written, and tells which manifests are refused now."""
        for write in writes:
            if write.row is None and self._refused and isinstance(write.key, Key):
                self._refused.pop((write.kind, write.key), None)
            if write.kind == "Problem":
                self._tell(self._store.row("Problem", write.key), write.row)
            elif write.kind in CHECKS and isinstance(write.key, Key):
                self._follow((write.kind, write.key), exists=write.row is not None)

    def _follow(self, subject: Subject, *, exists: bool) -> None:
        if exists and subject not in self._watched:
            self._watched.add(subject)
            self._graph.watch(problems_of, *subject)
        elif not exists and subject in self._watched:
            self._watched.discard(subject)
            self._checked.pop(subject, None)
            self._graph.unwatch(problems_of, *subject)

    def take(self, derivation: Derivation) -> None:
        """Takes a settled `problems_of`."""
        kind, key = derivation.arguments
        subject = (str(kind), key)
        value = () if isinstance(derivation.value, Failure) else derivation.value
        before = self._checked.get(subject, ())  # type: ignore[arg-type]  # the arguments of `problems_of`
        for problem in before:
            if problem not in value:
                self._tell(problem, None)
        for problem in value:
            if problem not in before:
                self._tell(None, problem)
        if value:
            self._checked[subject] = value  # type: ignore[index]  # as above
        else:
            self._checked.pop(subject, None)  # type: ignore[arg-type]  # as above

    def tell_failures(self) -> None:
        """Logs which derivations raise now, and which no longer do."""
        failed = dict(self._graph.failures())
        for derivation, error in failed.items():
            if self._failed.get(derivation) is not error:
                name = derivation.function.__name__
                log.error("derivation failed", derivation=repr(derivation)[:200], exc_info=error, limit=name)
        for derivation in self._failed.keys() - failed.keys():
            log.info("derivation mended", derivation=repr(derivation)[:200], limit=derivation.function.__name__)
        self._failed = failed

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Takes what a proxy refuses, by the objects that the resource comes from."""
        for problem in problems:
            self._refused[problem.kind, problem.key] = problem

    def relent(self) -> None:
        """Forgets what proxies refused: none refuses anything now."""
        self._refused.clear()

    def _tell(self, before: Problem | None, now: Problem | None) -> None:
        if now is not None and now != before:
            log.warning(
                "problem found",
                object=f"{now.kind} {now.key}",
                reason=now.reason,
                message=now.message,
                file=f"{now.file}#{now.document}" if now.file else None,
            )
        elif now is None and before is not None:
            log.info("problem solved", object=f"{before.kind} {before.key}", reason=before.reason)
