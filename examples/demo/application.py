"""A small service to stand behind a sidecar: HTTP/1.1 that says who answered, or a TCP echo.

Run as a process: `python -m examples.demo.application --service reviews --version v1 --instance reviews-v1-a ...`.
It starts in well under 0.1 s, so it imports the standard library only. A second port controls it while it runs:
GET returns its counters, POST `{"fail_rate": 1.0, "status": 503, "delay": 0.2}` changes its behaviour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus

Headers = dict[str, str]


@dataclass(slots=True)
class Behaviour:
    """What an instance does with a request; times in seconds, `fail_rate` of 1.0."""

    fail_rate: float = 0.0
    status: int = 503
    delay: float = 0.0
    received: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    service: str
    version: str
    instance: str


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Headers
    body: bytes
    lines: tuple[str, ...] = ()
    """The header lines as they came: with the case of their names, and each of a name that came more than once."""


Handler = Callable[[Request], Awaitable[tuple[int, object]]]


class Service:
    """The answers of one instance."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.behaviour = Behaviour()

    async def answer(self, request: Request) -> tuple[int, object]:
        """Who answered and what was seen, or the failure that was asked for."""
        behaviour = self.behaviour
        behaviour.received += 1
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        failing = random.random() < behaviour.fail_rate
        behaviour.failed += failing
        seen = {"method": request.method, "path": request.path, "headers": request.headers}
        return behaviour.status if failing else 200, {**asdict(self.identity), **seen}

    async def control(self, request: Request) -> tuple[int, object]:
        """Counters, after the changes of a POST."""
        if request.method == "POST":
            for field, value in json.loads(request.body).items():
                setattr(self.behaviour, field, value)  # slots: an unknown field raises, and closes the connection
        return 200, asdict(self.behaviour)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = start.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, tuple(lines))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, without its trailers."""
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(chunks)


def response(status: int, content: object, *, head_only: bool = False) -> bytes:
    """An HTTP/1.1 response with a JSON body."""
    body = json.dumps(content).encode() + b"\n"
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Status"
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + (b"" if head_only else body)


async def serve_http(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection in order; a request that cannot be read ends it."""
    with suppress(ConnectionError, ValueError, AttributeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while request := await read_request(reader):
            status, content = await handler(request)
            writer.write(response(status, content, head_only=request.method == "HEAD"))
            await writer.drain()
            if request.headers.get("connection", "").lower() == "close":
                break
    writer.close()


async def serve_echo(identity: Identity, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give back each line behind the instance's name."""
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(identity.instance.encode() + b" " + line)
            await writer.drain()
    writer.close()


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, then finish the requests that are being answered."""
    identity = Identity(arguments.service, arguments.version, arguments.instance)
    service = Service(identity)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if arguments.tcp:
        main = await asyncio.start_server(lambda r, w: serve_echo(identity, r, w), arguments.address, arguments.port)
    else:
        main = await asyncio.start_server(
            lambda r, w: serve_http(service.answer, r, w), arguments.address, arguments.port
        )
    host, _, port = arguments.control.rpartition(":")
    control = await asyncio.start_server(lambda r, w: serve_http(service.control, r, w), host, int(port))
    print(
        json.dumps(
            {name: server.sockets[0].getsockname()[:2] for name, server in (("main", main), ("control", control))}
        )
    )
    await stopped.wait()
    main.close()
    control.close()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m examples.demo.application", description=__doc__)
    made.add_argument("--service", default="service")
    made.add_argument("--version", default="")
    made.add_argument("--instance", default="instance")
    made.add_argument("--address", default="127.0.0.1")
    made.add_argument("--port", type=int, default=0)
    made.add_argument("--control", default="127.0.0.1:0", metavar="HOST:PORT")
    made.add_argument("--tcp", action="store_true", help="echo lines instead of HTTP")
    return made


if __name__ == "__main__":
    asyncio.run(run(parser().parse_args()))
