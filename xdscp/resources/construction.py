"""Values from the events of a YAML parser, in one pass and with bounds.

Place in the flow: below `reading`. Scalars are resolved as kubectl's YAML library does, which is YAML 1.1 without base 60
and with dates left as strings. PyYAML's own constructor knows neither those rules nor bounds, and keeps the last of
duplicate keys; an alias of an alias of an alias grows exponentially in whoever walks the value.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_DEPTH = 64
"""Levels of nesting in a document; the deepest Kubernetes manifests have about twenty."""

MAX_ALIASED = 10_000
"""Values that all aliases of a document may stand for, together."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NOT_JSON = frozenset(
    f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF", "nan", "NaN", "NAN")
)
_NUMERIC = frozenset("+-.0123456789")
_MEANINGFUL = _NUMERIC | {word[0] for word in _WORDS if word}
"""What a plain scalar begins with that may be more than a string; the empty one is null."""
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = {2: 16, 3: 2, 4: 8, 5: 10}
"""The base of each group of `_INTEGER` but the sign."""
_LONGEST = 67
"""Characters of a number of 64 bits in base two, with its sign and prefix."""
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}


@dataclass(eq=False)
class Flaw(Exception):  # noqa: N818  # expected of outside input: `reading` turns it into a value
    """What is wrong with a document, and its line (0 when unknown)."""

    line: int
    message: str


@dataclass(slots=True)
class _Collection:
    """A mapping or sequence that is not yet closed."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    size_before: int
    key: str | None = None
    merging: bool = False
    merged: list[Any] = field(default_factory=list)


class Construction:
    """One document from its events: in the end `value`, or the `flaw` in it; `line` is its first."""

    def __init__(self, line: int) -> None:
        self.value: Any = None
        self.flaw: Flaw | None = None
        self.line = line
        self._open: list[_Collection] = []
        self._anchored: dict[str, tuple[Any, int]] = {}
        self._size = 0
        self._aliased = 0

    def take(self, event: Any) -> None:
        """Builds on with the next event of the document. Raises `Flaw` when it is not safe to read on."""
        if self.flaw is None:
            try:
                self._build(event)
            except Flaw as flaw:
                flaw.line = event.start_mark.line + 1
                if len(self._open) >= MAX_DEPTH:  # the parser below would go on, at a cost that grows with the depth
                    raise
                self.flaw = flaw

    def _build(self, event: Any) -> None:
        kind = type(event)
        if not self._open:
            self.line = event.start_mark.line + 1
        if kind is ScalarEvent:
            self._size += 1
            text = event.value
            is_plain = event.implicit[0] and event.tag is None
            # most scalars are words, which take the short way
            value = text if is_plain and text and text[0] not in _MEANINGFUL else _scalar(event)
            if event.anchor is not None:
                self._anchored[event.anchor] = (value, 1)
            self._add(value, is_merge=is_plain and text == "<<")
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self._begin(event, {} if kind is MappingStartEvent else [])
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._end()
        elif kind is AliasEvent:
            self._alias(event.anchor)

    def _begin(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise Flaw(0, f"nested deeper than {MAX_DEPTH} levels")
        wanted = _TAG + ("map" if isinstance(value, dict) else "seq")
        if event.tag not in (None, "!", wanted):
            raise Flaw(0, f"the tag {_shown(event.tag)} is not allowed here")
        if event.anchor is not None:
            self._anchored.pop(event.anchor, None)  # an alias of it from within is a cycle, whatever it named before
        self._open.append(_Collection(value, event.anchor, self._size))
        self._size += 1

    def _end(self) -> None:
        collection = self._open.pop()
        value = collection.value
        if isinstance(value, dict):
            for mapping in collection.merged:
                for name, member in mapping.items():
                    value.setdefault(name, member)
        if collection.anchor is not None:
            self._anchored[collection.anchor] = (value, self._size - collection.size_before)
        self._add(value)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchored:
            if any(collection.anchor == anchor for collection in self._open):
                raise Flaw(0, f"the alias *{_shown(anchor)} stands inside of what it names: a cycle")
            raise Flaw(0, f"the alias *{_shown(anchor)} names nothing")
        value, size = self._anchored[anchor]
        self._aliased += size
        self._size += size
        if self._aliased > MAX_ALIASED:
            raise Flaw(0, f"aliases stand for more than {MAX_ALIASED:,} values")
        self._add(value)

    def _add(self, value: Any, *, is_merge: bool = False) -> None:
        """Puts a finished value where it belongs: the document, a list, or a mapping's next key or member."""
        if not self._open:
            self.value = value
            return
        collection = self._open[-1]
        container = collection.value
        if isinstance(container, list):
            container.append(value)
        elif collection.merging:
            collection.merging = False
            mappings = value if isinstance(value, list) else [value]
            if not all(isinstance(mapping, dict) for mapping in mappings):
                raise Flaw(0, "`<<` merges a mapping or a list of mappings")
            collection.merged.extend(mappings)
        elif collection.key is not None:
            container[collection.key] = value
            collection.key = None
        elif is_merge:
            collection.merging = True
        else:
            key = _key(value)
            if key in container:
                raise Flaw(0, f"the key {_shown(key)} stands twice in one mapping")
            collection.key = key


def _key(value: Any) -> str:
    """A key as JSON has it: a string."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise Flaw(0, "a key must be a string")
    return json.dumps(value)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag is None:
        return _plain(text) if event.implicit[0] else _text(text)
    if event.tag == "!":
        return _text(text)
    return _tagged(event.tag, text)


def _text(text: str) -> str:
    if "\0" in text:
        raise Flaw(0, f"the string {_shown(text)} has a NUL in it")
    return text


def _tagged(tag: str, text: str) -> Any:
    if tag == f"{_TAG}str":
        return _text(text)
    value = _plain(text)
    wanted = _TYPES.get(tag.removeprefix(_TAG))
    if wanted is None:
        raise Flaw(0, f"the tag {_shown(tag)} is not allowed here")
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise Flaw(0, f"{_shown(text)} is no {tag.removeprefix(_TAG)}")
    return value


def _plain(text: str) -> Any:
    """The value of a plain scalar: null, a boolean, a number, or else the string itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    if text in _NOT_JSON:
        raise Flaw(0, f"{text} is not a JSON number")
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        base = _BASES[match.lastindex or 0]
        number = int(f"{match[1]}{match[match.lastindex or 0]}", base) if len(digits) <= _LONGEST else 2**64
        if not -(2**63) <= number < 2**64:
            raise Flaw(0, f"{_shown(text)} is a number beyond 64 bits")
        return number
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if math.isinf(value):
            return text
        # kubectl sends a float without a fraction as an integer
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return text


def _shown(text: str) -> str:
    return json.dumps(text[:80])
