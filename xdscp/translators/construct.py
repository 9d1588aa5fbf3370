"""Envoy messages made without pydantic's validation.

Place in the flow: translators make messages of values that are typed already (the model), so validating each again
costs more than encoding it. `unchecked(Cluster)` has the signature of `Cluster`, so mypy checks the arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from betterproto2 import FieldMetadata, Message

P = ParamSpec("P")
M = TypeVar("M", bound=Message)


def unchecked(cls: Callable[P, M]) -> Callable[P, M]:
    """A constructor of the message class that takes keyword arguments and trusts their values; the same each time.

    The message is as `cls(**values)` makes it, but values are not converted (a tuple stays one) nor checked, and no
    deprecated field warns. An unknown field raises TypeError. What is wrong all the same, `encode` refuses.
    `bytes(message)` works only for classes that have been made with validation once; use `encode`.
    """
    try:
        return cast("Callable[P, M]", _CONSTRUCTORS[cls])
    except KeyError:
        constructor = _CONSTRUCTORS[cls] = _constructor(cast("type[M]", cls))
        return cast("Callable[P, M]", constructor)


_CONSTRUCTORS: dict[Callable[..., Message], Callable[..., Message]] = {}


def _constructor(cls: type[M]) -> Callable[..., M]:
    template: dict[str, Any] = {"_unknown_fields": b""}
    fresh: list[tuple[str, Callable[[], Any]]] = []  # lists and maps, which messages must not share
    for field in dataclasses.fields(cast("Any", cls)):
        meta = FieldMetadata.get(field)
        template[field.name] = default = cast("Callable[[], Any]", field.default_factory)()
        if meta.repeated or meta.map_meta:
            fresh.append((field.name, type(default)))
    new, count = cls.__new__, len(template)

    def construct(**values: Any) -> M:
        message = new(cls)
        fields = message.__dict__
        fields.update(template)
        for name, empty in fresh:
            fields[name] = empty()
        fields.update(values)
        if len(fields) != count:
            raise TypeError(f"{cls.__name__} has no field {', '.join(sorted(values.keys() - template.keys()))}")
        return message

    return construct
