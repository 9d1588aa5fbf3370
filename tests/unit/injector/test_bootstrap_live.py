"""The bootstraps at work: real clients connect to a control plane with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.injector.control_plane import ControlPlane
from tests.unit.injector.envoys import running
from xdscp.address import Address
from xdscp.injector.bootstrap import Ports, Proxy, envoy_bootstrap, grpc_bootstrap
from xdscp.resources.core import Key

METADATA = {"xdscp": {"mode": "interception", "role": "sidecar"}}


@pytest.fixture(params=["tcp", "unix"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ControlPlane, Address]]:
    """A control plane that does not answer yet, with its address."""
    path = tmp_path / "xds.sock"
    plane = ControlPlane("127.0.0.1:0" if request.param == "tcp" else f"unix:{path}")
    yield plane, Address("127.0.0.1", plane.port) if request.param == "tcp" else Address(path=str(path))
    plane.stop()


def status(port: int, path: str) -> int:
    """The status of a GET; 0 without an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def eventually(port: int, path: str, expected: int, timeout: float = 20) -> None:
    """Asks until the status is `expected`."""
    deadline = time.monotonic() + timeout
    while (got := status(port, path)) != expected:
        assert time.monotonic() < deadline, f"{path} is {got}, not {expected}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


@pytest.mark.envoy
@pytest.mark.parametrize("variant", ["delta", "sotw"])
def test_envoy(server: tuple[ControlPlane, Address], variant: Any, tmp_path: Path) -> None:
    """Envoy says who it is, is ready once it has its configuration, and tags the statistics of a Service."""
    plane, address = server
    admin, readiness, prometheus = free_ports(3)
    own = Ports(admin, readiness, prometheus, "127.0.0.1")

    with running(envoy_bootstrap(Proxy(Key("shop", "web-0")), address, own, variant), tmp_path):
        node = plane.first.get(timeout=20).node
        assert node.id == "shop/web-0"
        assert json.loads(_json(node.metadata)) == METADATA
        assert status(admin, "/ready") == 503
        assert status(readiness, "/healthz/ready") in {0, 503}
        plane.answering.set()
        eventually(admin, "/ready", 200)
        eventually(readiness, "/healthz/ready", 200)
        assert status(readiness, "/stats") == 404
        assert status(prometheus, "/quitquitquit") == 404
        with urllib.request.urlopen(f"http://127.0.0.1:{prometheus}/stats/prometheus", timeout=5) as answer:
            text = answer.read().decode()
        assert (
            'envoy_cluster_membership_total{envoy_cluster_name="out/shop/cart/80",xdscp_service="shop/cart"} 0' in text
        )
        assert "lb_subsets" not in text
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{admin}/healthcheck/fail", method="POST")
        ).close()
        assert status(readiness, "/healthz/ready") == 503


@pytest.mark.envoy
def test_envoy_admin_port_picked(tmp_path: Path) -> None:
    """with admin port 0 the kernel picks one, and Envoy writes it where it is told to."""
    bootstrap = envoy_bootstrap(Proxy(Key("shop", "web-0")), Address("127.0.0.1", 1), Ports(0, None, None))

    with running(bootstrap, tmp_path):
        deadline = time.monotonic() + 20
        while not (written := tmp_path / "admin.txt").exists() or not written.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert status(int(written.read_text().rpartition(":")[2]), "/server_info") == 200


@pytest.mark.envoy
@pytest.mark.slow
def test_envoy_alone(tmp_path: Path) -> None:
    """without a control plane Envoy calls itself live after 30 s, and is not ready."""
    admin, readiness = free_ports(2)
    own = Ports(admin, readiness, None, "127.0.0.1")

    with running(envoy_bootstrap(Proxy(Key("shop", "web-0")), Address("127.0.0.1", 1), own), tmp_path):
        eventually(admin, "/ready", 200, timeout=60)
        assert status(readiness, "/healthz/ready") == 503


def test_grpc(server: tuple[ControlPlane, Address]) -> None:
    """a proxyless gRPC client reads its bootstrap, and asks the control plane in its own name."""
    plane, address = server
    bootstrap = grpc_bootstrap(Proxy(Key("shop", "client-0"), "grpc", "explicit"), address)
    script = (
        "import grpc; channel = grpc.insecure_channel('xds:///cart.shop:80'); "
        "ready = grpc.channel_ready_future(channel); ready.add_done_callback(lambda _: None); "
        "import time; time.sleep(30)"
    )
    environment = os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}

    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
    try:
        first = plane.first.get(timeout=20)
    finally:
        process.kill()
        process.communicate()

    assert first.node.id == "shop/client-0"
    assert json.loads(_json(first.node.metadata)) == {"xdscp": {"mode": "explicit", "role": "grpc"}}
    assert list(first.resource_names) == ["cart.shop:80"]


def _json(message: Any) -> str:
    from google.protobuf import json_format

    return str(json_format.MessageToJson(message))
