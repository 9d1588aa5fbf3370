"""Reading: the text of a file as documents, or what is wrong with it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from xdscp.resources.reading import MAX_BYTES, Document, Reading, Unreadable, reading_of


def manifests(text: str) -> list[dict[str, Any]]:
    reading = reading_of(text.encode())
    assert not reading.errors
    return [document.manifest for document in reading.documents]


def error(content: bytes, *, is_json: bool = False) -> Unreadable:
    reading = reading_of(content, is_json=is_json)
    assert len(reading.errors) == 1
    return reading.errors[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", True),
        ("on", True),
        ("y", True),
        ("No", False),
        ("OFF", False),
        ("true", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("22:22", "22:22"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("010", 8),
        ("0o10", 8),
        ("08", 8),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("1e3", 1000),
        ("8080.0", 8080),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e999", "1e999"),
        ("18446744073709551615", 2**64 - 1),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("! 1", "1"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubectl(written: str, meant: Any) -> None:
    """A plain scalar is the value that kubectl would send to the API server."""
    (manifest,) = manifests(f"value: {written}\n")

    assert manifest["value"] == meant
    assert type(manifest["value"]) is type(meant)


def test_keys_become_strings() -> None:
    """JSON knows only strings as keys, so that `on:` is the key `true`."""
    assert manifests("on: 1\n80: 2\n'x': 3\n") == [{"true": 1, "80": 2, "x": 3}]


def test_merge_keys_are_merged() -> None:
    """`<<` brings in a mapping's members; own members and earlier mappings win."""
    text = "a: &a {p: 1, q: 1}\nb: &b {q: 2, r: 2}\nc: {p: 3, <<: [*a, *b]}\n"

    assert manifests(text)[0]["c"] == {"p": 3, "q": 1, "r": 2}


def test_documents_know_their_number_and_line() -> None:
    """Documents are counted from 1, empty ones too; the items of a List are places within their document."""
    text = "# licence\n---\n\nkind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: List\n  items: [{kind: C}]\n"

    assert reading_of(text.encode()).documents == (
        Document("1", 4, {"kind": "A"}),
        Document("3[0]", 7, {"kind": "B"}),
        Document("3[1][0]", 7, {"kind": "C"}),
    )


def test_json_objects_may_follow_one_another() -> None:
    """A JSON file may hold several objects; each knows its line."""
    reading = reading_of(b'\n{"kind": "A"}\n\n{"kind": "List", "items": [{"kind": "B"}]} {}', is_json=True)

    assert reading == Reading(
        (Document("1", 2, {"kind": "A"}), Document("2[0]", 4, {"kind": "B"}), Document("3", 4, {}))
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("b: 1\nc:\n  d: 1\n  d: 2", 5, 'the key "d" stands twice in one mapping'),
        ("b: 1\ntrue: 2\non: 3", 4, 'the key "true" stands twice in one mapping'),
        ("a: &a [*a]", 2, 'the alias *"a" stands inside of what it names: a cycle'),
        ("a: &a {b: &b [*a]}", 2, 'the alias *"a" stands inside of what it names: a cycle'),
        ("a: *nothing", 2, 'the alias *"nothing" names nothing'),
        ("- 1", 2, "a document must be a mapping, not a list"),
        ("text", 2, "a document must be a mapping, not a string"),
        ("? [a]\n: b", 2, "a key must be a string"),
        ("~: b", 2, "a key must be a string"),
        ("a: !!python/object/apply:os.system [x]", 2, "is not allowed here"),
        ("a: !!int x", 2, '"x" is no int'),
        ("a: .inf", 2, ".inf is not a JSON number"),
        ("a: 99999999999999999999", 2, "is a number beyond 64 bits"),
        (f"a: 0x{'f' * 100_000}", 2, "is a number beyond 64 bits"),
        ('a: "\\0"', 2, "has a NUL in it"),
        ('!!str "\\0": 1', 2, "has a NUL in it"),
        ("a: {<<: 1}", 2, "`<<` merges a mapping or a list of mappings"),
        ("kind: List\nitems: 1", 2, "the items of a List must be a list of objects"),
    ],
)
def test_a_bad_document_leaves_the_others(text: str, line: int, message: str) -> None:
    """What is wrong inside of a document is told with its line, and the other documents count."""
    reading = reading_of(f"---\n{text}\n---\nkind: Good\n".encode())

    assert [document.manifest for document in reading.documents] == [{"kind": "Good"}]
    assert [(found.place, found.line) for found in reading.errors] == [("1", line)]
    assert message in reading.errors[0].message
    assert len(reading.errors[0].message) < 200


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a: 1\n---\nb: [", 4, "did not find expected node content"),
        (b"a: 1\n---\nb: '", 3, "unexpected end of stream"),
        (b"a: 1\nb\n", 3, "could not find expected ':'"),
        (b"a: 1\n\x00", 2, "a NUL byte; the file must be text in UTF-8"),
        ("a: ü".encode("latin-1"), 1, "byte 0xfc is not UTF-8; the file must be text in UTF-8"),
        ("a: 1".encode("utf-16"), 0, "the file is in UTF-16; it must be in UTF-8"),
        (b"a: 1\nb: \x07", 2, "control characters are not allowed"),
        (b"[" * 1_000_000, 1, "nested deeper than 64 levels"),
        (b"{a: " * 100_000, 1, "nested deeper than 64 levels"),
        (b"- " * 1000, 1, "nested deeper than 64 levels"),
        (b"#" * MAX_BYTES, 0, "the file has 10,000,000 bytes; it must have fewer than 10,000,000"),
    ],
)
def test_what_spoils_a_file_leaves_none_of_its_documents(content: bytes, line: int, message: str) -> None:
    """After an error of syntax nothing of the file counts, and the error has its line."""
    found = error(content)

    assert (found.place, found.line) == ("", line)
    assert message in found.message
    assert not reading_of(content).documents


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b'{"a": 1, "a": 2}', "1", 'the key "a" stands twice in one mapping'),
        (b'{"a": NaN}', "1", "NaN is not a JSON number"),
        (b'{"a": 1e999}', "1", "a number beyond the range of a double"),
        (b'{"a": 99999999999999999999}', "1", "a number beyond 64 bits"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "", "a number beyond 64 bits"),
        (b'{"a": "\\u0000"}', "1", "has a NUL or half a surrogate pair in it"),
        (b'{"\\ud800": 1}', "1", "has a NUL or half a surrogate pair in it"),
        (b'{"a": ' * 65 + b"1" + b"}" * 65, "1", "nested deeper than 64 levels"),
        (b"[" * 1_000_000, "", "nested deeper than 64 levels"),
        (b'{"a": 1', "", "not JSON"),
        (b"[]", "1", "a document must be a mapping, not a list"),
    ],
)
def test_bad_json_is_told(content: bytes, place: str, message: str) -> None:
    """JSON has the bounds of YAML."""
    found = error(content, is_json=True)

    assert found.place == place
    assert message in found.message


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    """Aliases of aliases are counted by what they stand for, not expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    began = time.perf_counter()

    found = error("\n".join(lines).encode())

    assert found.message == "aliases stand for more than 10,000 values"
    assert time.perf_counter() - began < 1


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """A UTF-8 byte order mark, which some editors write, is skipped."""
    assert reading_of(b"\xef\xbb\xbfkind: A\n").documents == (Document("1", 1, {"kind": "A"}),)
    assert reading_of(b'\xef\xbb\xbf{"kind": "A"}', is_json=True).documents == (Document("1", 1, {"kind": "A"}),)


FRAGMENTS = (
    *("a", ": ", "- ", "\n", "  ", "---\n", "&x ", "*x", "[", "]", "{", "}", "<<", '"', "'", "!!", "\\0", "|\n", "#"),
    *(",", "...\n", "%YAML 1.1\n", "? ", "1", "~", "\t", "\ud7ff", "\x85", "kind: List\nitems: "),
)
fragments = st.lists(st.sampled_from(FRAGMENTS)).map("".join)


@given(st.binary() | fragments.map(str.encode) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\xff\xfe")
@example(b"- &a\n- *a")
def test_reading_never_raises(content: bytes) -> None:
    """Whatever the bytes, the outcome is documents and errors, and every document can be written as JSON in UTF-8."""
    for is_json in (False, True):
        reading = reading_of(content, is_json=is_json)
        for document in reading.documents:
            json.dumps(document.manifest, ensure_ascii=False, allow_nan=False).encode()
        for found in reading.errors:
            assert found.message


# JSON writes what is beyond 0xFFFF as two escapes, which YAML does not know; a key of YAML has at most 1,024 characters
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0", max_codepoint=0xFFFF), max_size=100)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), trees), max_size=4))
def test_what_is_written_is_read(values: list[dict[str, Any]]) -> None:
    """JSON and the YAML of an independent writer are read as the values that were written."""
    as_json = "\n".join(map(json.dumps, values)).encode()
    as_yaml = "".join(f"---\n{json.dumps(value)}\n" for value in values).encode()

    assert [found.manifest for found in reading_of(as_json, is_json=True).documents] == values
    assert [found.manifest for found in reading_of(as_yaml).documents] == values


@given(st.dictionaries(st.sampled_from("abcdef"), trees))
def test_block_style_is_read(value: dict[str, Any]) -> None:
    """YAML in block style, with anchors, quoted and folded scalars, is read as PyYAML reads it."""
    text = yaml.safe_dump(value, default_style='"')
    expected = yaml.safe_load(text)

    assert [found.manifest for found in reading_of(text.encode()).documents] == [expected]
