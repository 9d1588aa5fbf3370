"""What several verbs read from the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from typer.exceptions import TyperException

from xdscp.resources.core import Key

T = TypeVar("T")

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_POD = re.compile(rf"{_LABEL}/{_LABEL}(\.{_LABEL})*")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of manifests.")]


def refusal(flag: str, value: object, allowed: str) -> TyperException:
    """The usage error (exit code 2) that names the flag, the value and what is allowed."""
    return TyperException(f"{flag} is {value!r}; allowed: {allowed}")


def pod(text: str, flag: str) -> Key:
    """The key of `NAMESPACE/POD`; raises a usage error that names `flag`."""
    if len(text) > 317 or not _POD.fullmatch(text):
        raise refusal(flag, text[:100], "NAMESPACE/POD, two Kubernetes names")
    namespace, _, name = text.partition("/")
    return Key(namespace, name)


def folder(path: Path) -> Path:
    """`path`; raises a usage error where there is no such directory."""
    if not path.is_dir():
        raise refusal("DIR", str(path), "a directory that exists")
    return path


def choice(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value`; raises a usage error where it is not one of `allowed`."""
    if value not in allowed:
        raise refusal(flag, value, " or ".join(allowed))
    return value


def read(flag: str, value: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of `value`; its ValueError becomes a usage error that names `flag`."""
    try:
        return parse(value)
    except ValueError as error:
        raise TyperException(f"{flag} is {value[:200]!r}: {error}") from None
