"""An HTTP/2 peer that sends whatever a test likes: many streams, floods, half of something, and no reading."""

from __future__ import annotations

import socket
import struct
import time

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

from benchmarks.fleet import ACK, DATA, HEADERS, PING, SETTINGS, frame, greeting, literal

RST_STREAM, WINDOW_UPDATE, GOAWAY = 3, 8, 7
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = {True: b"DeltaAggregatedResources", False: b"StreamAggregatedResources"}


def headers(stream, incremental=True):
    """The HEADERS frame that opens a discovery stream."""
    path = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/" + METHODS[incremental]
    block = b"\x83\x86\x04" + bytes((len(path),)) + path + b"\x01\x01x"
    block += literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")
    return frame(HEADERS, 4, stream, block)


def data(stream, body, end=False):
    """The DATA frames of a gRPC message."""
    payload = framed(body)
    frames = [frame(DATA, 0, stream, payload[at : at + 16384]) for at in range(0, len(payload), 16384)]
    return b"".join(frames) + (frame(DATA, 1, stream, b"") if end else b"")


def framed(body):
    """A gRPC message as it stands in DATA."""
    return b"\x00" + struct.pack(">I", len(body)) + body


def request(url, node="shop/attacker-1", incremental=True, names=(), **fields):
    """An encoded first request."""
    made = DeltaDiscoveryRequest if incremental else DiscoveryRequest
    message = made(type_url=url, **fields)
    message.node.id = node
    message.node.metadata.update({"xdscp": {"role": "sidecar", "mode": "interception"}})
    (message.resource_names_subscribe if incremental else message.resource_names).extend(names)
    return message.SerializeToString()


class Peer:
    """A connection; `window` large: the server may send all it likes; 0: it may send nothing of a stream."""

    def __init__(self, port, window=(1 << 31) - 1, timeout=5.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        settings = struct.pack(">HI", 4, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.buffer = bytearray()
        self.initial = 65535
        self.credit = {0: 65535}
        """Bytes that may be sent, by stream, and on the connection (0)."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Without good-bye."""
        self.socket.close()

    def send(self, payload, timeout=5.0):
        """Sends; False when the server takes no more within `timeout` or has closed."""
        self.socket.settimeout(timeout)
        try:
            self.socket.sendall(payload)
        except (TimeoutError, ConnectionError):
            return False
        return True

    def open(self, stream=1, body=b"", incremental=True):
        """Opens a stream, with a first message if one is given."""
        message = framed(body) if body else b""
        return self.send(headers(stream, incremental)) and self.pour(message, stream) == len(message)

    def frames(self, timeout=2.0):
        """Yields the frames that come (type, flags, stream, payload) until none does for `timeout` s, or the end."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            while len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) < 9 + length:
                    break
                type_, flags = self.buffer[3], self.buffer[4]
                stream = int.from_bytes(self.buffer[5:9], "big")
                payload = bytes(self.buffer[9 : 9 + length])
                del self.buffer[: 9 + length]
                if type_ == WINDOW_UPDATE:
                    self.credit[stream] = self.credit.get(stream, self.initial) + int.from_bytes(payload, "big")
                elif type_ == SETTINGS and not flags & ACK:
                    for at in range(0, len(payload), 6):
                        name, value = struct.unpack_from(">HI", payload, at)
                        if name == 4:
                            self.credit[1] = self.credit.get(1, self.initial) + value - self.initial
                            self.initial = value
                    self.send(frame(SETTINGS, ACK, 0, b""))
                elif type_ == PING and not flags & ACK:
                    self.send(frame(PING, ACK, 0, payload))
                yield type_, flags, stream, payload
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                received = self.socket.recv(1 << 20)
            except (TimeoutError, ConnectionError):
                return
            if not received:
                return
            self.buffer += received

    def pour(self, body, stream=1, timeout=5.0, patience=0.5):
        """Sends bytes of DATA within the flow control windows, and ignores what comes; returns how many were taken.

        Ends when all are sent, `timeout` is over, or the server grants nothing for `patience` seconds.
        """
        deadline = time.monotonic() + timeout
        granted = time.monotonic()
        sent = 0
        while sent < len(body) and time.monotonic() < deadline and time.monotonic() < granted + patience:
            size = min(len(body) - sent, 16384, self.credit[0], self.credit.get(stream, self.initial))
            if size <= 0:
                before = dict(self.credit)
                for _ in self.frames(0.005):
                    pass
                granted = time.monotonic() if self.credit != before else granted
                continue
            if not self.send(frame(DATA, 0, stream, body[sent : sent + size]), 1):
                break
            granted = time.monotonic()
            sent += size
            self.credit[0] -= size
            self.credit[stream] = self.credit.get(stream, self.initial) - size
        return sent

    def ended(self, stream=1, timeout=5.0):
        """Whether the server ends a stream, or the connection, within `timeout`."""
        for type_, flags, of, _ in self.frames(timeout):
            if (of == stream and (type_ == RST_STREAM or (type_ == HEADERS and flags & 1))) or type_ == GOAWAY:
                return True
        return self.closed()

    def closed(self):
        """Whether the server has closed the connection."""
        self.socket.settimeout(0.05)
        try:
            while received := self.socket.recv(1 << 16):
                self.buffer += received
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


__all__ = ["Peer", "data", "framed", "greeting", "headers", "request"]
