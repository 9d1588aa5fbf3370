"""Bytes of the discovery protocol: requests parsed to one value, responses joined from byte strings.

Place in the flow: between `server` (raw gRPC messages) and `session`. Only the fields that we read are described, in a
descriptor pool of our own, so no generated code is imported. Whatever a client may send ends here as a Request or as
an InvalidRequest. Sources: envoy/service/discovery/v3/discovery.proto, envoy/config/core/v3/base.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, struct_pb2

from xdscp.ads.client import Client, InvalidNode, client
from xdscp.snapshot import Resource

MAX_NAMES = 100_000
"""Names in one request, and in one subscription."""
MAX_NODE = 256 * 1024
"""Bytes of a node."""
MAX_ERROR = 16 * 1024
"""Characters kept of a client's error message."""
_REPEATED = 64 * 1024
"""Requests up to this size are remembered parsed: the same few acknowledgements come from every stream."""


class InvalidRequest(ValueError):  # noqa: N818 - says what is wrong with the request
    """The request cannot be understood, or is beyond a limit; the stream ends with INVALID_ARGUMENT.

    `reason` is a word of the metric of refusals: `malformed`, or `unknown_node` for a node that does not say who it is.
    """

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """A DiscoveryRequest or a DeltaDiscoveryRequest.

    `subscribe` are `resource_names` in SotW (the whole subscription) and `resource_names_subscribe` in delta;
    `error` is None without `error_detail`; `known` are delta's `initial_resource_versions`; `version` is SotW's
    `version_info`; `node` the encoded Node, empty after the first message.
    """

    url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    nonce: str = ""
    error: str | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    node: bytes = b""


_STRING, _BYTES, _INT32, _MESSAGE = 9, 12, 5, 11


def _classes() -> dict[str, type[Any]]:
    file = descriptor_pb2.FileDescriptorProto(name="xdscp/ads.proto", package="xdscp.ads", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")

    def describe(name: str, *fields: tuple[str, int, int, bool, str]) -> None:
        described = file.message_type.add(name=name)
        for label, number, kind, repeated, of in fields:
            described.field.add(name=label, number=number, type=kind, label=3 if repeated else 1, type_name=of or None)
        if name == "Delta":
            entry = described.nested_type.add(name="KnownEntry")
            entry.field.add(name="key", number=1, type=_STRING, label=1)
            entry.field.add(name="value", number=2, type=_STRING, label=1)
            entry.options.map_entry = True

    describe("Status", ("code", 1, _INT32, False, ""), ("message", 2, _STRING, False, ""))
    describe("Cluster", ("type", 2, _INT32, False, ""))
    describe("Node", ("id", 1, _STRING, False, ""), ("metadata", 3, _MESSAGE, False, ".google.protobuf.Struct"))
    describe(
        "Sotw",
        ("version", 1, _STRING, False, ""),
        ("node", 2, _BYTES, False, ""),
        ("names", 3, _STRING, True, ""),
        ("url", 4, _STRING, False, ""),
        ("nonce", 5, _STRING, False, ""),
        ("error", 6, _MESSAGE, False, ".xdscp.ads.Status"),
    )
    describe(
        "Delta",
        ("node", 1, _BYTES, False, ""),
        ("url", 2, _STRING, False, ""),
        ("subscribe", 3, _STRING, True, ""),
        ("unsubscribe", 4, _STRING, True, ""),
        ("known", 5, _MESSAGE, True, ".xdscp.ads.Delta.KnownEntry"),
        ("nonce", 6, _STRING, False, ""),
        ("error", 7, _MESSAGE, False, ".xdscp.ads.Status"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"xdscp.ads.{name}"))
        for name in ("Cluster", "Node", "Sotw", "Delta")
    }


_CLASSES = _classes()
_NODE, _SOTW, _DELTA = _CLASSES["Node"], _CLASSES["Sotw"], _CLASSES["Delta"]
_CLUSTER = _CLASSES["Cluster"]
_EDS = 3
"""Cluster.DiscoveryType."""


def request(raw: bytes, *, incremental: bool) -> Request:
    """The request in a raw gRPC message; raises InvalidRequest."""
    parse = _remembered if len(raw) <= _REPEATED else _parsed
    return parse(raw, incremental)


def _parsed(raw: bytes, incremental: bool) -> Request:
    try:
        parsed = (_DELTA if incremental else _SOTW).FromString(raw)
    except (message.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the request is not a discovery request: {error}") from error
    names = parsed.subscribe if incremental else parsed.names
    counts = (len(names), len(parsed.unsubscribe), len(parsed.known)) if incremental else (len(names),)
    if max(counts) > MAX_NAMES:
        raise InvalidRequest(f"{max(counts)} names in one request: at most {MAX_NAMES}")
    if len(parsed.node) > MAX_NODE:
        raise InvalidRequest(f"a node of {len(parsed.node)} bytes: at most {MAX_NODE}")
    return Request(
        url=parsed.url,
        subscribe=tuple(names),
        unsubscribe=tuple(parsed.unsubscribe) if incremental else (),
        nonce=parsed.nonce,
        error=parsed.error.message[:MAX_ERROR] if parsed.HasField("error") else None,
        known=dict(parsed.known) if incremental else {},
        version="" if incremental else parsed.version,
        node=parsed.node,
    )


_remembered = lru_cache(maxsize=256)(_parsed)


def node_client(node: bytes, *, incremental: bool) -> Client:
    """The client that an encoded Node describes; raises InvalidRequest saying what is missing."""
    try:
        parsed = _NODE.FromString(node)
    except (message.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the node cannot be read: {error}") from error
    fields = parsed.metadata.fields
    ours = fields["xdscp"].struct_value.fields if "xdscp" in fields else {}
    metadata = {
        name: value.string_value if value.WhichOneof("kind") == "string_value" else value.WhichOneof("kind")
        for name, value in ours.items()
        if name in {"role", "mode"}
    }
    try:
        return client(parsed.id, metadata, incremental=incremental)
    except InvalidNode as error:
        raise InvalidRequest(str(error), "unknown_node") from error


def delta_response(url: str, nonce: str, version: str, resources: Sequence[Resource], removed: Sequence[str]) -> bytes:
    """An encoded DeltaDiscoveryResponse."""
    type_url = _text(1, url)
    parts = [_text(1, version)]
    for resource in resources:
        body = resource.body
        held = type_url + b"\x12" + _varint(len(body))
        head = _text(1, resource.version) + b"\x12" + _varint(len(held) + len(body)) + held
        name = _text(3, resource.name)
        parts += (b"\x12", _varint(len(head) + len(body) + len(name)), head, body, name)
    parts += (_text(4, url), _text(5, nonce))
    parts += [_text(6, name) for name in removed]
    return b"".join(parts)


def sotw_response(url: str, nonce: str, version: str, resources: Sequence[Resource]) -> bytes:
    """An encoded DiscoveryResponse."""
    type_url = _text(1, url)
    parts = [_text(1, version)]
    for resource in resources:
        body = resource.body
        head = type_url + b"\x12" + _varint(len(body))
        parts += (b"\x12", _varint(len(head) + len(body)), head, body)
    parts += (_text(4, url), _text(5, nonce))
    return b"".join(parts)


def takes_endpoints(cluster: bytes) -> bool:
    """Whether an encoded Cluster gets its endpoints by EDS; True for what cannot be read."""
    try:
        return bool(_CLUSTER.FromString(cluster).type == _EDS)
    except message.DecodeError:
        return True


def empty_assignment(name: str) -> bytes:
    """An encoded ClusterLoadAssignment without endpoints."""
    return _text(1, name)


def _text(number: int, value: str) -> bytes:
    encoded = value.encode()
    return bytes((number << 3 | 2,)) + _varint(len(encoded)) + encoded


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
