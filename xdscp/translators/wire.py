"""The protobuf wire format: varints, tags, and the well-known types that messages hold as Python values.

Place in the flow: `encode` generates code that calls these; translators that join encoded parts use `embedded`.
Everything here raises TypeError, ValueError, OverflowError, AttributeError or struct.error for a value that does not
fit its type; `encode` adds which field it was. Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""

_KEPT = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION_SECONDS = 315_576_000_000  # google/protobuf/duration.proto


def varint(value: int) -> bytes:
    """A base 128 varint; a negative value is its 64-bit two's complement (ten bytes)."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    body = bytearray()
    while value > 0x7F:
        body.append(value & 0x7F | 0x80)
        value >>= 7
    body.append(value)
    return bytes(body)


class Varints(dict[int, bytes]):
    """Integers of one protobuf type to their varints: small ones by look-up, others made; out of range raises."""

    __slots__ = ("_high", "_low", "_type", "_zigzag")

    def __init__(self, type_: str, low: int, high: int, zigzag: bool = False) -> None:
        super().__init__()
        self._type, self._low, self._high, self._zigzag = type_, low, high, zigzag
        self.update((value, self[value]) for value in range(_KEPT))

    def __missing__(self, value: int) -> bytes:
        if not self._low <= value <= self._high:
            raise ValueError(f"{value} is out of range of {self._type}")
        return varint((value << 1) ^ (value >> 63)) if self._zigzag else varint(value)


LENGTHS = Varints("length", 0, 2**31 - 1)  # protobuf's limit of a message
INTEGERS = {
    "int32": Varints("int32", -(2**31), 2**31 - 1),
    "int64": Varints("int64", -(2**63), 2**63 - 1),
    "uint32": Varints("uint32", 0, 2**32 - 1),
    "uint64": Varints("uint64", 0, 2**64 - 1),
    "sint32": Varints("sint32", -(2**31), 2**31 - 1, zigzag=True),
    "sint64": Varints("sint64", -(2**63), 2**63 - 1, zigzag=True),
}
"""Varints by protobuf type. Look up plain ints only (`integer`): a dict takes 1.0 and True for 1."""

FIXED: dict[str, Callable[[Any], bytes]] = {
    "double": struct.Struct("<d").pack,
    "float": struct.Struct("<f").pack,
    "fixed32": struct.Struct("<I").pack,
    "fixed64": struct.Struct("<Q").pack,
    "sfixed32": struct.Struct("<i").pack,
    "sfixed64": struct.Struct("<q").pack,
}
"""Packers of the types of fixed size, by protobuf type."""


def tag(number: int, proto_type: str) -> bytes:
    """The key in front of a field's value.

    `proto_type` is betterproto2's name of the type ("uint32", "message", "map", …).
    """
    if proto_type in INTEGERS or proto_type in ("bool", "enum"):
        wire_type = VARINT
    elif proto_type in FIXED:
        wire_type = FIXED64 if len(FIXED[proto_type](0)) == 8 else FIXED32
    else:
        wire_type = LENGTH
    return varint(number << 3 | wire_type)


def embedded(number: int, body: bytes) -> bytes:
    """A field of a message, string or bytes type whose value is encoded already.

    A message's bytes are the join of its fields' bytes, so a ClusterLoadAssignment can be joined of memoized endpoints.
    """
    return varint(number << 3 | LENGTH) + LENGTHS[len(body)] + body


def integer(value: object) -> int:
    """`value` as a plain int (IntEnum members are ints); a bool or anything else raises TypeError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"expected int, got {type(value).__name__}")


def text(value: object) -> str:
    """`value`, if it is a string (members of a StrEnum are); anything else raises TypeError."""
    if isinstance(value, str):
        return value
    raise TypeError(f"expected str, got {type(value).__name__}")


def boolean(value: object) -> bytes:
    """The varint of a bool; anything else raises TypeError."""
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError(f"expected bool, got {type(value).__name__}")


def sequence(value: object) -> list[Any] | tuple[Any, ...]:
    """`value`, if it is a list or tuple: a string would be taken for its characters, a generator would be used up."""
    if isinstance(value, (list, tuple)):
        return value
    raise TypeError(f"expected list, got {type(value).__name__}")


def duration(value: timedelta) -> bytes:
    """The body of a google.protobuf.Duration.

    Seconds and nanoseconds have the same sign, as duration.proto asks (betterproto2 gets negative fractions wrong).
    """
    seconds, nanos = value.days * 86_400 + value.seconds, value.microseconds * 1000
    if seconds < 0 and nanos:
        seconds, nanos = seconds + 1, nanos - 1_000_000_000
    if not -_DURATION_SECONDS <= seconds <= _DURATION_SECONDS:
        raise ValueError(f"{value} is out of range of google.protobuf.Duration")
    return _seconds_nanos(seconds, nanos)


def timestamp(value: datetime) -> bytes:
    """The body of a google.protobuf.Timestamp; a datetime without a time zone raises TypeError."""
    since = value - _EPOCH
    return _seconds_nanos(since.days * 86_400 + since.seconds, since.microseconds * 1000)


def _seconds_nanos(seconds: int, nanos: int) -> bytes:
    body = b"\x08" + INTEGERS["int64"][seconds] if seconds else b""
    return body + b"\x10" + INTEGERS["int32"][nanos] if nanos else body


def _number(type_: str) -> Callable[[Any], bytes]:
    varints = INTEGERS[type_]

    def body(value: Any) -> bytes:
        if value.__class__ is not int:
            value = integer(value)
        return b"\x08" + varints[value] if value != 0 else b""

    return body


def _real(type_: str) -> Callable[[Any], bytes]:
    pack, key = FIXED[type_], tag(1, type_)
    return lambda value: key + pack(value) if value != 0 else b""


def _string(value: Any) -> bytes:
    return embedded(1, text(value).encode()) if value != "" else b""


def _bytes(value: bytes) -> bytes:
    return embedded(1, value) if value != b"" else b""


def _bool(value: bool) -> bytes:
    return b"\x08\x01" if boolean(value) == b"\x01" else b""


WELL_KNOWN: dict[str, Callable[[Any], bytes]] = {
    "BoolValue": _bool,
    "BytesValue": _bytes,
    "DoubleValue": _real("double"),
    "Duration": duration,
    "FloatValue": _real("float"),
    "Int32Value": _number("int32"),
    "Int64Value": _number("int64"),
    "StringValue": _string,
    "Timestamp": timestamp,
    "UInt32Value": _number("uint32"),
    "UInt64Value": _number("uint64"),
}
"""Bodies of the google.protobuf messages that betterproto2 holds as Python values, by the message's name."""
