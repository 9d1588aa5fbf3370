"""Real Envoy's judgement of messages: a bootstrap of static resources, given to `envoy --mode validate`."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from betterproto2 import Message
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xdscp.translators import rds
from xdscp.translators.encode import encode
from xdscp.translators.filters import EXPLICIT_FILTERS, FILTERS

ROOT = Path(__file__).parents[3]


def envoy_binary() -> str:
    """$XDSCP_ENVOY, or the environment beside the sources, or PATH; without one the test is skipped."""
    named = os.environ.get("XDSCP_ENVOY")
    beside = ROOT / ".venv-envoy" / "bin" / "envoy"
    found = named or (str(beside) if beside.exists() else shutil.which("envoy"))
    if found is None:
        if "envoy" in os.environ.get("XDSCP_REQUIRE", ""):
            pytest.fail("no Envoy binary")
        pytest.skip("no Envoy binary")
    return found


def bootstrap(clusters: Iterable[Message] = (), listeners: Iterable[Message] = ()) -> bootstrap_pb2.Bootstrap:
    """A bootstrap with these as static resources, and an ADS server that is never there."""
    found = bootstrap_pb2.Bootstrap()
    found.node.id, found.node.cluster = "test", "test"
    for cluster in clusters:
        found.static_resources.clusters.add().MergeFromString(encode(cluster))
    for listener in listeners:
        found.static_resources.listeners.add().MergeFromString(encode(listener))
    server = found.static_resources.clusters.add(name="xds-server")
    server.connect_timeout.FromSeconds(1)
    ads = found.dynamic_resources.ads_config
    ads.api_type = ads.DELTA_GRPC
    ads.transport_api_version = 2
    ads.grpc_services.add().envoy_grpc.cluster_name = "xds-server"
    return found


def with_routes(
    virtual_hosts: Iterable[Message], clusters: Iterable[Message] = (), explicit: bool = False
) -> bootstrap_pb2.Bootstrap:
    """A bootstrap whose listener has these virtual hosts in a table of its own."""
    table = route_pb2.RouteConfiguration.FromString(encode(rds.route_table(80, virtual_hosts)))
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="test", route_config=table)
    for each in EXPLICIT_FILTERS if explicit else FILTERS:
        manager.http_filters.add().MergeFromString(encode(each))
    found = bootstrap(clusters)
    listener = found.static_resources.listeners.add(name="test")
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = 0
    listener.filter_chains.add().filters.add(name="hcm").typed_config.Pack(manager)
    return found


def refusal(config: bootstrap_pb2.Bootstrap) -> str:
    """What Envoy says against the configuration; empty when it takes it."""
    envoy = envoy_binary()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bootstrap.pb"
        path.write_bytes(config.SerializeToString())
        done = subprocess.run(
            [envoy, "--mode", "validate", "-c", str(path), "-l", "error", "--base-id-path", f"{folder}/base"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return "" if done.returncode == 0 else done.stderr + done.stdout


@contextmanager
def running(config: bootstrap_pb2.Bootstrap) -> Iterator[dict[str, int]]:
    """A real Envoy on loopback while the block runs; gives the port of each listener by name."""
    envoy = envoy_binary()
    with tempfile.TemporaryDirectory() as folder:
        config.admin.address.socket_address.address = "127.0.0.1"
        config.admin.address.socket_address.port_value = 0
        path, admin = Path(folder) / "bootstrap.pb", Path(folder) / "admin"
        path.write_bytes(config.SerializeToString())
        arguments = ["-c", str(path), "-l", "error", "--use-dynamic-base-id", "--concurrency", "1"]
        with subprocess.Popen(
            [envoy, *arguments, "--admin-address-path", str(admin)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                yield _ports(process, admin)
            finally:
                process.terminate()


def _ports(process: subprocess.Popen[bytes], admin: Path) -> dict[str, int]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(process.stderr.read().decode() if process.stderr else "")
        if admin.exists() and (address := admin.read_text()):
            with suppress(OSError), urllib.request.urlopen(f"http://{address}/ready", timeout=1):
                with urllib.request.urlopen(f"http://{address}/listeners?format=json", timeout=5) as answer:
                    statuses = json.load(answer)["listener_statuses"]
                return {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in statuses}
        time.sleep(0.02)  # Envoy has no event for this
    raise TimeoutError("Envoy is not ready")


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, as JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_OPTIONS = do_POST = do_GET  # noqa: N815  # http.server looks for these names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def echo_server() -> Iterator[int]:
    """An HTTP server on loopback that answers with what it was asked; gives its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def echoed(self) -> dict[str, object]:
        return json.loads(self.body)


def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """One request to loopback; underscores in header names are dashes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()
