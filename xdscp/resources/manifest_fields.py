"""The fields of a manifest, each by the type that it must have.

Place in the flow: below `core_manifests` and `kinds`. Every function takes the mapping that has the field and the field's
name, gives the default when the field is missing or null, and raises `Rejected` with the field's path below that mapping;
`inside` and `each` add the path of the mapping itself. Paths are made only for errors, so that good manifests pay nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from xdscp.resources.core import Labels
from xdscp.resources.rejection import Rejected, nearest, path_of, rejected

T = TypeVar("T")
Manifest = Mapping[str, Any]

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_EMPTY: Manifest = {}

LABEL_RULE = "must be a DNS label: at most 63 of a-z, 0-9 and -, with a letter or digit at both ends"
NAME_RULE = "must be a DNS name: labels of a-z, 0-9 and - joined by dots, at most 253 characters"


def text(manifest: Manifest, field: str, default: str = "") -> str:
    """A string without NUL."""
    value = manifest.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        raise rejected(path_of((field,)), value, "must be a string; put it in quotes")
    if "\0" in value:
        raise rejected(path_of((field,)), value, "must not have a NUL in it")
    return value


def word(manifest: Manifest, field: str, allowed: tuple[str, ...], default: str) -> str:
    """One of the words that Kubernetes allows."""
    value = text(manifest, field, default)
    if value not in allowed:
        raise rejected(field, value, f"must be one of {', '.join(allowed)}; {nearest(value, allowed)}")
    return value


def dns_label(manifest: Manifest, field: str) -> str:
    """A DNS label, or "" when missing."""
    value = text(manifest, field)
    if value and _DNS_LABEL.fullmatch(value) is None:
        raise rejected(field, value, LABEL_RULE)
    return value


def dns_name(manifest: Manifest, field: str) -> str:
    """A DNS name (RFC 1123 subdomain), or "" when missing."""
    value = text(manifest, field)
    if value and _DNS_NAME.fullmatch(value) is None:
        raise rejected(field, value, NAME_RULE)
    return value


def boolean(manifest: Manifest, field: str) -> bool | None:
    """True, false, or None when missing: conditions tell these apart."""
    value = manifest.get(field)
    if value is None or isinstance(value, bool):
        return value
    raise rejected(field, value, "must be true or false")


def integer(manifest: Manifest, field: str, low: int, high: int) -> int | None:
    """A whole number from `low` to `high`, or None when missing."""
    value = manifest.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise rejected(field, value, f"must be a whole number from {low} to {high}")
    return value


def mapping(manifest: Manifest, field: str) -> Manifest:
    """A mapping, empty when missing."""
    value = manifest.get(field)
    if value is None:
        return _EMPTY
    if not isinstance(value, Mapping):
        raise rejected(field, value, "must be a mapping")
    return value


def inside(manifest: Manifest, field: str, parse: Callable[[Manifest], T]) -> T:
    """What `parse` makes of a mapping, which is empty when missing."""
    value = mapping(manifest, field)
    try:
        return parse(value)
    except Rejected as error:
        raise error.under(field) from None


def each(manifest: Manifest, field: str, parse: Callable[[Manifest], T]) -> tuple[T, ...]:
    """What `parse` makes of each mapping of a list, which is empty when missing."""
    values = _list(manifest, field)
    parsed: list[T] = []
    try:
        for value in values:
            if not isinstance(value, Mapping):
                raise rejected("", value, "must be a mapping")
            parsed.append(parse(value))
    except Rejected as error:
        raise error.under(f"{field}[{len(parsed)}]") from None
    return tuple(parsed)


def texts(manifest: Manifest, field: str, check: Callable[[str], str]) -> tuple[str, ...]:
    """What `check` makes of each string of a list, which is empty when missing."""
    checked: list[str] = []
    try:
        for value in _list(manifest, field):
            if not isinstance(value, str):
                raise rejected("", value, "must be a string")
            checked.append(check(value))
    except Rejected as error:
        raise error.under(f"{field}[{len(checked)}]") from None
    return tuple(checked)


def labels(manifest: Manifest, field: str, prefix: str = "") -> Labels:
    """A mapping of strings, sorted by name; only names that begin with `prefix`."""
    values = mapping(manifest, field)
    found = []
    for name in values:
        if not isinstance(name, str):
            raise rejected(field, name, "must have strings as names")
        if name.startswith(prefix):
            try:
                found.append((name, text(values, name)))
            except Rejected as error:
                raise error.under(field) from None
    return tuple(sorted(found))


def ipv4(value: str) -> str:
    """An IPv4 address. Raises `Rejected` with an empty field."""
    return _address(value, (socket.AF_INET,), "must be an IPv4 address")


def ipv6(value: str) -> str:
    """An IPv6 address in its shortest form, without a zone. Raises `Rejected` with an empty field."""
    return _address(value, (socket.AF_INET6,), "must be an IPv6 address")


def ip(value: str) -> str:
    """An address of either family. Raises `Rejected` with an empty field."""
    return _address(value, (socket.AF_INET, socket.AF_INET6), "must be an IPv4 or IPv6 address")


def _address(value: str, families: tuple[socket.AddressFamily, ...], rule: str) -> str:
    for family in families:
        try:
            # many times as fast as `ipaddress`, and pure in spite of its module
            return socket.inet_ntop(family, socket.inet_pton(family, value))
        except (OSError, ValueError):  # ValueError: a NUL, or half a surrogate pair
            continue
    raise rejected("", value, rule)


def _list(manifest: Manifest, field: str) -> list[Any] | tuple[Any, ...]:
    value = manifest.get(field)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise rejected(field, value, "must be a list")
    return value
