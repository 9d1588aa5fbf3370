"""The small service: what it reads and answers."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.application import Identity, Request, Service, read_request, response, serve_http

ME = Identity("reviews", "v1", "reviews-v1-a")
TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


def parsed(data):
    async def run():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_request(reader)

    return asyncio.run(run())


@given(
    TOKEN,
    st.dictionaries(TOKEN.filter(lambda name: name != "transfer-encoding"), TOKEN, max_size=5),
    st.binary(max_size=300),
)
def test_a_request_is_read_as_it_was_written(path, headers, body):
    """Headers and a body of a known length come back."""
    headers = {**headers, "content-length": str(len(body))}
    lines = tuple(f"{name}: {value}" for name, value in headers.items())
    head = "\r\n".join([f"POST /{path} HTTP/1.1", *lines, "", ""])

    assert parsed(head.encode() + body) == Request("POST", f"/{path}", headers, body, lines)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_a_chunked_body_is_joined(chunks):
    """Chunks of any size are put together."""
    head = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"

    read = parsed(head + body)

    assert read is not None
    assert read.body == b"".join(chunks)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_end_the_connection_only(data):
    """No bytes make the server raise; the connection is closed."""

    class Writer:
        closed = False

        def write(self, data):
            pass

        async def drain(self):
            pass

        def close(self):
            self.closed = True

    async def run():
        reader, writer = asyncio.StreamReader(), Writer()
        reader.feed_data(data + b"\r\n\r\n")
        reader.feed_eof()
        await serve_http(Service(ME).answer, reader, writer)
        return writer.closed

    assert asyncio.run(run())


async def test_an_answer_says_who_answered_and_what_was_seen():
    """The instance, its version, the path and the headers are in the body."""
    status, content = await Service(ME).answer(Request("GET", "/x", {"a": "b"}, b""))

    assert status == 200
    assert content == {
        "service": "reviews",
        "version": "v1",
        "instance": "reviews-v1-a",
        "method": "GET",
        "path": "/x",
        "headers": {"a": "b"},
    }


async def test_behaviour_changes_while_it_runs_and_is_counted():
    """A POST to the control port makes it fail; the counters tell how often it did."""
    service = Service(ME)

    await service.control(Request("POST", "/", {}, json.dumps({"fail_rate": 1.0, "status": 500}).encode()))
    status, _ = await service.answer(Request("GET", "/", {}, b""))

    assert status == 500
    assert (await service.control(Request("GET", "/", {}, b"")))[1] == {
        "fail_rate": 1.0,
        "status": 500,
        "delay": 0.0,
        "received": 1,
        "failed": 1,
    }
    with pytest.raises(AttributeError):
        await service.control(Request("POST", "/", {}, b'{"speed": 1}'))


def test_a_response_has_its_length_and_head_has_no_body():
    """The length of a HEAD answer is that of the body it leaves out."""
    full, head = response(200, "é"), response(200, "é", head_only=True)

    assert full.startswith(b"HTTP/1.1 200 OK\r\n")
    assert full == head + b'"\\u00e9"\n'
    assert b"content-length: 9\r\n" in head
    assert response(299, "").startswith(b"HTTP/1.1 299 ")
