"""A fleet of delta ADS clients in one process: the cheapest honest thing, so that the server is what is measured.

One TCP connection and one HTTP/2 stream a proxy, one epoll loop, no gRPC library. Each proxy does what Envoy does: CDS by
wildcard, EDS by the names of the clusters, LDS by wildcard, RDS by the names in use, VHDS, and an ACK for each response.
A response's bytes are equal for all proxies of a view, so what follows from them is found once and looked up afterwards.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

PREFIX = "type.googleapis.com/envoy.config."
CDS = f"{PREFIX}cluster.v3.Cluster"
EDS = f"{PREFIX}endpoint.v3.ClusterLoadAssignment"
LDS = f"{PREFIX}listener.v3.Listener"
RDS = f"{PREFIX}route.v3.RouteConfiguration"
VHDS = f"{PREFIX}route.v3.VirtualHost"

WINDOW = (1 << 31) - 1
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = 1


def frame(type_: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((type_, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def greeting(authority: str) -> bytes:
    path = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    headers = (
        b"\x83\x86"  # :method POST, :scheme http
        b"\x04"
        + bytes((len(path),))
        + path
        + b"\x01"
        + bytes((len(authority),))
        + authority.encode()
        + literal(b"content-type", b"application/grpc")
        + literal(b"te", b"trailers")
    )
    settings = struct.pack(">HIHI", 4, WINDOW, 5, (1 << 24) - 1)
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, settings)
        + frame(8, 0, 0, struct.pack(">I", WINDOW - 65535))
        + frame(HEADERS, 4, 1, headers)
    )


def message(request: DeltaDiscoveryRequest) -> bytes:
    body = request.SerializeToString()
    payload = b"\x00" + struct.pack(">I", len(body)) + body
    return b"".join(frame(DATA, 0, 1, payload[at : at + 16384]) for at in range(0, len(payload), 16384))


@dataclass
class Proxy:
    """One client: its socket, what came in and is not yet a whole frame or message, and what goes out."""

    socket: socket.socket
    node: str
    frames: bytearray = field(default_factory=bytearray)
    messages: bytearray = field(default_factory=bytearray)
    out: bytearray = field(default_factory=bytearray)
    received: int = 0
    """Bytes of responses."""
    types: Counter[str] = field(default_factory=Counter)
    """Responses by type URL."""
    acked_at: float = 0.0


class Fleet:
    """`count` proxies of the server at `port`; node ids are `namespace/name-number`."""

    def __init__(self, port: int, count: int, namespace: str = "ns-0", metadata: dict | None = None) -> None:
        self._selector = selectors.DefaultSelector()
        self._answers: dict[bytes, tuple[str, bytes]] = {}
        self._port = port
        self._metadata = metadata or {"xdscp": {"role": "sidecar", "mode": "interception"}}
        self.proxies = [self._connected(f"{namespace}/client-{number}") for number in range(count)]
        self.last: list[bytes] = []
        """The newest response bytes of the first proxy, for a look at what was sent."""

    def _connected(self, node: str) -> Proxy:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        proxy = Proxy(connection, node)
        first = DeltaDiscoveryRequest(type_url=CDS)
        first.node.id = node
        first.node.metadata.update(self._metadata)
        proxy.out += greeting(f"127.0.0.1:{self._port}") + message(first)
        self._selector.register(connection, selectors.EVENT_READ, proxy)
        self._flush(proxy)
        return proxy

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.socket.close()
        self._selector.close()

    def until(self, done: Callable[[Proxy], bool], timeout: float = 60.0) -> float:
        """Runs until `done(proxy)` holds for every proxy; returns when the last one came to hold. Raises TimeoutError."""
        waiting = {id(proxy) for proxy in self.proxies if not done(proxy)}
        deadline = time.monotonic() + timeout
        last = time.time()
        while waiting:
            for key, _ in self._selector.select(0.5):
                proxy = key.data
                self._read(proxy)
                if id(proxy) in waiting and done(proxy):
                    waiting.discard(id(proxy))
                    last = time.time()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} of {len(self.proxies)} proxies are not done")
        return last

    def idle(self, seconds: float) -> None:
        """Answers whatever comes for a while."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._read(key.data)

    def _read(self, proxy: Proxy) -> None:
        try:
            data = proxy.socket.recv(1 << 20)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError(f"the server closed the stream of {proxy.node}")
        frames = proxy.frames
        frames += data
        at, held = 0, len(frames)
        while held - at >= 9:
            length = frames[at] << 16 | frames[at + 1] << 8 | frames[at + 2]
            if held - at < 9 + length:
                break
            type_, flags = frames[at + 3], frames[at + 4]
            payload = frames[at + 9 : at + 9 + length]
            at += 9 + length
            if type_ == DATA:
                proxy.messages += payload
                proxy.received += length
            elif type_ == SETTINGS and not flags & ACK:
                proxy.out += frame(SETTINGS, ACK, 0, b"")
            elif type_ == PING and not flags & ACK:
                proxy.out += frame(PING, ACK, 0, bytes(payload))
            elif type_ == GOAWAY:
                raise ConnectionError(f"GOAWAY for {proxy.node}: {bytes(payload[8:])!r}")
        del frames[:at]
        self._answer(proxy)
        self._flush(proxy)

    def _answer(self, proxy: Proxy) -> None:
        messages = proxy.messages
        at = 0
        while len(messages) - at >= 5:
            (length,) = struct.unpack_from(">I", messages, at + 1)
            if len(messages) - at < 5 + length:
                break
            body = bytes(messages[at + 5 : at + 5 + length])
            at += 5 + length
            url, answer = self._answers.get(body) or self._found(body)
            first = not proxy.types[url]
            proxy.types[url] += 1
            proxy.out += answer if not first else answer + self._follow_up(url, body)
            proxy.acked_at = time.time()
        del messages[:at]

    def _found(self, body: bytes) -> tuple[str, bytes]:
        response = DeltaDiscoveryResponse.FromString(body)
        answer = message(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))
        if len(self._answers) > 256:
            self._answers.clear()
        self._answers[body] = response.type_url, answer
        self.last = [body]
        return response.type_url, answer

    def _follow_up(self, url: str, body: bytes) -> bytes:
        key = b"first" + url.encode() + body
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = (url, self._subscriptions(url, body))
        return known[1]

    def _subscriptions(self, url: str, body: bytes) -> bytes:
        """What Envoy asks for next, when the first response of a type has come."""
        response = DeltaDiscoveryResponse.FromString(body)
        if url == CDS:
            names = [each.name for each in response.resources if each.name.startswith("out/")]
            return message(DeltaDiscoveryRequest(type_url=EDS, resource_names_subscribe=names)) + message(
                DeltaDiscoveryRequest(type_url=LDS)
            )
        if url == LDS:
            tables = sorted({table for each in response.resources for table in route_tables(each.resource.value)})
            return message(DeltaDiscoveryRequest(type_url=RDS, resource_names_subscribe=tables))
        return message(DeltaDiscoveryRequest(type_url=VHDS)) if url == RDS else b""

    def _flush(self, proxy: Proxy) -> None:
        if proxy.out:
            try:
                sent = proxy.socket.send(proxy.out)
            except BlockingIOError:
                return
            del proxy.out[:sent]


def route_tables(listener: bytes) -> list[str]:
    """The route tables that a listener asks for by RDS."""
    found = []
    parsed = Listener.FromString(listener)
    for chain in [*parsed.filter_chains, parsed.default_filter_chain]:
        for each in chain.filters:
            if each.typed_config.Is(HttpConnectionManager.DESCRIPTOR):
                manager = HttpConnectionManager()
                each.typed_config.Unpack(manager)
                if manager.HasField("rds"):
                    found.append(manager.rds.route_config_name)
    return found
