"""What the parts of a snapshot depend on, and how an encoded resource is made.

Place in the flow: the keys under which `services`, `tables` and `own` derive what proxies share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from xdscp.derive import View
from xdscp.mesh.listening import Downstream
from xdscp.mesh.locality import Vantage
from xdscp.mesh.outbound import Dialect
from xdscp.snapshot import Resource, ResourceType, Shard
from xdscp.translators.encode import version


@dataclass(frozen=True, slots=True)
class Scope:
    """What the shared part of a snapshot depends on."""

    dialect: Dialect
    vantage: Vantage
    namespace: str
    downstream: Downstream = Downstream()
    gateway: bool = False
    """It serves strangers: what no service has is refused, whatever the egress mode of its namespace."""


@dataclass(frozen=True, slots=True)
class Audience:
    """What a service's shard depends on beside the service.

    `own`: for clients of its own namespace; `externals`: for clients that may call ExternalServices.
    """

    dialect: Dialect
    vantage: Vantage
    own: bool
    externals: bool


def resource(type: ResourceType, name: str, body: bytes, refers: Iterable[str] = ()) -> Resource:
    """A resource of encoded bytes, its version the hash of them."""
    return Resource(type, name, version(body), body, tuple(sorted(set(refers))))


def shard(resources: Iterable[Resource]) -> Shard:
    """A shard of resources by type and name."""
    found: dict[ResourceType, dict[str, Resource]] = {}
    for each in resources:
        found.setdefault(each.type, {})[each.name] = each
    return Shard(found)


def good(view: View, function: Callable[..., Resource | None], *args: Any) -> Iterator[Resource]:
    """The resource of a derivation, or its last good one when it raises; nothing where there is none."""
    value = view.attempt(function, *args).value
    if value is not None:
        yield value
