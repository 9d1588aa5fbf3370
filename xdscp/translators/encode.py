"""Envoy messages to bytes: `encode`, `packed` and `version`.

Place in the flow: the last step of every translator. `bytes(message)` of betterproto2 builds a pydantic validator for
each message and enters `warnings.catch_warnings` for each field, about a millisecond a Cluster. Here one encoder is
generated for each message class from betterproto2's field metadata, the first time that the class is met, as
`dataclasses` does for `__init__`. The bytes are those of `bytes(message)`, but maps are in the order of their keys and
negative fractional durations are right. Values are not validated, but one that does not fit its field's type raises.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import sys
from collections.abc import Callable
from typing import Any, cast, get_type_hints

from betterproto2 import FieldMetadata, Message
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.message_pool import default_message_pool

from xdscp.translators import wire
from xdscp.translators.construct import unchecked

Encoder = Callable[[Message], bytes]

_UNENCODABLE = (TypeError, ValueError, OverflowError, AttributeError, struct.error)


class FieldError(TypeError):
    """A value that does not fit its field: names the innermost message's class and the field.

    Strings and bytes are not shown, since they may be secret.
    """


def encode(message: Message) -> bytes:
    """The message's bytes, the same for equal messages.

    Raises FieldError, a TypeError, for a value of a wrong type or out of its type's range, and for two fields of one
    oneof.
    """
    return _ENCODERS[message.__class__](message)


def packed(message: Message) -> AnyMessage:
    """The message as a google.protobuf.Any, with the type URL `type.googleapis.com/<full name>`; raises as `encode`."""
    return _any(type_url=default_message_pool.type_to_url[type(message)], value=encode(message))


def version(body: bytes) -> str:
    """16 hexadecimal digits that identify the content of `body`: equal on every replica and after every restart."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


_any = unchecked(AnyMessage)


class _Encoders(dict[type, Encoder]):
    """Message class to its encoder, generated when first asked for."""

    def __missing__(self, cls: type) -> Encoder:
        if not (isinstance(cls, type) and issubclass(cls, Message)):
            raise TypeError(f"expected a betterproto2 message, got {cls.__name__}")
        encoder = self[cls] = _Source(cls).encoder()
        return encoder


_ENCODERS = _Encoders()


def _name(cls: type[Message]) -> str:
    """The full protobuf name, for errors."""
    url = default_message_pool.type_to_url.get(cls)
    return url.rpartition("/")[2] if url else cls.__qualname__


class _Source:
    """The source of one class's encoder: a straight line of code for each field, in the order of declaration.

    In the code `m` is the message, `d` its fields, `v` one value, `b` a body, `at` the field being encoded (for
    errors) and `out` the encoded pieces. What the code refers to stands in `globals`.
    """

    def __init__(self, cls: type[Message]) -> None:
        self.cls = cls
        self.hints = get_type_hints(cls, vars(sys.modules[cls.__module__]), {})
        self.globals: dict[str, Any] = {
            "CLASS": cls,
            "FieldError": FieldError,
            "NAME": _name(cls),
            "UNENCODABLE": _UNENCODABLE,
            "LENGTHS": wire.LENGTHS,
            "boolean": wire.boolean,
            "integer": wire.integer,
            "sequence": wire.sequence,
            "text": wire.text,
        }
        self.lines: list[str] = []

    def encoder(self) -> Encoder:
        fields = [(field, FieldMetadata.get(field)) for field in dataclasses.fields(self.cls)]  # type: ignore[arg-type]  # Message itself is none
        groups = [meta.group for _, meta in fields if meta.group]
        oneofs = {group: f"oneof{index}" for index, group in enumerate(sorted(set(groups))) if groups.count(group) > 1}
        for field, meta in fields:
            self._field(field, meta, oneofs.get(meta.group or ""))
        source = "\n".join(
            (
                "def encoder(m):",
                " if m.__class__ is not CLASS: raise TypeError(f'expected {CLASS.__name__}, got {m.__class__.__name__}')",
                " d = m.__dict__",
                f" {' = '.join(('at', *oneofs.values()))} = ''",
                " out = []",
                " try:",
                *(f"  {line}" for line in self.lines),
                "  if d['_unknown_fields']: out.append(d['_unknown_fields'])",
                " except FieldError: raise",  # a nested message's
                " except UNENCODABLE as error:",
                "  raise FieldError(f'{NAME}.{at}: {error}') from error",
                " return b''.join(out)",
            )
        )
        # The text is made of field names, numbers and constants of this module: nothing from outside reaches it.
        exec(compile(source, f"<encoder of {self.globals['NAME']}>", "exec"), self.globals)  # noqa: S102
        encoder: Encoder = self.globals["encoder"]
        return encoder

    def _field(self, field: dataclasses.Field[Any], meta: FieldMetadata, oneof: str | None) -> None:
        hint = self.hints[field.name]
        put = [f" at = {field.name!r}"]
        if oneof:
            put.append(f" if {oneof}: raise TypeError(f'set beside {{{oneof}}} of the same oneof {meta.group}')")
            put.append(f" {oneof} = at")
        if meta.map_meta:
            condition, more = "v or v.__class__ is not dict", self._map(meta, hint)
        elif meta.repeated:
            condition, more = "v or v.__class__ is not list", self._repeated(meta, hint.__args__[0])
        elif meta.optional or meta.group or meta.proto_type == "message":
            condition, more = "v is not None", self._single(meta, _without_none(hint))
        else:
            default = self._refer("default", cast("Callable[[], Any]", field.default_factory)())
            condition = f"v is not {default} and v != {default}"
            more = self._single(meta, hint)
        self.lines += [f"v = d[{field.name!r}]", f"if {condition}:", *put, *(f" {line}" for line in more)]

    def _single(self, meta: FieldMetadata, hint: Any) -> list[str]:
        checks, body = self._body(meta, hint)
        return [*checks, f"out.append({wire.tag(meta.number, meta.proto_type)!r} + {body})"]

    def _repeated(self, meta: FieldMetadata, hint: Any) -> list[str]:
        checks, body = self._body(meta, hint)
        loop = ["for v in sequence(v):", *(f" {line}" for line in checks)]
        if wire.tag(1, meta.proto_type)[0] & 7 == wire.LENGTH:
            return [*loop, f" out.append({wire.tag(meta.number, meta.proto_type)!r} + {body})"]
        key = wire.tag(meta.number, "bytes")  # numbers are packed into one field
        return [
            "pack = []",
            *loop,
            f" pack.append({body})",
            "b = b''.join(pack)",
            f"if b: out.append({key!r} + LENGTHS[len(b)] + b)",
        ]

    def _map(self, meta: FieldMetadata, hint: Any) -> list[str]:
        assert meta.map_meta
        key_meta, value_meta = meta.map_meta
        key_checks, key_body = self._body(key_meta, hint.__args__[0])
        checks, body = self._body(value_meta, hint.__args__[1])
        return [
            "entries = v",
            "for k in sorted(entries):",
            " v = k",
            *(f" {line}" for line in key_checks),
            f" e = {wire.tag(1, key_meta.proto_type)!r} + {key_body}",
            " v = entries[k]",
            *(f" {line}" for line in checks),
            f" e += {wire.tag(2, value_meta.proto_type)!r} + {body}",
            f" out.append({wire.tag(meta.number, 'map')!r} + LENGTHS[len(e)] + e)",
        ]

    def _body(self, meta: FieldMetadata, hint: Any) -> tuple[list[str], str]:
        """Lines that check `v`, and the expression of its bytes without the tag."""
        match meta.proto_type:
            case "bool":
                return [], "boolean(v)"
            case "string":
                return ["if v.__class__ is not str: v = text(v)"], "LENGTHS[len(b := v.encode())] + b"
            case "bytes":
                return [], "LENGTHS[len(v)] + v"
            case "enum":
                enum = self._refer("enum", hint)
                check = f"if v.__class__ is not {enum} and v.__class__ is not int: raise TypeError({self._wrong(hint)})"
                return [check], f"{self._refer('int32', wire.INTEGERS['int32'])}[v]"
            case "message":
                return [], f"LENGTHS[len(b := {self._message(meta, hint)}(v))] + b"
            case fixed if fixed in wire.FIXED:
                return [], f"{self._refer(fixed, wire.FIXED[fixed])}(v)"
            case number:
                table = self._refer(number, wire.INTEGERS[number])
                return ["if v.__class__ is not int: v = integer(v)"], f"{table}[v]"

    def _message(self, meta: FieldMetadata, hint: Any) -> str:
        if meta.unwrap:
            return self._refer("well_known", wire.WELL_KNOWN[meta.unwrap().__name__])
        name = self._refer("message", None)

        def first(message: Message) -> bytes:  # classes refer to each other in circles: generate when first used
            encoder = self.globals[name] = _ENCODERS[hint]
            return encoder(message)

        self.globals[name] = first
        return name

    @staticmethod
    def _wrong(hint: type) -> str:
        return f"f'expected {hint.__name__}, got {{v.__class__.__name__}}'"

    def _refer(self, kind: str, value: Any) -> str:
        """A name by which the code refers to `value`."""
        name = f"{kind}_{len(self.globals)}"
        self.globals[name] = value
        return name


def _without_none(hint: Any) -> Any:
    """`X` of `X | None`."""
    return hint.__args__[0] if type(None) in getattr(hint, "__args__", ()) else hint
