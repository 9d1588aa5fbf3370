"""Who is at the other end of a stream: read from the node of its first request.

Place in the flow: `server` makes it, the pipeline chooses the snapshot by it. Only `node.id` and
`node.metadata.xdscp`, both written by `xdscp bootstrap`, decide anything; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

Role = Literal["sidecar", "gateway", "grpc"]
Mode = Literal["interception", "explicit"]

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_ID = re.compile(rf"({_LABEL})/({_LABEL}(?:\.{_LABEL})*)")
_ROLES = ("sidecar", "gateway", "grpc")
_MODES = ("interception", "explicit")


class InvalidNode(ValueError):  # noqa: N818 - says what is wrong with the node
    """The node does not say who it is; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Client:
    """A proxy or a proxyless gRPC application: the pod's namespace and name, what it is, and the protocol it speaks."""

    namespace: str
    name: str
    role: Role
    mode: Mode
    incremental: bool

    @property
    def id(self) -> str:
        """`<namespace>/<pod>`."""
        return f"{self.namespace}/{self.name}"


def client(id: str, metadata: Mapping[str, Any], *, incremental: bool) -> Client:
    """The client that a node describes.

    `id` is `Node.id`; `metadata` is the value of `Node.metadata` under `xdscp`, empty when there is none.
    Raises InvalidNode.
    """
    if not id:
        raise InvalidNode("node.id is missing: it is <namespace>/<pod>, as `xdscp bootstrap` writes it")
    matched = _ID.fullmatch(id) if len(id) <= 512 else None
    if matched is None:
        raise InvalidNode(f"node.id {id[:200]!r} is not <namespace>/<pod>")
    role, mode = metadata.get("role"), metadata.get("mode")
    if role not in _ROLES:
        raise InvalidNode(
            f"node.metadata.xdscp.role is {_shown(role)}: one of {', '.join(_ROLES)}, as `xdscp bootstrap` writes it"
        )
    if mode is None and role == "grpc":
        mode = "explicit"  # nothing is intercepted for a proxyless application
    if mode not in _MODES:
        raise InvalidNode(
            f"node.metadata.xdscp.mode is {_shown(mode)}: one of {', '.join(_MODES)}, as `xdscp bootstrap` writes it"
        )
    return Client(matched[1], matched[2], cast("Role", role), cast("Mode", mode), incremental)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:100]
