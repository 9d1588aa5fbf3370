"""Resources and objects as JSON values, for people: what `/debug/…` and `xdscp translate` print.

Place in the flow: read-only, beside the stream path. Decoding takes milliseconds a resource, and the first call a
second of imports, so callers on the event loop do it in a thread.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, NamedTuple

from xdscp.admin.facts import ObjectState
from xdscp.resources.core import Key, Problem
from xdscp.snapshot import Resource, ResourceType

REDACTED = "[redacted]"

_MESSAGES: Mapping[ResourceType, tuple[str, str]] = {
    ResourceType.CDS: ("cluster", "Cluster"),
    ResourceType.EDS: ("endpoint", "ClusterLoadAssignment"),
    ResourceType.LDS: ("listener", "Listener"),
    ResourceType.RDS: ("route", "RouteConfiguration"),
    ResourceType.VHDS: ("route", "VirtualHost"),
}
_SECRET_FIELDS = frozenset({"privateKey", "password", "sessionTicketKeys", "genericSecret", "privateKeyProvider"})
_UNREGISTERED = re.compile(r"type\.googleapis\.com/((?:envoy|google|xds|udpa)\.[a-z0-9_.]+)\.[A-Z]\w*")


class Rendered(NamedTuple):
    """A resource to show, with the objects `kind/namespace/name` that it comes from."""

    resource: Resource
    sources: tuple[str, ...]


def rendered_resource(entry: Rendered) -> dict[str, Any]:
    """`{type, name, version, sources, body}`; `body` is the Envoy message in protobuf's JSON, private keys redacted."""
    resource, sources = entry
    return {
        "type": resource.type.value,
        "name": resource.name,
        "version": resource.version,
        "sources": list(sources),
        "body": decoded(resource),
    }


def decoded(resource: Resource) -> dict[str, Any]:
    """The message of a resource in protobuf's JSON, or `{"@undecoded": base64, "reason": …}` where it cannot be read."""
    if resource.type in _MESSAGES:
        package, name = _MESSAGES[resource.type]
        module = f"envoy_data_plane.envoy.config.{package}.v3"
    else:
        module, name = "envoy_data_plane.envoy.extensions.transport_sockets.tls.v3", "Secret"
    message = getattr(import_module(module), name)
    tried: set[str] = set()
    while True:
        try:
            body = _redacted(message.parse(resource.body).to_dict())
        except Exception as error:  # what cannot be shown must not hide the rest of the list
            missing = _UNREGISTERED.search(str(error))
            if missing and missing[1] not in tried and _imported(missing[1]):
                tried.add(missing[1])
                continue
            if resource.type is ResourceType.SDS:
                return {"@undecoded": REDACTED, "reason": type(error).__name__}
            return {"@undecoded": b64encode(resource.body).decode(), "reason": str(error)[:500]}
        return body if isinstance(body, dict) else {}


def rendered_object(state: ObjectState) -> dict[str, Any]:
    """`{kind, namespace, name, file, document, problems, body}` of an object that is held."""
    return {
        "kind": state.kind,
        "namespace": state.key.namespace,
        "name": state.key.name,
        "file": state.file,
        "document": state.document,
        "problems": [rendered_problem(problem) for problem in state.problems],
        "body": plain(state.body),
    }


def rendered_problem(problem: Problem) -> dict[str, Any]:
    """`{kind, namespace, name, reason, message, file, document, field}` of a finding."""
    return {
        "kind": problem.kind,
        "namespace": problem.key.namespace,
        "name": problem.key.name,
        "reason": problem.reason,
        "message": problem.message,
        "file": problem.file,
        "document": problem.document,
        "field": problem.field,
    }


def plain(value: Any) -> Any:
    """A typed object as JSON values: dataclasses and models by field, keys as `namespace/name`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Key):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(by_alias=True, exclude_none=True))
    if isinstance(value, Mapping):
        return {str(plain(name)): plain(each) for name, each in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(each) for each in value), key=str)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(each) for each in value]
    return str(value)


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: REDACTED if name in _SECRET_FIELDS else _redacted(each) for name, each in value.items()}
    return [_redacted(each) for each in value] if isinstance(value, list) else value


def _imported(package: str) -> bool:
    """Imports the Python package of a protobuf package, which registers its messages; False where there is none."""
    try:
        import_module(f"envoy_data_plane.{package}")
    except ImportError:
        return False
    return True
