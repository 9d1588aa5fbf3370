"""Options of connections, seen by applications that look at theirs."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from examples.demo.envoy import Envoy
from examples.demo.network import Loopback
from examples.demo.processes import output
from tests.envoy.features.instance import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLUSTER = "out/shop/reviews/80"
REVIEWS = "selector: {app: reviews}"


def workload(name, address):
    """An endpoint of the Service that selects its name."""
    return {
        "apiVersion": "xdscp.io/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"address": address, "labels": {"app": name}},
    }


@asynccontextmanager
async def unreachable(address, port=8080):
    """An address at which connections are neither taken nor refused: the queue of the listening socket is full."""
    with socket.create_server((address, port), backlog=0) as listening:
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        await asyncio.sleep(0.05)
        try:
            yield
        finally:
            for one in waiting:
                one.close()


async def test_connect_timeout(stage):
    """An endpoint that does not answer is given up after 300 ms."""
    address = stage.address(81)
    async with unreachable(address):
        await stage.apply(
            "connection/connect-timeout", {REVIEWS: "selector: {app: stuck}"}, more=[workload("stuck", address)]
        )
        answer = await stage.reviews()
    assert answer.status == 503
    assert 0.28 <= answer.seconds < 0.8
    assert b"connection timeout" in answer.body


async def test_tcp_keepalive(stage):
    """The kernel's timer of the connection is one of keepalive, of a minute; the other two are in Envoy's configuration."""
    await stage.apply("connection/tcp-keepalive")
    await stage.reviews()
    shown = await output("ss", "-tnoH", "state", "established", f"dst {stage.address(0)}/24", "and", "dport = :8080")
    timers = [line.split("timer:(keepalive,")[1].split(",")[0] for line in shown.splitlines() if "keepalive" in line]
    assert timers, shown
    assert all(timer.startswith(("59", "1min", "60")) for timer in timers), timers
    options = (await stage.cluster(CLUSTER))["upstream_connection_options"]["tcp_keepalive"]
    assert options == {"keepalive_probes": 3, "keepalive_time": 60, "keepalive_interval": 10}


async def test_requests_per_connection(stage):
    """No connection has more than ten requests."""
    await stage.apply("connection/requests-per-connection", {REVIEWS: "selector: {app: audit}"})
    for _ in range(35):
        await stage.reviews()
    counted = Counter(each.connection for each in stage.instances["audit"].seen)
    assert sorted(counted.values()) == [5, 10, 10, 10]


async def closing(stage, example):
    """When, after the only request, the connection to the application was closed."""
    await stage.apply(example, {REVIEWS: "selector: {app: audit}"})
    audit = stage.instances["audit"]
    await stage.reviews()
    number = audit.seen[-1].connection

    async def closed():
        return [at for which, at in audit.closed if which == number]

    (at,) = await stage.until(closed, what="closed")
    return at - audit.seen[-1].at


async def test_http_idle_timeout(stage):
    """A connection is closed half a second after its last request."""
    assert 0.45 <= await closing(stage, "connection/http-idle-timeout") < 0.9


async def test_connection_duration(stage):
    """A connection is closed a second after it was made."""
    assert 0.95 <= await closing(stage, "connection/duration") < 1.6


# -- HTTP versions


def either(address, application):
    """The bootstrap of an application that speaks both versions, and says which in a header: Envoy itself."""
    routes = {
        "name": "all",
        "virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
        ],
        "response_headers_to_add": [{"header": {"key": "x-version", "value": "%PROTOCOL%"}}],
    }
    filters = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "route_config": routes,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}],
    }

    def at(host, port):
        return {"socket_address": {"address": host, "port_value": port}}

    endpoint = {"endpoint": {"address": at(application.address, application.port)}}
    return {
        "admin": {"address": at(address, 15000)},
        "static_resources": {
            "listeners": [
                {
                    "name": "all",
                    "address": at(address, 8080),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "app",
                    "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(stage):
    """A Workload `both` that speaks HTTP/1.1 and HTTP/2, before the instance `audit`."""
    address = stage.address(82)
    bootstrap = either(address, stage.instances["audit"])
    stage.envoys["both"] = envoy = await Envoy.start("both", bootstrap, stage.folder, Loopback(address))
    await envoy.ready(configured=False)
    return workload("both", address)


async def test_http2(stage, both):
    """The application is spoken to in HTTP/2; two requests at a time share a connection, so five at once need three."""
    await stage.apply("connection/http2", {REVIEWS: "selector: {app: both}"}, more=[both])
    assert (await stage.reviews()).headers["x-version"] == "HTTP/2"
    stage.instances["audit"].slow(0.3)
    answers = await asyncio.gather(*(stage.reviews() for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert await stage.envoy.stat(f"cluster.{CLUSTER}.upstream_cx_http2_total") == 3


async def test_http2_is_not_asked_for_by_itself(stage, both):
    """Without the policy the same application is spoken to as its port says, in HTTP/1.1."""
    await stage.apply("load-balancer/random", {REVIEWS: "selector: {app: both}"}, more=[both])
    assert (await stage.reviews()).headers["x-version"] == "HTTP/1.1"


async def test_http1(stage, both):
    """HTTP/1.1 is spoken although the port says HTTP/2."""
    await stage.apply("connection/http1", {REVIEWS: "selector: {app: both}"}, more=[both])
    assert (await stage.reviews()).headers["x-version"] == "HTTP/1.1"


async def test_preserved_header_case(stage):
    """The application sees header names as the client wrote them, and the client as the application did."""
    await stage.apply("connection/http1")

    async def behave(_):
        return Reply(headers=[("X-Answer-From", "app")])

    for instance in stage.of("reviews"):
        instance.behave = behave
    # A connection of the client is served as its listener was when it was made: these are new ones.
    answer = await stage.reviews(headers={"X-Shop-User": "ann"}, source=stage.address(121))
    assert "X-Shop-User: ann" in answer.json["lines"]
    assert "X-Answer-From" in list(answer.headers)
    await stage.apply("load-balancer/random")
    answer = await stage.reviews(headers={"X-Shop-User": "ann"}, source=stage.address(122))
    assert "x-shop-user: ann" in answer.json["lines"]


async def test_http2_windows_and_pings(stage):
    """The windows are told to the application; one that answers no ping loses its connection."""
    address = stage.address(83)
    received = bytearray()

    async def silent(reader, writer):
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame, and never a word more
        while data := await reader.read(65536):
            received.extend(data)
        writer.close()

    server = await asyncio.start_server(silent, address, 8080)
    replacing = {
        REVIEWS: "selector: {app: silent}",
        "initialStreamWindow: 65535": "initialStreamWindow: 131072",
        "interval: 10s, timeout: 2s": "interval: 300ms, timeout: 200ms",
    }
    try:
        await stage.apply("connection/http2", replacing, more=[workload("silent", address)])
        began = time.monotonic()
        answer = await stage.reviews()
    finally:
        server.close()
    assert answer.status == 503
    assert 0.4 <= time.monotonic() - began < 1.5
    frames = list(http2_frames(bytes(received[24:])))
    settings = dict(struct.iter_unpack(">HI", next(payload for kind, payload in frames if kind == 4)))
    assert settings[3] == 2  # MAX_CONCURRENT_STREAMS
    assert settings[4] == 131072  # INITIAL_WINDOW_SIZE
    assert 1048576 - 65535 in [struct.unpack(">I", payload)[0] for kind, payload in frames if kind == 8]
    assert [kind for kind, _ in frames].count(6) >= 1  # PING


def http2_frames(data):
    """Type and payload of each whole frame."""
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[9 : 9 + length]
        data = data[9 + length :]
