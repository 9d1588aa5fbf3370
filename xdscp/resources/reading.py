"""The text of a file as manifests, each with its place in the file.

Place in the flow: `sources.directory` reads the bytes, `sources.folder` asks here what objects they hold.
YAML means what it means to kubectl (`yes` and `on` are booleans, `22:22` and dates are strings, `010` is eight, `<<` merges);
JSON may hold several objects in a row; the items of a `kind: List` are documents of their own. What could harm is bounded:
the size of a file, the depth, and what aliases expand to. Errors are values.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import JSONDecodeError
from typing import Any

import yaml

from xdscp.resources.construction import MAX_DEPTH, Construction, Flaw

MAX_BYTES = 10_000_000
"""Files of this size or more are refused."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest; `place` is the number of its document, counted from 1, and of its item in a List: `2`, `2[0]`."""

    place: str
    line: int
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What cannot be read: a document, or with an empty `place` the whole file. `line` is 0 when unknown."""

    place: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds; after an error that spoils the whole file, no documents."""

    documents: tuple[Document, ...] = ()
    errors: tuple[Unreadable, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Nothing of the file is unreadable."""
        return not self.errors


def reading_of(content: bytes, *, is_json: bool = False) -> Reading:
    """The documents of a file's bytes; never raises."""
    try:
        text = _text(content)
        parts = list(_json(text) if is_json else _yaml(text))
    except Flaw as flaw:
        return Reading(errors=(Unreadable("", flaw.line, flaw.message),))
    documents: list[Document] = []
    errors: list[Unreadable] = []
    for number, (line, value) in enumerate(parts, 1):
        for found in _manifests(str(number), line, value):
            if isinstance(found, Document):
                documents.append(found)
            else:
                errors.append(found)
    return Reading(tuple(documents), tuple(errors))


def _text(content: bytes) -> str:
    if len(content) >= MAX_BYTES:
        raise Flaw(0, f"the file has {len(content):,} bytes; it must have fewer than {MAX_BYTES:,}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Flaw(0, "the file is in UTF-16; it must be in UTF-8")
    if (position := content.find(b"\0")) >= 0:
        raise Flaw(_line(content, position), "a NUL byte; the file must be text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"byte 0x{content[error.start]:02x} is not UTF-8; the file must be text in UTF-8"
        raise Flaw(_line(content, error.start), message) from None


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _manifests(place: str, line: int, value: Any) -> Iterator[Document | Unreadable]:
    """The manifests of one document, or why it has none."""
    if isinstance(value, Flaw):
        yield Unreadable(place, value.line or line, value.message)
    elif isinstance(value, dict):
        kind, items = value.get("kind"), value.get("items")
        if kind == "List" or (isinstance(kind, str) and kind.endswith("List") and "items" in value):
            if isinstance(items, list):
                for index, item in enumerate(items):
                    yield from _manifests(f"{place}[{index}]", line, _flawed(item))
            elif items is not None:
                yield Unreadable(place, line, f"the items of a {kind} must be a list of objects")
        else:
            yield Document(place, line, value)
    elif value is not None:
        yield Unreadable(place, line, f"a document must be a mapping, not {_name(value)}")


def _flawed(item: Any) -> Any:
    return Flaw(0, "an item of a List must be a mapping, not null") if item is None else item


def _name(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _yaml(text: str) -> Iterator[tuple[int, Any]]:
    """The line and the value, or the `Flaw`, of each document. Raises `Flaw` when the rest cannot be read."""
    construction = Construction(0)
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        for event in events:
            kind = type(event)
            if kind is yaml.DocumentStartEvent:
                construction = Construction(0 if event.end_mark is None else event.end_mark.line + 1)
            elif kind is yaml.DocumentEndEvent:
                yield construction.line, construction.flaw or construction.value
            else:
                construction.take(event)
    except yaml.reader.ReaderError as error:
        line = _line(text.encode(), error.position)
        raise Flaw(line, f"character {error.character!r}: {error.reason}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Flaw(0 if mark is None else mark.line + 1, f"{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Flaw(0, str(error)) from None


def _json(text: str) -> Iterator[tuple[int, Any]]:
    """As `_yaml`, of JSON objects one after another."""
    flaws: list[Flaw] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            flaws.append(Flaw(0, f"the key {json.dumps(twice[:80])} stands twice in one mapping"))
        return members

    def constant(name: str) -> None:
        flaws.append(Flaw(0, f"{name} is not a JSON number"))

    decoder = json.JSONDecoder(object_pairs_hook=mapping, parse_constant=constant)
    position, line, end = 0, 1, len(text)
    while True:
        start = position
        while position < end and text[position] in " \t\r\n":
            position += 1
        line += text.count("\n", start, position)
        if position == end:
            return
        flaws.clear()
        try:
            value, after = decoder.raw_decode(text, position)
        except JSONDecodeError as error:
            raise Flaw(error.lineno, f"not JSON: {error.msg}") from None
        except RecursionError:
            raise Flaw(line, f"nested deeper than {MAX_DEPTH} levels") from None
        except ValueError:
            raise Flaw(line, "a number beyond 64 bits") from None
        yield line, flaws[0] if flaws else _bounded(value)
        line += text.count("\n", position, after)
        position = after


def _bounded(value: Any) -> Any:
    """The value, or the `Flaw` in it that JSON allows and nothing behind it could bear."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str):
                if "\0" in item or not _is_unicode(item):
                    return Flaw(0, f"the string {json.dumps(item[:80])} has a NUL or half a surrogate pair in it")
            elif isinstance(item, float):
                if item in (float("inf"), float("-inf")):
                    return Flaw(0, "a number beyond the range of a double")
            elif item is not None and not -(2**63) <= item < 2**64:
                return Flaw(0, "a number beyond 64 bits")
        if not inner:
            return value
        level = inner
    return Flaw(0, f"nested deeper than {MAX_DEPTH} levels")


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
