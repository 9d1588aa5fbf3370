"""Log lines: past-tense events with keys, as JSON or for a terminal, on standard error.

Place in the flow: `app` calls `configure` once; the shells then log by `structlog.get_logger()`. Values from outside
(a proxy's `error_detail`, a manifest's field) are bounded and escaped here, so no caller can forget it, and an event
that carries `limit` is written once a while, however often it happens.
"""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import isfinite
from time import monotonic
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

CHARACTERS = 2_000
"""The longest value written whole."""
ITEMS = 50
"""The longest list or mapping written whole."""
DEPTH = 4

_FIRST = ("timestamp", "level", "event")


def configure(format: Literal["auto", "json", "console"], level: str, stream: TextIO | None = None) -> None:
    """Sends structlog's events and the standard library's records to `stream` (standard error).

    `format` auto is console where the stream is a terminal; `level` is a level's name in lower case.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    console = format == "console" or (format == "auto" and terminal)
    renderer: Any = structlog.dev.ConsoleRenderer(colors=terminal) if console else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tail: list[Any] = [structlog.processors.format_exc_info, bounded_values, renderer]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            RepeatLimit(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


def bounded_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Every value of an event bounded in size and free of control characters, time and event first; a structlog processor."""
    names = [*(name for name in _FIRST if name in event), *(name for name in event if name not in _FIRST)]
    return {name: _traceback(event[name]) if name == "exception" else bounded(event[name]) for name in names}


def bounded(value: Any, depth: int = DEPTH) -> Any:
    """`value` as JSON values of bounded size: long texts are cut, their length noted; control characters are escaped."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, int | float):
        return value if isinstance(value, float) and isfinite(value) else bounded_text(_described(value))
    if isinstance(value, Mapping) and depth:
        items = {bounded_text(str(name)): bounded(each, depth - 1) for name, each, _ in _first(value.items())}
        return items | ({"…": f"{len(value)} entries"} if len(value) > ITEMS else {})
    if isinstance(value, list | tuple | set | frozenset) and depth:
        rest = [f"… ({len(value)} items)"] if len(value) > ITEMS else []
        return [bounded(each, depth - 1) for each, _ in zip(value, range(ITEMS), strict=False)] + rest
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    return bounded_text(value if isinstance(value, str) else _described(value))


def bounded_text(text: str) -> str:
    """At most `CHARACTERS` of `text` and a note of its length; what is not printable is written as an escape."""
    cut = text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}… ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


@dataclass(slots=True)
class _Repeat:
    since: float
    written: int = 0
    suppressed: int = 0


class RepeatLimit:
    """A structlog processor: of events with equal name and equal `limit`, `burst` are written in `period` seconds.

    An event without `limit` always is. The next one written says how many were `suppressed`. At most `held` are
    remembered, the least recent forgotten, so a flood of different events costs bounded memory.
    """

    def __init__(
        self, burst: int = 3, period: float = 30.0, held: int = 1024, clock: Callable[[], float] = monotonic
    ) -> None:
        self._burst = burst
        self._period = period
        self._held = held
        self._clock = clock
        self._repeats: OrderedDict[Hashable, _Repeat] = OrderedDict()

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        limit = event.pop("limit", None)
        if limit is None:
            return event
        now = self._clock()
        key = (event.get("event"), limit)
        repeat = self._repeats.pop(key, None)
        if repeat is None or now - repeat.since >= self._period:
            if repeat is not None and repeat.suppressed:
                event["suppressed"] = repeat.suppressed
            repeat = _Repeat(now)
        self._repeats[key] = repeat
        if len(self._repeats) > self._held:
            self._repeats.popitem(last=False)
        if repeat.written >= self._burst:
            repeat.suppressed += 1
            raise structlog.DropEvent
        repeat.written += 1
        return event


def _traceback(text: Any) -> str:
    """A traceback's last lines, each escaped and, but the first, indented: no line can pass for an event of its own."""
    return "\n  ".join(bounded_text(line) for line in str(text).splitlines()[-ITEMS:])


def _first(items: Any) -> list[tuple[Any, Any, int]]:
    return [(name, each, number) for (name, each), number in zip(items, range(ITEMS), strict=False)]


def _described(value: object) -> str:
    try:
        return (
            str(value) if isinstance(value, BaseException) or type(value).__str__ is not object.__str__ else repr(value)
        )
    except Exception as error:  # a value's own repr must not cost the event
        return f"{type(value).__name__} whose text raised {type(error).__name__}"
