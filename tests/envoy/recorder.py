"""A gRPC proxy between one Envoy and the control plane: every request and response passes through it and is kept.

What passes is given to `invariants` as it goes by, so a test that has nothing to do with ordering checks it all the
same. It opens a channel of its own for each stream: a control plane that is gone is gone for Envoy at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from tests.envoy.invariants import Invariants
from tests.envoy.messages import TYPES, name_of

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
DELTA, SOTW = "DeltaAggregatedResources", "StreamAggregatedResources"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass(slots=True)
class Request:
    """What Envoy sent; `nonce` empty in a request that answers nothing."""

    stream: int
    time: float
    type: str
    names: tuple[str, ...]
    unsubscribed: tuple[str, ...]
    nonce: str
    error: str
    version: str
    known: dict[str, str]


@dataclass(slots=True)
class Response:
    """What the control plane sent: decoded resources by name, names removed (delta)."""

    stream: int
    time: float
    type: str
    nonce: str
    version: str
    names: list[str]
    removed: list[str]
    incremental: bool
    size: int
    bodies: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


class Tap:
    """The proxy of one Envoy."""

    def __init__(self, upstream, name):
        self.upstream = upstream
        self.name = name
        self.address = ""
        self.log = []
        self.invariants = Invariants()
        self.streams = 0
        self.spans = []
        """When each stream began and ended (monotonic; infinity: it has not)."""
        self.swallowed = lambda response: False
        """Which responses are not passed on."""
        self.lost = []
        """Responses that were not passed on."""
        self.passing = asyncio.Event()
        """Cleared, requests of open streams wait here: their ACKs are lost for the time."""
        self.passing.set()
        self._server = None
        self._calls = set()

    async def start(self):
        """Listen on a free port."""
        self._server = aio.server(options=[*UNLIMITED, ("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)])
        methods = {
            DELTA: grpc.stream_stream_rpc_method_handler(self._delta),
            SOTW: grpc.stream_stream_rpc_method_handler(self._sotw),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.address = f"127.0.0.1:{port}"
        return self

    async def stop(self):
        """Stop; streams are cut."""
        await self._server.stop(0)

    # -- what was recorded

    @property
    def requests(self):
        """All requests."""
        return [one for one in self.log if isinstance(one, Request)]

    def responses(self, type=None, since=0.0):
        """Responses of a type, after a moment (monotonic)."""
        return [one for one in self.log if isinstance(one, Response) and one.time >= since and type in {None, one.type}]

    def rejections(self, since=0.0):
        """Requests that carry an error."""
        return [one for one in self.requests if one.error and one.time >= since]

    async def quiet(self, seconds=0.3, timeout=10.0):
        """Return when nothing has passed for so long."""
        async with asyncio.timeout(timeout):
            while not self.log or time.monotonic() - self.log[-1].time < seconds:
                await asyncio.sleep(0.02)

    def cut(self):
        """End all streams, as a broken connection would."""
        for call in self._calls:
            call.cancel()

    # -- the proxy

    async def _delta(self, _, context):
        await self._serve(context, DELTA)

    async def _sotw(self, _, context):
        await self._serve(context, SOTW)

    async def _serve(self, context, method):
        self.streams += 1
        number = self.streams
        span = [time.monotonic(), math.inf]
        self.spans.append(span)
        self.invariants.opened(number)
        end = None
        channel = aio.insecure_channel(self.upstream, options=[*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)])
        try:
            call = channel.stream_stream(f"/{SERVICE}/{method}")()
            self._calls.add(call)
            up = asyncio.create_task(self._requests(context, call, number, method == DELTA))
            down = asyncio.create_task(self._responses(context, call, number, method == DELTA))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
                call.cancel()
                self._calls.discard(call)
            if down.done() and not down.cancelled() and isinstance(down.exception(), aio.AioRpcError):
                end = down.exception()
        finally:
            span[1] = time.monotonic()
            self.invariants.closed(number)
            await channel.close()
        if end is not None:
            await context.abort(end.code(), end.details() or "")

    async def _requests(self, context, call, stream, incremental):
        while (data := await context.read()) is not aio.EOF:
            request = decoded_request(data, stream, incremental)
            self.log.append(request)
            self.invariants.requested(request)
            await self.passing.wait()
            await call.write(data)
        await call.done_writing()

    async def _responses(self, context, call, stream, incremental):
        while (data := await call.read()) is not aio.EOF:
            response = decoded_response(data, stream, incremental)
            if self.swallowed(response):
                self.lost.append(response)
                continue
            self.log.append(response)
            self.invariants.responded(response)
            await context.write(data)


def decoded_request(data, stream, incremental):
    """A request of either protocol as one value."""
    now = time.monotonic()
    if incremental:
        one = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
        names, unsubscribed = one.resource_names_subscribe, one.resource_names_unsubscribe
        known, version = dict(one.initial_resource_versions), ""
    else:
        one = discovery_pb2.DiscoveryRequest.FromString(data)
        names, unsubscribed, known, version = one.resource_names, (), {}, one.version_info
    error = (one.error_detail.message or "without a message") if one.HasField("error_detail") else ""
    type = TYPES.get(one.type_url, one.type_url)
    return Request(stream, now, type, tuple(names), tuple(unsubscribed), one.response_nonce, error, version, known)


def decoded_response(data, stream, incremental):
    """A response of either protocol as one value."""
    now = time.monotonic()
    if incremental:
        one = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
        names = [each.name for each in one.resources]
        bodies = {each.name: each.resource.value for each in one.resources}
        versions = {each.name: each.version for each in one.resources}
        removed, version = list(one.removed_resources), one.system_version_info
        for each in one.resources:
            inner = name_of(each.resource.type_url, each.resource.value)
            assert each.name == inner, f"{each.name} wraps {inner}"
            assert each.version, f"{each.name} has no version"
    else:
        one = discovery_pb2.DiscoveryResponse.FromString(data)
        names = [name_of(each.type_url, each.value) for each in one.resources]
        bodies = {name_of(each.type_url, each.value): each.value for each in one.resources}
        versions, removed, version = {}, [], one.version_info
    type = TYPES.get(one.type_url, one.type_url)
    return Response(stream, now, type, one.nonce, version, names, removed, incremental, len(data), bodies, versions)
