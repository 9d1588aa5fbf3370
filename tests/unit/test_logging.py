from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from xdscp.logging import CHARACTERS, ITEMS, RepeatLimit, bounded, bounded_text, configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json() -> None:
    """an event is one line of JSON with its keys, level and time."""
    stream = io.StringIO()
    configure("auto", "info", stream)

    structlog.get_logger().info("snapshot published", node="shop/web-0", resources=3)

    line = json.loads(stream.getvalue())
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "snapshot published", "level": "info", "node": "shop/web-0", "resources": 3}


def test_level() -> None:
    """events below the level are not written."""
    stream = io.StringIO()
    configure("json", "warning", stream)

    structlog.get_logger().info("unseen")
    structlog.get_logger().warning("seen")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["seen"]


def test_standard_library() -> None:
    """records of libraries are written in the same form."""
    stream = io.StringIO()
    configure("json", "info", stream)

    logging.getLogger("aiohttp").warning("bad %s", "request\n")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("bad request\\n", "warning", "aiohttp")


@pytest.mark.parametrize(("format", "stream"), [("console", io.StringIO()), ("auto", Terminal())])
def test_console(format: Any, stream: io.StringIO) -> None:
    """on a terminal an event is one line for people, and no value from outside breaks or colours it."""
    configure(format, "info", stream)

    structlog.get_logger().info("response refused", error="bad\n2026 [error] forged\x1b[31m")

    assert len(stream.getvalue().splitlines()) == 1
    assert "forged\\\\x1b[31m" in stream.getvalue()


@pytest.mark.parametrize("format", ["json", "console"])
def test_exception(format: Any) -> None:
    """an exception is written with its traceback, and its message cannot pass for an event."""
    stream = io.StringIO()
    configure(format, "info", stream)
    try:
        raise ValueError("bad\nforged" + "x" * 3_000_000)
    except ValueError:
        structlog.get_logger().exception("derivation failed")

    assert "ValueError: bad" in stream.getvalue()
    assert not any(line.startswith("forged") for line in stream.getvalue().splitlines())
    assert len(stream.getvalue()) < 10_000


def test_three_megabytes() -> None:
    """a proxy's error of 3 MB costs a line of bounded length."""
    stream = io.StringIO()
    configure("json", "info", stream)

    structlog.get_logger().warning("response refused", error="\x00é" * 1_500_000)

    assert len(stream.getvalue()) < 10 * CHARACTERS
    assert "(3000000 characters)" in stream.getvalue()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(min_size=CHARACTERS + 1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
)


@profile(deadline=None)  # the machine may be busy
@given(values)
def test_bounded(value: object) -> None:
    """any value becomes JSON of bounded size without control characters, and a bounded value stays as it is."""
    found = bounded(value)

    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    assert text.isprintable()
    assert len(bounded_text(str(value))) <= 10 * CHARACTERS + 40


def test_bounded_collections() -> None:
    """long collections are cut with a note, deep ones become text, and a value whose text raises is named."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    assert bounded(list(range(1000)))[-1] == "… (1000 items)"
    assert len(bounded(dict.fromkeys(range(1000)))) == ITEMS + 1
    assert bounded([[[[["deep"]]]]]) == [[[["['deep']"]]]]
    assert bounded(Hostile()) == "Hostile whose text raised RuntimeError"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def written(repeats: RepeatLimit, event: str, **keys: Any) -> dict[str, Any] | None:
    try:
        return dict(repeats(None, "", {"event": event, **keys}))
    except structlog.DropEvent:
        return None


def test_repeats() -> None:
    """of equal events a burst is written in a period; the next one tells how many were not."""
    clock = Clock()
    limit = RepeatLimit(burst=2, period=10, clock=clock)

    first = [written(limit, "refused", limit=("a", "cds")) for _ in range(5)]
    other = written(limit, "refused", limit=("b", "cds"))
    plain = [written(limit, "connected") for _ in range(5)]
    clock.now = 10
    later = written(limit, "refused", limit=("a", "cds"))

    assert first == [{"event": "refused"}] * 2 + [None] * 3
    assert other == {"event": "refused"}
    assert plain == [{"event": "connected"}] * 5
    assert later == {"event": "refused", "suppressed": 3}


def test_repeats_held() -> None:
    """a flood of different events costs bounded memory."""
    limit = RepeatLimit(held=10)

    for number in range(1000):
        written(limit, "refused", limit=number)

    assert len(limit._repeats) == 10
