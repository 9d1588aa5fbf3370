"""A control plane of hand-made snapshots, and a raw client that speaks to it by an independent protobuf implementation."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from xdscp.ads.server import Server
from xdscp.ads.types import BY_TYPE
from xdscp.snapshot import Resource, ResourceType, Shard, Snapshot

CDS, EDS, LDS, RDS, VHDS, SDS = ResourceType
URL = {type: rule.url for type, rule in BY_TYPE.items()}
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


def resource(type, name, content="1", refers=()):
    """A resource whose body is text; `content` makes its version."""
    body = f"{type}:{name}:{content}".encode()
    return Resource(type, name, blake2b(body, digest_size=8).hexdigest(), body, tuple(refers))


def message(type, name, body, refers=()):
    """A resource whose body is a protobuf message."""
    encoded = body.SerializeToString(deterministic=True)
    return Resource(type, name, blake2b(encoded, digest_size=8).hexdigest(), encoded, tuple(refers))


def snapshot(*resources):
    """A snapshot of these resources."""
    tables = {}
    for one in resources:
        tables.setdefault(one.type, {})[one.name] = one
    return Snapshot(Shard({}), Shard(tables), Shard({}))


class Control:
    """A registry that publishes what a test gives it, and remembers what clients said."""

    def __init__(self, snapshot=None):
        self.snapshot = snapshot
        self.streams = []
        self.events = []

    def join(self, stream):
        self.streams.append(stream)
        self.events.append(("join", stream.client.id))
        if self.snapshot is not None:
            stream.publish(self.snapshot)

    def leave(self, stream):
        self.streams.remove(stream)
        self.events.append(("leave", stream.client.id))

    def sent(self, stream, command):
        self.events.append(("sent", command.type, command.response.nonce))

    def accepted(self, stream, command):
        self.events.append(("accepted", command.type, command.nonce))

    def rejected(self, stream, command):
        self.events.append(("rejected", command.type, command.message, command.versions))

    def refused(self, peer, reason, message):
        self.events.append(("refused", reason))

    def unsupported(self, stream, url):
        self.events.append(("unsupported", url))

    def publish(self, *resources):
        """Give all streams a snapshot of these resources."""
        self.snapshot = snapshot(*resources)
        for stream in list(self.streams):
            stream.publish(self.snapshot)


@asynccontextmanager
async def serving(*resources, ready=True):
    """A server on a free port: (control, address)."""
    control = Control(snapshot(*resources) if ready else None)
    server = Server(control)
    (port,) = await server.start("127.0.0.1:0")
    control.server = server
    try:
        yield control, f"127.0.0.1:{port}"
    finally:
        await server.stop(0.5)


@dataclass
class Answer:
    """A response, decoded."""

    type: object
    nonce: str
    names: list
    removed: list = field(default_factory=list)
    version: str = ""
    versions: dict = field(default_factory=dict)
    bodies: dict = field(default_factory=dict)
    raw: object = None


class Raw:
    """A stream that sends what a test says and nothing else."""

    def __init__(self, call, incremental):
        self.call = call
        self.incremental = incremental
        self.first = True
        self.reading = None

    async def send(self, type, names=(), unsubscribe=(), nonce="", error=None, known=None, version="", **node):
        """Send a request; `type` a ResourceType or a URL. The first one carries a node."""
        url = URL.get(type, type)
        if self.incremental:
            request = discovery_pb2.DeltaDiscoveryRequest(
                type_url=url, resource_names_subscribe=names, resource_names_unsubscribe=unsubscribe,
                response_nonce=nonce, initial_resource_versions=known or {},
            )  # fmt: skip
        else:
            request = discovery_pb2.DiscoveryRequest(
                type_url=url, resource_names=names, response_nonce=nonce, version_info=version
            )
        if error is not None:
            request.error_detail.code = 3
            request.error_detail.message = error
        if self.first or node:
            request.node.id = node.get("id", "shop/pod-1")
            metadata = {"role": node.get("role", "sidecar"), "mode": node.get("mode", "explicit")}
            request.node.metadata.update(node.get("metadata", {"xdscp": metadata}))
            self.first = False
        await self.call.write(request.SerializeToString())

    async def raw(self, data):
        """Send bytes."""
        self.first = False
        await self.call.write(data)

    async def next(self, timeout=5.0):
        """The next response; an error when the stream ends."""
        if not await self._arrived(timeout):
            raise TimeoutError
        read, self.reading = self.reading, None
        try:
            data = read.result()
        except grpc.aio.AioRpcError as error:
            raise StreamEnded(error.code(), error.details()) from error
        if data is grpc.aio.EOF:
            raise StreamEnded(await self.call.code(), await self.call.details())
        if self.incremental:
            decoded = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
            names = [one.name for one in decoded.resources]
            versions = {one.name: one.version for one in decoded.resources}
            bodies = {one.name: one.resource.value for one in decoded.resources}
            removed, version = list(decoded.removed_resources), decoded.system_version_info
            assert all(one.resource.type_url == decoded.type_url for one in decoded.resources)
        else:
            decoded = discovery_pb2.DiscoveryResponse.FromString(data)
            bodies = {_name(one.value): one.value for one in decoded.resources}
            names = [_name(one.value) for one in decoded.resources]
            versions, removed, version = {}, [], decoded.version_info
            assert all(one.type_url == decoded.type_url for one in decoded.resources)
        assert version
        assert len(set(names)) == len(names), "a name twice"
        assert not set(names) & set(removed), "a name both sent and removed"
        type = next((type for type, url in URL.items() if url == decoded.type_url), decoded.type_url)
        return Answer(type, decoded.nonce, names, removed, version, versions, bodies, decoded)

    async def ack(self, answer, names=(), **rest):
        """Accept a response; in SotW with the subscription's names."""
        await self.send(answer.type, names, nonce=answer.nonce, version=answer.version, **rest)

    async def nack(self, answer, message, names=()):
        """Reject a response."""
        await self.send(answer.type, names, nonce=answer.nonce, error=message)

    async def silent(self, seconds=0.2):
        """Nothing comes for that long."""
        if await self._arrived(seconds):
            raise AssertionError(f"a response came: {self.reading.result()[:200]!r}")

    async def _arrived(self, seconds):
        """Whether something was read in that time; the read goes on."""
        if self.reading is None:
            self.reading = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait({self.reading}, timeout=seconds)
        return bool(done)


class StreamEnded(Exception):  # noqa: N818 - what happened
    """The server ended the stream."""

    def __init__(self, code, details):
        super().__init__(code, details)
        self.code, self.details = code, details


def _name(body):
    """The name in a body: of text, or of a CLA without endpoints."""
    if body[:1] == b"\n":
        return body[2 : 2 + body[1]].decode()
    return body.decode().split(":", 1)[1].rsplit(":", 1)[0]


@asynccontextmanager
async def connected(address, incremental=True):
    """A raw stream to a server."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        method = ADS + ("DeltaAggregatedResources" if incremental else "StreamAggregatedResources")
        call = channel.stream_stream(method)()
        stream = Raw(call, incremental)
        try:
            yield stream
        finally:
            call.cancel()
            if stream.reading is not None:
                await asyncio.wait({stream.reading})
                if not stream.reading.cancelled():
                    stream.reading.exception()
