"""Load: every request is sent once and counted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from examples.demo.application import Identity, Service, serve_http
from examples.demo.load import Caller, Outcome, Report, author
from examples.demo.network import Loopback

ME = Identity("reviews", "v1", "reviews-v1-a")


@asynccontextmanager
async def served(handle):
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with (
        server,
        Caller(Loopback(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "reviews.shop") as caller,
    ):
        yield caller


async def test_a_number_of_requests_is_sent_exactly():
    """All are counted by status, version and instance, and the server saw as many."""
    service = Service(ME)
    async with served(lambda reader, writer: serve_http(service.answer, reader, writer)) as caller:
        report = await caller.send(100, concurrency=7)

    assert (report.sent, service.behaviour.received) == (100, 100)
    assert report.statuses == {200: 100}
    assert report.versions == {"v1": 100}
    assert report.instances == {"reviews-v1-a": 100}
    assert not report.failures


async def test_the_host_header_names_the_service():
    """The explicit mode routes by it."""
    seen = []

    async def answer(request):
        seen.append(request.headers["host"])
        return 200, {}

    async with served(lambda reader, writer: serve_http(answer, reader, writer)) as caller:
        await caller.call()

    assert seen == ["reviews.shop"]


async def test_a_request_on_a_connection_that_closes_is_lost_and_not_sent_again():
    """The client hides nothing: one answer, then the kept-alive connection ends without one."""
    received = 0

    async def answer_once(reader, writer):
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        received += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        received += 1
        writer.close()

    async with served(answer_once) as caller:
        first, second = await caller.call(), await caller.call()

    assert (first.status, second.status) == (200, 0)
    assert second.error
    assert received == 2


async def test_a_refused_connection_is_a_failure():
    """Nobody listens: status 0 with the reason."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    async with Caller(Loopback(), f"http://127.0.0.1:{port}") as caller:
        report = await caller.send(3)

    assert report.statuses == {0: 3}
    assert len(report.failures) == 3
    assert report.reasons().startswith("3 of ")


async def test_a_rate_goes_on_until_stopped_and_all_answers_are_awaited():
    """What was sent before the stop is in the report, answered."""
    service = Service(ME)
    service.behaviour.delay = 0.05
    stop = asyncio.Event()
    enough = 20

    def progress(_):
        if service.behaviour.received >= enough:
            stop.set()

    async with served(lambda reader, writer: serve_http(service.answer, reader, writer)) as caller:
        report = await caller.drive(200, stop, progress)

    assert report.sent == service.behaviour.received >= enough
    assert report.statuses == {200: report.sent}


@given(st.lists(st.floats(0, 100), max_size=50), st.floats(0, 100))
def test_a_percentile_is_one_of_the_latencies(seconds, percent):
    """It lies between the fastest and the slowest; 0 without requests."""
    report = Report(tuple(Outcome(200, 0.0, each) for each in seconds))

    assert report.percentile(percent) in (seconds or [0.0])
    assert report.percentile(100) == max(seconds, default=0.0)


@given(st.binary())
def test_a_body_of_another_server_has_no_author(body):
    """Envoy's own answers, or garbage, are nobody's."""
    assert author(body) == ("", "") or b"instance" in body
