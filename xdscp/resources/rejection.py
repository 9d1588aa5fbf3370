"""Why a manifest is refused, as values: the field, the value given, and what is allowed.

Place in the flow: the parsers of `core_manifests` and `mesh_api` raise `Rejected`; `admission` turns it into a row.
Core kinds are parsed by hand; our own kinds by pydantic, whose errors `findings_of` puts into the same words.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

SHOWN = 80
"""Characters of a value or of a name that a finding shows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: the dotted path of the field, the value as given (bounded), and what is allowed."""

    field: str
    value: str
    message: str

    def __str__(self) -> str:
        subject = f"{self.field}: " if self.field else ""
        given = f" (given: {self.value})" if self.value else ""
        return f"{subject}{self.message}{given}"


@dataclass(eq=False)
class Rejected(Exception):  # noqa: N818  # an outcome that is expected of outside input, not an error of ours
    """A manifest that cannot be read, with all findings about it.

    Not frozen: the interpreter and `contextlib` write an exception's traceback and context.
    """

    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.findings))

    def under(self, parent: str) -> Rejected:
        """The same findings with their fields below `parent`."""
        return Rejected(tuple(replace(finding, field=joined(parent, finding.field)) for finding in self.findings))


def rejected(field: str, value: Any, message: str) -> Rejected:
    """A rejection with one finding, to be raised."""
    return Rejected((Finding(field, shown(value), message),))


def joined(parent: str, child: str) -> str:
    """The path of `child` below `parent`; either may be empty."""
    separator = "." if parent and child and not child.startswith("[") else ""
    return f"{parent}{separator}{child}"


def path_of(steps: Iterable[str | int]) -> str:
    """The dotted path of steps into a manifest: `spec.routes[0].retry`; odd names as `labels["app.io/name"]`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path = f"{path}[{step}]"
        elif step.isprintable() and not set(step) & set('."[] ') and step:
            path = joined(path, _cut(step))
        else:
            path = f"{path}[{_scalar(step)}]"
    return path


def shown(value: Any) -> str:
    """A value of a manifest in JSON's words, at most `SHOWN` characters, whatever its size; control characters escaped."""
    text = ""
    for piece in _pieces(value, depth=0):
        text += piece
        if len(text) > SHOWN:
            break
    return _cut(text)


def nearest(name: str, valid: Iterable[str]) -> str:
    """What is allowed in place of an unknown name: the nearest valid one, or all of them."""
    names = sorted(valid)
    by_folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name[:SHOWN].casefold(), by_folded, n=1)
    if close:
        return f"did you mean {by_folded[close[0]]}?"
    return f"allowed: {', '.join(names)}" if names else "none is allowed here"


def findings_of(
    error: ValidationError, manifest: Mapping[str, Any], model: type[BaseModel], parent: str = ""
) -> tuple[Finding, ...]:
    """The errors of pydantic about `manifest` as findings.

    `model` is the class that validated it (for the nearest name of an unknown field); `parent` is the path of
    `manifest` in the whole object, e.g. `spec`.
    """
    findings: dict[tuple[str, str], Finding] = {}
    for details in error.errors(include_url=False):
        kind, location, context = details["type"], details["loc"], details.get("ctx", {})
        value = shown(details["input"])
        message = _allowed(details["msg"])
        if kind == "extra_forbidden":
            message = f"unknown field; {nearest(str(location[-1]), _names(model, location[:-1]))}"
        elif kind == "missing":
            message, value = "is required", ""
        elif kind == "union_tag_not_found":
            location, message, value = (*location, _tag(context)), "is required", ""
        elif kind == "union_tag_invalid":
            location, value = (*location, _tag(context)), shown(context["tag"])
            message = f"must be one of {context['expected_tags']}"
        steps = _steps(manifest, location, keeps_last=kind in ("missing", "extra_forbidden", "union_tag_not_found"))
        field = joined(parent, path_of(steps))
        before = findings.get((field, value))
        if before is not None and before.message != message:  # the members of a union, each with its own complaint
            message = f"{before.message} or {message.removeprefix('must be ')}"
        findings[field, value] = Finding(field, value, message)
        if kind == "too_short" and any(other.startswith(f"{field}[") for other, _ in findings):
            del findings[field, value]  # pydantic counts the items that are left when bad ones are taken away
    return tuple(findings.values())


def _tag(context: Mapping[str, Any]) -> str:
    """The name of the field that tells the members of a union apart."""
    return str(context["discriminator"]).strip("'")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        bounded = value[: SHOWN + 1]
        return json.dumps(bounded, ensure_ascii=not bounded.isprintable())
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return _cut(f"<{type(value).__name__}>")


def _pieces(value: Any, depth: int) -> Iterator[str]:
    if not isinstance(value, Mapping | list | tuple):
        yield _scalar(value)
    elif depth > 8:
        yield "…"
    elif isinstance(value, Mapping):
        yield "{"
        for index, (name, member) in enumerate(value.items()):
            yield ", " if index else ""
            yield f"{_scalar(name)}: "
            yield from _pieces(member, depth + 1)
        yield "}"
    else:
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(item, depth + 1)
        yield "]"


def _steps(manifest: Any, location: Sequence[str | int], *, keeps_last: bool) -> Iterator[str | int]:
    """The steps of a pydantic location that lead into the manifest; the others name members of a union or validators."""
    value = manifest
    for index, step in enumerate(location):
        in_mapping = isinstance(value, Mapping) and step in value
        if in_mapping or (isinstance(value, list | tuple) and isinstance(step, int) and step < len(value)):
            value = value[step]
            yield step
        elif keeps_last and index == len(location) - 1:
            yield step


def _allowed(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    for theirs, ours in (("Input should be ", "must be "), ("Input should ", "must "), ("Value should ", "must ")):
        if message.startswith(theirs):
            return ours + message.removeprefix(theirs)
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _names(model: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """The names of the fields that `location` may have; of a union, those of all members."""
    candidates: list[Any] = [model]
    for step in location:
        inner = [found for candidate in candidates for found in _below(candidate, step)]
        named = [candidate for candidate in candidates if getattr(candidate, "__name__", None) == step]
        candidates = inner or named or candidates
    return {
        (field.alias or name)
        for candidate in candidates
        if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        for name, field in candidate.model_fields.items()
    }


def _below(candidate: Any, step: str | int) -> Iterator[Any]:
    if isinstance(candidate, type) and issubclass(candidate, BaseModel):
        for name, field in candidate.model_fields.items():
            if step in (name, field.alias):
                yield from _members(field.annotation)
    elif isinstance(step, int) and get_origin(candidate) in (list, tuple):
        for argument in get_args(candidate):
            yield from _members(argument)
    elif get_origin(candidate) in (dict, Mapping):
        yield from _members(get_args(candidate)[1])


def _members(annotation: Any) -> Iterator[Any]:
    """The types that an annotation stands for, without unions and `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _members(argument)
    elif hasattr(annotation, "__value__"):  # a `type X = …` alias
        yield from _members(annotation.__value__)
    else:
        yield annotation
