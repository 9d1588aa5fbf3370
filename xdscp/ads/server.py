"""The gRPC server of discovery streams: the shell around `session`.

Place in the flow: the pipeline publishes snapshots to its streams, Envoy and gRPC clients are at the other end. One
coroutine reads a stream's requests one after another; writes go through an outbox that holds at most one response of a
type, since the session sends no second one before the first is answered. A stream that fails ends alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from grpc import aio

from xdscp.ads import wire
from xdscp.ads.client import Client
from xdscp.ads.responses import Responses
from xdscp.ads.session import Accepted, Command, Rejected, Send, Session, Unsupported
from xdscp.ads.types import CDS
from xdscp.snapshot import ResourceType, Snapshot

LOG = logging.getLogger(__name__)

MAX_REQUEST = 32 << 20
"""Bytes of a request: a reconnecting proxy reports the versions of all that it has."""
HOLD = 20.0
"""Seconds that routes wait for a cluster's acknowledgement; Envoy's own limit for warming is 15."""
TICK = 1.0
"""Seconds between looks at what is overdue, and before a response rejected as a whole is tried in parts."""

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.http2.bdp_probe", 0),  # a PING for every burst of data doubles the cost of a push
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST),  # gRPC ignores it where grpc.minimal_stack is set
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 << 10),
    # Reads grow to 4 MB by default: a flood of small frames then held 250 MB for as long as the machine was busy
    ("grpc.experimental.tcp_max_read_chunk_size", 256 << 10),
    ("grpc.max_concurrent_streams", 100),
    # Envoy's own keepalive pings are welcome; the default polices them with GOAWAY
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # a half-open connection is found and its stream freed
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class Refused(Exception):  # noqa: N818 - what happened, not an error of ours
    """A registry does not admit a client."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


class Registry(Protocol):
    """Who takes part in streams: the pipeline, metrics and logs. Called on the loop; must not block."""

    def join(self, stream: Stream) -> None:
        """A client named itself. Publish to the stream now or when ready; raise Refused to end it."""

    def leave(self, stream: Stream) -> None:
        """The stream ended; it had joined."""

    def sent(self, stream: Stream, command: Send) -> None:
        """A response goes out."""

    def accepted(self, stream: Stream, command: Accepted) -> None:
        """The client acknowledged a response."""

    def rejected(self, stream: Stream, command: Rejected) -> None:
        """The client rejected a response."""

    def unsupported(self, stream: Stream, url: str) -> None:
        """The client asked for a type that we do not serve."""

    def refused(self, peer: str, reason: str, message: str) -> None:
        """A stream is ended for what its client sent; `reason` is one of the words of the metric."""


@dataclass(frozen=True, slots=True)
class TypeState:
    """How a stream stands with a type; times are Unix seconds, 0 for never."""

    version: str
    nonce_sent: str
    nonce_acked: str
    last_error: str
    sent_at: float
    settled: bool


class Stream:
    """One stream of a client."""

    __slots__ = (
        "_context",
        "_outbox",
        "_published",
        "_reason",
        "_registry",
        "_sent_at",
        "_session",
        "_task",
        "_writer",
        "opened_at",
    )

    def __init__(self, client: Client, context: Any, registry: Registry, responses: Responses) -> None:
        self._session = Session(client, responses)
        self._context = context
        self._registry = registry
        self._outbox: deque[bytes] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._published: asyncio.Event | None = asyncio.Event()
        self._sent_at: dict[ResourceType, float] = {}
        self._task = asyncio.current_task()
        self._reason: tuple[grpc.StatusCode, str] | None = None
        self.opened_at = time.time()

    @property
    def client(self) -> Client:
        """Who is at the other end."""
        return self._session.client

    @property
    def peer(self) -> str:
        """The address at the other end, as gRPC writes it."""
        return str(self._context.peer())

    @property
    def target(self) -> Snapshot | None:
        """The snapshot last published."""
        return self._session.target

    @property
    def settled(self) -> bool:
        """Whether the client has acknowledged all of the snapshot."""
        return self._session.settled

    def publish(self, snapshot: Snapshot) -> None:
        """The client should have this snapshot from now on; returns at once."""
        try:
            self._carry_out(self._session.publish(snapshot))
        except Exception:
            LOG.exception("a snapshot could not be published to %s", self.client.id)
            self.close(grpc.StatusCode.INTERNAL, "the snapshot could not be published")
        if self._published is not None:
            self._published.set()
            self._published = None

    def close(self, status: grpc.StatusCode, message: str) -> None:
        """End the stream."""
        if self._reason is None:
            self._reason = status, message
            if self._task is not None:
                self._task.cancel()

    def state(self) -> dict[str, TypeState]:
        """How the stream stands with each type that the client asked for."""
        target = self._session.target
        return {
            one.rule.type.value: TypeState(
                version=one.version,
                nonce_sent=f"{one.number:x}" if one.number else "",
                nonce_acked=f"{one.acked:x}" if one.acked else "",
                last_error=one.error,
                sent_at=self._sent_at.get(one.rule.type, 0.0),
                settled=target is not None and one.settled(target),
            )
            for one in self._session.subscriptions
        }

    def tick(self, now: float) -> None:
        """Look at what is overdue; `now` in Unix seconds."""
        try:
            if self._session.holding and now - self._sent_at.get(CDS.type, now) > HOLD:
                self._carry_out(self._session.expire())
            if self._session.doubtful:
                self._carry_out(self._session.retry())
        except Exception:
            LOG.exception("the stream of %s failed", self.client.id)
            self.close(grpc.StatusCode.INTERNAL, "the stream failed")

    async def run(self, first: wire.Request) -> None:
        """Serve the stream to its end; `first` is the request already read."""
        try:
            await self._run(first)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._reason is None or task is None:
                raise
            task.uncancel()
        finally:
            if self._writer is not None:
                self._writer.cancel()
        if self._reason is not None:
            _end(self._context, *self._reason)

    async def _run(self, first: wire.Request) -> None:
        if self._published is not None:
            await self._published.wait()  # before it is synced, a control plane answers nothing
        request = first
        incremental = self.client.incremental
        while True:
            self._carry_out(self._session.receive(request))
            if self._writer is not None and len(self._outbox) > 0:
                await asyncio.shield(self._writer)  # a client that does not read is not read from
            raw = await self._context.read()
            if raw is aio.EOF:
                return
            request = wire.request(raw, incremental=incremental)
            if not request.url:
                raise wire.InvalidRequest("type_url is missing")

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self._outbox.append(command.payload)
                if command.type is not None:
                    self._sent_at[command.type] = time.time()
                self._registry.sent(self, command)
            elif isinstance(command, Accepted):
                self._registry.accepted(self, command)
            elif isinstance(command, Rejected):
                self._registry.rejected(self, command)
            elif isinstance(command, Unsupported):
                self._registry.unsupported(self, command.url)
            else:
                raise wire.InvalidRequest(command.message)
        if self._outbox and self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the client is gone: the reader sees the end of the stream
            LOG.debug("a response could not be written to %s: %s", self.client.id, error)
            self._outbox.clear()
        finally:
            self._writer = None


class Server:
    """Discovery streams of one control plane on one or more addresses."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._responses = Responses()
        self._streams: set[Stream] = set()
        self._server: Any = None
        self._ticker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def streams(self) -> frozenset[Stream]:
        """The streams that are open."""
        return frozenset(self._streams)

    async def start(self, *addresses: str, credentials: Any = None) -> list[int]:
        """Listen on `host:port` or `unix:path` addresses; returns the bound ports. Raises OSError.

        With `credentials` (grpc server credentials) all of them are TLS.
        """
        self._server = aio.server(options=list(OPTIONS))
        methods = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._sotw),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
        }
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        ports = []
        for address in addresses:
            try:
                if credentials is None:
                    ports.append(self._server.add_insecure_port(address))
                else:
                    ports.append(self._server.add_secure_port(address, credentials))
            except RuntimeError as error:
                raise OSError(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        return ports

    async def stop(self, grace: float = 4.0) -> None:
        """End all streams with UNAVAILABLE, spread over half of `grace` seconds, and stop listening."""
        self._stopping = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is None:
            return
        stopped = asyncio.ensure_future(self._server.stop(grace))
        streams = list(self._streams)
        for number, stream in enumerate(streams):
            stream.close(grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
            if number % 50 == 49:
                await asyncio.sleep(min(0.01, grace * 25 / len(streams)))
        await stopped

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.time()
            for stream in list(self._streams):
                stream.tick(now)

    async def _sotw(self, _: Any, context: Any) -> None:
        await self._serve(context, incremental=False)

    async def _delta(self, _: Any, context: Any) -> None:
        await self._serve(context, incremental=True)

    async def _serve(self, context: Any, *, incremental: bool) -> None:
        stream: Stream | None = None
        try:
            raw = await context.read()
            if raw is aio.EOF:
                return
            if self._stopping:
                raise Refused(grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
            first = wire.request(raw, incremental=incremental)
            if not first.url:
                raise wire.InvalidRequest("type_url is missing")
            client = wire.node_client(first.node, incremental=incremental)
            stream = Stream(client, context, self._registry, self._responses)
            self._registry.join(stream)
            self._streams.add(stream)
            await stream.run(first)
        except wire.InvalidRequest as error:
            self._registry.refused(context.peer(), error.reason, str(error)[:1000])
            _end(context, grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000])
        except Refused as error:
            self._registry.refused(context.peer(), "unready", str(error)[:1000])
            _end(context, error.status, str(error)[:1000])
        except asyncio.CancelledError:
            raise
        except Exception:
            LOG.exception("a stream failed")
            _end(context, grpc.StatusCode.INTERNAL, "the stream failed")
        finally:
            if stream is not None and stream in self._streams:
                self._streams.discard(stream)
                self._registry.leave(stream)


def _end(context: Any, status: grpc.StatusCode, message: str) -> None:
    """Give a call the status that it ends with when its handler returns.

    Not by `context.abort`: its exception is held by the context and holds our frames, so that nothing of the stream, the
    request neither, would be freed before the collector of cycles comes, which is seldom.
    """
    context.set_code(status)
    context.set_details(message)
