"""HTTP from inside a place: for the load, for Envoy's admin interface and for the control of applications."""

from __future__ import annotations

import aiohttp

from examples.demo.network import Place


def session(place: Place, *, timeout: float = 10.0, connections: int = 0) -> aiohttp.ClientSession:
    """A client whose sockets are made in `place`; `timeout` in seconds for a whole request, 0 connections: no limit.

    It sends every request exactly once. aiohttp by itself repeats a request whose kept-alive connection was closed,
    which would hide what a count of lost requests must show.
    """
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, socket_factory=place.socket),
        timeout=aiohttp.ClientTimeout(total=timeout),
    )
    made._retry_connection = False  # the switch that aiohttp's own TestClient uses
    return made
