"""A load that runs in a process of its own, so that what it measures is not what the test does at the time.

Requests are sent at a constant rate whether answers come or not, each exactly once over kept-alive connections. It
prints a line when the first answers are there, stops when its input ends, and then prints what became of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import deque

import uvloop

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
INSTANCE = re.compile(rb'"instance": ?"([^"]*)"')
TIMEOUT = 10.0


class Connection(asyncio.Protocol):
    """One connection to Envoy; one request at a time."""

    def __init__(self, load):
        self.load = load
        self.transport = None
        self.buffer = b""
        self.sent = None

    def connection_made(self, transport):
        self.transport = transport

    def send(self):
        """Send the next request."""
        self.sent = time.monotonic()
        self.buffer = b""
        self.transport.write(self.load.request())

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.sent is None:
            return
        head = self.buffer[: end + 2]
        length = LENGTH.search(head)
        body = self.buffer[end + 4 :]
        if length is None or len(body) < int(length[1]):
            return
        status = int(head[9:12])
        sent, self.sent = self.sent, None
        self.load.answered(status, sent, body)
        if b"\r\nconnection: close\r\n" in head.lower():
            self.transport.close()
        else:
            self.load.free.append(self)

    def connection_lost(self, _):
        if self.sent is not None:
            self.load.answered(0, self.sent, b"the connection was closed")
        elif self in self.load.free:
            self.load.free.remove(self)


class Load:
    """The requests and what became of them."""

    def __init__(self, address, port, hosts, path):
        self.address, self.port = address, port
        self.requests = [f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode() for host in hosts]
        self.free = deque()
        self.connections = []
        self.sent = self.done = 0
        self.statuses = {}
        self.instances = {}
        self.failures = []
        self.slowest = 0.0
        self.opening = set()

    def request(self):
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]

    def answered(self, status, sent, body):
        now = time.monotonic()
        self.done += 1
        self.slowest = max(self.slowest, now - sent)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status != 200:
            self.failures.append((status, round(sent, 4), round(now, 4), body[:120].decode("latin-1")))
            return
        named = INSTANCE.search(body)
        seen = self.instances.setdefault(named[1].decode() if named else "", [0, sent, sent])
        seen[0] += 1
        seen[1], seen[2] = min(seen[1], sent), max(seen[2], sent)

    def fire(self):
        """Send a request now, on a free connection or a new one."""
        while self.free:
            connection = self.free.popleft()
            if not connection.transport.is_closing():
                connection.send()
                return
        task = asyncio.get_running_loop().create_task(self.fresh())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def fresh(self):
        began = time.monotonic()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), self.address, self.port
            )
        except OSError as error:
            self.sent += 1
            self.answered(0, began, str(error).encode())
            return
        self.connections.append(connection)
        connection.send()

    async def run(self, rate):
        """Send until the input ends, then wait for the answers under way."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        stop = loop.create_task(reader.read())
        began, fired, told = time.monotonic(), 0, False
        while not stop.done():
            due = int((time.monotonic() - began) * rate)
            while fired < due:
                self.fire()
                fired += 1
            if not told and self.done >= 20:
                told = True
                print("running", flush=True)
            await asyncio.sleep(0.002)
        deadline = time.monotonic() + TIMEOUT
        while (self.opening or self.done < self.sent) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        figures = {
            "sent": self.sent,
            "unanswered": self.sent - self.done,
            "seconds": time.monotonic() - began,
            "statuses": self.statuses,
            "instances": self.instances,
            "failures": self.failures,
            "slowest": round(self.slowest, 4),
        }
        print(json.dumps(figures), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--host", action="append", required=True)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    parser.add_argument("--path", default="/")
    given = parser.parse_args()
    uvloop.run(Load(given.address, given.port, given.host, given.path).run(given.rate))


if __name__ == "__main__":
    main()
