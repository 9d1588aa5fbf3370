"""Applications inside the test's own process: what arrives at them is there to be read, what they do is a function."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from examples.demo.application import Request, read_request, response


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived, `connection` counted from 1, `at` on the monotonic clock."""

    request: Request
    connection: int
    at: float


@dataclass(slots=True)
class Reply:
    """An answer; `headers` may name one twice. `reset` breaks the connection instead."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    delay: float = 0.0
    reset: bool = False


async def fine(_):
    """What an instance does when nothing else is asked for."""
    return Reply()


class Instance:
    """An HTTP/1.1 server at an address of the mesh; `behave` is an async function of the request."""

    def __init__(self, name, address, port=8080, version=""):
        self.name, self.address, self.port, self.version = name, address, port, version
        self.reset()
        self._server = None
        self._tasks = set()
        self.connections = 0

    def reset(self):
        """Forget what was seen, and behave well again."""
        self.seen: list[Seen] = []
        self.closed: list[tuple[int, float]] = []
        self.opened: list[tuple[int, float]] = []
        self.behave = fine

    async def start(self, **tls):
        self._server = await asyncio.start_server(self._serve, self.address, self.port, **tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        """Stop listening, and end the connections that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failing(self, status=503, times=1 << 30):
        """Answer the next `times` requests with an error."""
        left = [times]

        async def behave(_):
            left[0] -= 1
            return Reply(status if left[0] >= 0 else 200)

        self.behave = behave

    def slow(self, seconds):
        """Answer late."""

        async def behave(_):
            return Reply(delay=seconds)

        self.behave = behave

    async def _serve(self, reader, writer):
        self._tasks.add(task := asyncio.current_task())
        self.connections += 1
        number = self.connections
        self.opened.append((number, time.monotonic()))
        try:
            with suppress(ConnectionError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while request := await read_request(reader):
                    self.seen.append(Seen(request, number, time.monotonic()))
                    reply = await self.behave(request)
                    if reply.delay:
                        await asyncio.sleep(reply.delay)
                    if reply.reset:
                        writer.transport.abort()
                        return
                    writer.write(self._answer(request, reply))
                    await writer.drain()
        finally:
            self.closed.append((number, time.monotonic()))
            self._tasks.discard(task)
            writer.close()

    def _answer(self, request, reply):
        """What `examples.demo.application` answers, with more headers in the middle."""
        seen = {"method": request.method, "path": request.path, "lines": request.lines}
        content = {"instance": self.name, "version": self.version, **seen}
        whole = response(reply.status, content, head_only=request.method == "HEAD")
        start, rest = whole.split(b"\r\n", 1)
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        return start + b"\r\n" + more.encode() + rest


class Echo:
    """A TCP server that says its name, then gives back what it gets."""

    def __init__(self, name, address, port=9000):
        self.name, self.address, self.port = name, address, port
        self.peers = []
        self.ended = []
        self._server = None
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        return self

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(task := asyncio.current_task())
        self.peers.append(writer.get_extra_info("peername"))
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                writer.write(self.name.encode() + b"\n")
                while data := await reader.read(4096):
                    writer.write(data)
                    await writer.drain()
            self.ended.append(time.monotonic())
        finally:
            self._tasks.discard(task)
            writer.close()
