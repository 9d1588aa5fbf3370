"""The incremental graph: derivations that record what they read.

Place in the flow: between `store` (the rows) and `snapshot` (what is served). A derivation is a pure function
`@derived def f(view, *keys)`; it reads rows and other derivations only through `view`. The graph records the reads,
and after a change runs again only what read it, and stops where a result equals the old one.

    touch(cell)   readers of the cell become STALE, their readers SUSPECT, and so on up; watched ones become due
    settle        SUSPECT: settle what it read, in the order read, until one makes it STALE; none did: FRESH
                  STALE: run it, recording reads; an equal value keeps the old object, else its readers become STALE
    forget        a derivation that nobody reads or watches drops out, and what only it read with it
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

Cell = tuple[Hashable, ...]
"""What a row read touches: `(kind, key)` for a row, `(kind, index, value)` for an index bucket."""


class Rows(Protocol):
    """The rows that derivations read; `store.Store` and overlays of it."""

    def row(self, kind: str, key: Hashable) -> Any | None: ...

    def bucket(self, kind: str, index: str, value: Hashable) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """The memoized outcome of a derivation that raised."""

    error: Exception

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and repr(self.error) == repr(other.error)

    def __hash__(self) -> int:
        return hash(repr(self.error))


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What `View.attempt` gives: the value now, or the last good one beside the error of the newest run."""

    value: T | None
    error: Exception | None = None


class State(IntEnum):
    FRESH = 0
    SUSPECT = 1
    STALE = 2
    RUNNING = 3


class Source:
    """A cell of the store as the graph sees it: who read it."""

    __slots__ = ("cell", "readers")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.readers: set[Derivation] = set()


class Derivation:
    """One call `function(view, *arguments)`: its value, and the edges to what it read and who read it."""

    __slots__ = ("arguments", "function", "good", "readers", "reads", "state", "told", "value", "watchers")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Hashable, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.state = State.STALE
        self.value: Any = _UNSET
        self.good: Any = None
        self.told: Any = _UNSET
        """The value that `settle` last gave to the watcher."""
        self.reads: dict[Derivation | Source, None] = {}
        self.readers: set[Derivation] = set()
        self.watchers = 0

    def __repr__(self) -> str:
        return f"{self.function.__name__}{self.arguments!r}"


class _Unset:
    def __repr__(self) -> str:
        return "(not yet derived)"


_UNSET = _Unset()


class CircularDerivation(Exception):  # noqa: N818  # what happened
    """A derivation reads itself."""


class View:
    """What a derivation is given, and the only thing that it may read."""

    __slots__ = ("_graph",)

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def get(self, kind: str, key: Hashable) -> Any | None:
        """The row of `kind` named `key`, or None."""
        graph = self._graph
        graph.record((kind, key))
        return graph.rows.row(kind, key)

    def select(self, kind: str, index: str, value: Hashable) -> tuple[Any, ...]:
        """The sorted keys of the rows of `kind` whose `index` holds `value`; read each by `get` or a derivation of its own."""
        graph = self._graph
        graph.record((kind, index, value))
        return graph.rows.bucket(kind, index, value)

    def attempt(self, function: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """The outcome of a derived function without raising: a failed one gives its error and its last good value."""
        derivation = self._graph.read(function_of(function), _positional(args, kwargs))
        if isinstance(derivation.value, Failure):
            return Outcome(derivation.good, derivation.value.error)
        return Outcome(derivation.value)


def derived(function: Callable[Concatenate[View, P], T]) -> Callable[Concatenate[View, P], T]:
    """Marks a pure function of `view` and hashable arguments: its result is memoized, and what it read is recorded."""

    @wraps(function)
    def call(view: View, *args: Any) -> T:
        value = view._graph.read(function, args).value
        if isinstance(value, Failure):
            raise value.error
        return cast("T", value)

    call.derivation = function  # type: ignore[attr-defined]  # what `function_of` gives back
    return cast("Callable[Concatenate[View, P], T]", call)


def function_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function under which a derived one is memoized: `Derivation.function` of its calls."""
    return cast("Callable[..., Any]", cast("Any", call).derivation)


def _positional(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments of a derived call, which has a name only by their position."""
    if kwargs:
        raise TypeError(f"derived functions take positional arguments; given: {', '.join(kwargs)}")
    return args


class Graph:
    """Memoized derivations over `rows`, and which of them are watched."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.runs = 0
        """How many derivations ran."""
        self.failed_runs = 0
        self._view = View(self)
        self._derivations: dict[tuple[Callable[..., Any], tuple[Hashable, ...]], Derivation] = {}
        self._sources: dict[Cell, Source] = {}
        self._running: list[Derivation] = []
        self._due: dict[Derivation, None] = {}
        self._unread: dict[Derivation, None] = {}
        self._outdated: dict[Derivation, None] = {}
        self._failed: dict[Derivation, None] = {}

    def __len__(self) -> int:
        return len(self._derivations)

    # -- for the one writer ------------------------------------------------------------------------------------------

    def touch(self, cells: Iterable[Cell]) -> None:
        """Says which cells of the rows changed."""
        for cell in cells:
            source = self._sources.get(cell)
            if source is not None:
                for reader in source.readers:
                    self._outdate(reader)

    def watch(self, function: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Keeps the call alive; it is due at the next `settle`, and at each at which its value has changed."""
        derivation = self._derivation(function_of(function), _positional(args, kwargs))
        derivation.watchers += 1
        self._due[derivation] = None

    def unwatch(self, function: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Takes one `watch` back."""
        derivation = self._derivations[(function_of(function), _positional(args, kwargs))]
        derivation.watchers -= 1
        if not derivation.watchers:
            self._due.pop(derivation, None)
            self._unread[derivation] = None
            self._forget()

    @property
    def outdated(self) -> int:
        """How many derivations are known to need a run."""
        return len(self._outdated)

    def steps(self) -> Iterator[None]:
        """Runs outdated derivations one after another, yielding after each, so that a large change need not be settled
        in one go. What is left is `settle`'s. The rows must not change until the caller stops.
        """
        while self._outdated:
            derivation = next(iter(self._outdated))
            del self._outdated[derivation]
            if derivation.readers or derivation.watchers:
                self._settle(derivation)
                yield

    def settle(self) -> Iterator[Derivation]:
        """Brings the watched calls up to date; yields each whose value (or `Failure`) changed.

        The rows must not change until the iterator is exhausted.
        """
        while self._due:
            derivation = next(iter(self._due))
            del self._due[derivation]
            self._settle(derivation)
            if derivation.value is not derivation.told:
                derivation.told = derivation.value
                yield derivation
        self._outdated.clear()
        self._forget()

    def value(self, function: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The value of a derived call now, kept only if something watched reads it."""
        value = function(self._view, *args, **kwargs)
        self._forget()
        return value

    # -- what the recorded edges tell --------------------------------------------------------------------------------

    def derivations(
        self, function: Callable[Concatenate[View, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[Derivation]:
        """The call and all that it read, directly or not, each once; nothing when the call is not held."""
        root = self._derivations.get((function_of(function), _positional(args, kwargs)))
        seen: set[Derivation] = set()
        queue = [root] if root is not None else []
        while queue:
            derivation = queue.pop()
            if derivation not in seen:
                seen.add(derivation)
                yield derivation
                queue.extend(read for read in derivation.reads if isinstance(read, Derivation))

    def cells(self, derivation: Derivation, memo: dict[Derivation, frozenset[Cell]] | None = None) -> frozenset[Cell]:
        """The cells that a derivation read, directly or not: where its value comes from.

        `memo` is shared between calls that ask for many derivations of one settled graph.
        """
        memo = {} if memo is None else memo
        known = memo.get(derivation)
        if known is None:
            found: set[Cell] = set()
            for read in derivation.reads:
                if isinstance(read, Source):
                    found.add(read.cell)
                else:
                    found |= self.cells(read, memo)
            known = memo[derivation] = frozenset(found)
        return known

    def failures(self) -> Iterator[tuple[Derivation, Exception]]:
        """The derivations whose newest run raised, with the error."""
        for derivation in self._failed:
            yield derivation, derivation.value.error

    # -- recording and settling --------------------------------------------------------------------------------------

    def record(self, cell: Cell) -> None:
        """Records that the running derivation reads `cell`."""
        if self._running:
            source = self._sources.get(cell)
            if source is None:
                source = self._sources[cell] = Source(cell)
            reader = self._running[-1]
            reader.reads[source] = None
            source.readers.add(reader)

    def read(self, function: Callable[..., Any], arguments: tuple[Hashable, ...]) -> Derivation:
        """The settled derivation of the call, recorded as read by the running one."""
        derivation = self._derivation(function, arguments)
        if self._running:
            reader = self._running[-1]
            reader.reads[derivation] = None
            derivation.readers.add(reader)
        self._settle(derivation)
        return derivation

    def _derivation(self, function: Callable[..., Any], arguments: tuple[Hashable, ...]) -> Derivation:
        call = (function, arguments)
        derivation = self._derivations.get(call)
        if derivation is None:
            derivation = self._derivations[call] = Derivation(function, arguments)
            self._unread[derivation] = None
        return derivation

    def _outdate(self, derivation: Derivation) -> None:
        """Makes a derivation STALE and all above it at least SUSPECT."""
        if derivation.state is State.FRESH:
            self._suspect(derivation)
        if derivation.state is not State.RUNNING:
            derivation.state = State.STALE
            self._outdated[derivation] = None

    def _suspect(self, derivation: Derivation) -> None:
        queue = [derivation]
        while queue:
            suspect = queue.pop()
            if suspect.state is State.FRESH:
                suspect.state = State.SUSPECT
                if suspect.watchers:
                    self._due[suspect] = None
                queue.extend(suspect.readers)

    def _settle(self, derivation: Derivation) -> None:
        if derivation.state is State.FRESH:
            return
        if derivation.state is State.RUNNING:
            raise CircularDerivation(f"{derivation!r} reads itself")
        if derivation.state is State.SUSPECT:
            for read in derivation.reads:
                if isinstance(read, Derivation):
                    self._settle(read)
                    # mypy narrows the attribute to SUSPECT; settling what was read may have made it STALE
                    if cast("State", derivation.state) is State.STALE:
                        break
            else:
                derivation.state = State.FRESH
                return
        self._run(derivation)

    def _run(self, derivation: Derivation) -> None:
        before, derivation.reads = derivation.reads, {}
        derivation.state = State.RUNNING
        self._running.append(derivation)
        self.runs += 1
        value: Any
        try:
            value = derivation.function(self._view, *derivation.arguments)
        except Exception as error:  # a derivation that raises harms only what reads it
            value = Failure(error)
            self.failed_runs += 1
        finally:
            self._running.pop()
            derivation.state = State.FRESH
        for read in before:
            if read not in derivation.reads:
                read.readers.discard(derivation)
                self._abandon(read)
        if value != derivation.value:
            derivation.value = value
            if isinstance(value, Failure):
                self._failed[derivation] = None
            else:
                derivation.good = value
                self._failed.pop(derivation, None)
            for reader in derivation.readers:
                self._outdate(reader)

    def _abandon(self, read: Derivation | Source) -> None:
        if read.readers:
            return
        if isinstance(read, Source):
            self._sources.pop(read.cell, None)
        else:
            self._unread[read] = None

    def _forget(self) -> None:
        if self._running:
            return
        while self._unread:
            derivation, _ = self._unread.popitem()
            if derivation.readers or derivation.watchers:
                continue
            self._derivations.pop((derivation.function, derivation.arguments), None)
            self._due.pop(derivation, None)
            self._failed.pop(derivation, None)
            self._outdated.pop(derivation, None)
            for read in derivation.reads:
                read.readers.discard(derivation)
                self._abandon(read)
