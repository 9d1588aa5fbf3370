"""Hypothesis strategies of Envoy messages from betterproto2's field metadata, and an independent decoding to compare.

The independent implementation is upb with the descriptors of `xds_protos` (package `envoy`).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import envoy as upb_package
from betterproto2 import FieldMetadata, Message
from envoy_data_plane.message_pool import default_message_pool
from google.protobuf import descriptor_pool, message_factory
from hypothesis import strategies as st
from pydantic.dataclasses import rebuild_dataclass

from xdscp.translators.construct import unchecked

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEPTH = 4
FIELDS = 4
"""Fields set in one generated message, at most."""

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.sampled_from(["x" * 127, "é" * 700]),
    "bytes": st.binary(max_size=8),
    "double": st.floats(allow_nan=False),
    "float": st.floats(width=32, allow_nan=False),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "sint32": st.integers(-(2**31), 2**31 - 1),
    "sint64": st.integers(-(2**63), 2**63 - 1),
    "fixed32": st.integers(0, 2**32 - 1),
    "fixed64": st.integers(0, 2**64 - 1),
    "sfixed32": st.integers(-(2**31), 2**31 - 1),
    "sfixed64": st.integers(-(2**63), 2**63 - 1),
}
DURATIONS = st.timedeltas(timedelta(0), timedelta(days=3650)) | st.integers(-100, -1).map(
    lambda s: timedelta(seconds=s)
)
"""Without negative fractions, which betterproto2 encodes wrongly."""

WRAPPED: dict[str, st.SearchStrategy[Any]] = {
    "BoolValue": SCALARS["bool"],
    "BytesValue": SCALARS["bytes"],
    "DoubleValue": SCALARS["double"],
    "Duration": DURATIONS,
    "FloatValue": SCALARS["float"],
    "Int32Value": SCALARS["int32"],
    "Int64Value": SCALARS["int64"],
    "StringValue": SCALARS["string"],
    "Timestamp": st.timedeltas(timedelta(days=-20_000), timedelta(days=20_000)).map(lambda since: EPOCH + since),
    "UInt32Value": SCALARS["uint32"],
    "UInt64Value": SCALARS["uint64"],
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a message class; `cls` is the class of its values where they are messages or enums."""

    name: str
    meta: FieldMetadata
    cls: Any
    key: str = ""

    @property
    def is_message(self) -> bool:
        return self.meta.proto_type == "message" and not self.meta.unwrap


@functools.cache
def fields(cls: type[Message]) -> tuple[Field, ...]:
    """The fields; those of maps have the metadata of their values, and `key` is the type of their keys."""
    hints = get_type_hints(cls, vars(sys.modules[cls.__module__]), {})
    found = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # Message itself is no dataclass
        meta, hint = FieldMetadata.get(field), hints[field.name]
        if meta.map_meta:
            found.append(Field(field.name, meta.map_meta[1], hint.__args__[1], meta.map_meta[0].proto_type))
        else:
            found.append(Field(field.name, meta, getattr(hint, "__args__", (hint,))[0]))
    return tuple(found)


def reachable(roots: list[type[Message]]) -> set[type[Message]]:
    """The message classes that the roots can hold, themselves among them."""
    found: set[type[Message]] = set()
    pending = list(roots)
    while pending:
        cls = pending.pop()
        if cls not in found:
            found.add(cls)
            pending += [field.cls for field in fields(cls) if field.is_message]
    return found


def value(field: Field, depth: int) -> st.SearchStrategy[Any]:
    """One value of a field: an item of a list, or a value of a map, where it is one."""
    meta = field.meta
    if meta.unwrap:
        return WRAPPED[meta.unwrap().__name__]
    if meta.proto_type == "message":
        return messages(field.cls, depth - 1)
    if meta.proto_type == "enum":
        return st.sampled_from(list(field.cls)) | st.just(field.cls(77_777))
    return SCALARS[meta.proto_type]


def values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field.key:
        pairs = st.dictionaries(SCALARS[field.key], value(field, depth), max_size=3)
        return pairs.map(lambda found: dict(sorted(found.items())))  # betterproto2 writes maps as they are ordered
    if field.meta.repeated:
        return st.lists(value(field, depth), max_size=3)
    return value(field, depth)


@functools.cache
def messages(cls: type[Message], depth: int = DEPTH) -> st.SearchStrategy[Any]:
    """Messages of a class, nested to `depth`, with few fields each and at most one of each oneof."""

    rebuild_dataclass(cls)  # type: ignore[arg-type]  # as above; `bytes` fails for a class that pydantic has not completed

    @st.composite
    def message(draw: st.DrawFn) -> Message:
        possible = [field for field in fields(cls) if depth > 0 or not field.is_message]
        if not possible:
            return unchecked(cls)()
        chosen = draw(st.lists(st.sampled_from(possible), min_size=depth == DEPTH, max_size=FIELDS, unique_by=oneof))
        return unchecked(cls)(**{field.name: draw(values(field, depth)) for field in chosen})

    return message()


def oneof(field: Field) -> str:
    return f"oneof {field.meta.group}" if field.meta.group else field.name


@functools.cache
def independent(cls: type[Message]) -> Any:
    """The upb class of the same name, or None where xds_protos has none."""
    name = default_message_pool.type_to_url[cls].rpartition("/")[2]
    pool = descriptor_pool.Default()
    root = Path(next(iter(upb_package.__path__))).parent
    folder = root.joinpath(*cls.__module__.split(".")[1:])
    for module in sorted(folder.glob("*_pb2.py")):
        importlib.import_module(".".join(module.with_suffix("").relative_to(root).parts))
    try:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except KeyError:
        return None


def differences(ours: Message, theirs: Any) -> Iterator[str]:
    """Where a message and its independently decoded form differ; fields of a newer API on either side are not seen."""
    by_number = {meta.number: name for name, meta in _metadata(type(ours)).items()}
    by_name = {field.name: field for field in fields(type(ours))}
    for descriptor in theirs.DESCRIPTOR.fields:
        if descriptor.number not in by_number:
            continue
        field = by_name[by_number[descriptor.number]]
        mine, other = getattr(ours, field.name), getattr(theirs, descriptor.name)
        where = f"{type(ours).__name__}.{field.name}"
        if field.key:
            if mine.keys() != set(other):
                yield where
            else:
                for key in mine:
                    yield from _value_differences(field, mine[key], other[key], where)
        elif field.meta.repeated:
            if len(mine) != len(other):
                yield where
            for one, another in zip(mine, other, strict=False):
                yield from _value_differences(field, one, another, where)
        elif descriptor.has_presence:
            if (mine is not None) != theirs.HasField(descriptor.name):
                yield f"{where}: presence"
            elif mine is not None:
                yield from _value_differences(field, mine, other, where)
        else:
            yield from _value_differences(field, mine, other, where)


def _value_differences(field: Field, mine: Any, other: Any, where: str) -> Iterator[str]:
    if field.is_message:
        yield from differences(mine, other)
    elif _plain(field, mine) != _decoded(field, other):
        yield f"{where}: {mine!r} became {other!r}"


def _plain(field: Field, value: Any) -> Any:
    wrapper = field.meta.unwrap().__name__ if field.meta.unwrap else ""
    if wrapper == "Duration":
        return value // timedelta(microseconds=1) * 1000
    if wrapper == "Timestamp":
        return (value - EPOCH) // timedelta(microseconds=1) * 1000
    if wrapper == "FloatValue" or field.meta.proto_type == "float":
        return struct.unpack("<f", struct.pack("<f", value))[0]
    return int(value) if field.meta.proto_type == "enum" else value


def _decoded(field: Field, value: Any) -> Any:
    if not field.meta.unwrap:
        return value
    if field.meta.unwrap().__name__ in ("Duration", "Timestamp"):
        assert value.seconds * value.nanos >= 0 or field.meta.unwrap().__name__ == "Timestamp"
        return value.seconds * 10**9 + value.nanos
    return value.value


def _metadata(cls: type[Message]) -> dict[str, FieldMetadata]:
    return {field.name: FieldMetadata.get(field) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # as above


__all__ = ["Field", "differences", "fields", "independent", "messages", "reachable", "values"]
