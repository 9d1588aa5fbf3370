"""A real Envoy on a hand-made control plane."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest


def binary():
    """The path of Envoy; skips the test without one."""
    root = Path(__file__).parents[2]
    for candidate in (os.environ.get("XDSCP_ENVOY"), root / ".venv-envoy/bin/envoy", shutil.which("envoy")):
        if candidate and Path(candidate).exists():
            return str(candidate)
    if "envoy" in os.environ.get("XDSCP_REQUIRE", ""):
        pytest.fail("Envoy is required, and there is none")
    pytest.skip("no Envoy")
    return ""


class Envoy:
    """A running Envoy: its admin interface, and requests through its listeners."""

    def __init__(self, admin, http):
        self.admin, self.http = admin, http

    async def get(self, path):
        """An admin page."""
        async with self.http.get(f"http://{self.admin}{path}") as response:
            return await response.text()

    async def stats(self, pattern):
        """Counters and gauges whose names match."""
        page = json.loads(await self.get(f"/stats?format=json&filter={pattern}"))
        return {one["name"]: one["value"] for one in page["stats"] if "name" in one}

    async def ask(self, port, host):
        """Status and body of a request to a listener."""
        async with self.http.get(f"http://127.0.0.1:{port}/", headers={"host": host}) as response:
            return response.status, await response.text()

    async def eventually(self, port, host, expected, timeout=5.0):
        """Until a request gets the expected (status, body)."""
        got = None
        deadline = asyncio.get_running_loop().time() + timeout
        while asyncio.get_running_loop().time() < deadline:
            try:
                got = await self.ask(port, host)
            except aiohttp.ClientError as error:
                got = repr(error)
            if got == expected or (isinstance(expected, int) and got[0] == expected):
                return got
            await asyncio.sleep(0.01)
        raise AssertionError(f"{host} on {port}: {got}, expected {expected}")


@asynccontextmanager
async def running(address, folder, incremental=True, log="warning", **node):
    """An Envoy whose only configuration is where its control plane is."""
    port = int(address.rpartition(":")[2])
    path = binary()
    metadata = {"xdscp": {"role": "sidecar", "mode": "explicit"}}
    admin_file = Path(folder) / "admin"
    admin_file.unlink(missing_ok=True)
    ads = {"ads": {}, "resource_api_version": "V3"}
    config = {
        "node": {"id": "shop/pod-1", "cluster": "test", "metadata": metadata, **node},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if incremental else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xdscp"}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "xdscp",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "xdscp",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {
                                        "endpoint": {
                                            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}
                                        }
                                    }
                                ]
                            }
                        ],
                    },
                }
            ]
        },
    }
    file = Path(folder) / "envoy.json"
    file.write_text(json.dumps(config))
    arguments = ["-c", str(file), "--admin-address-path", str(admin_file), "--use-dynamic-base-id", "-l", log]
    output = (Path(folder) / "envoy.log").open("wb")
    process = await asyncio.create_subprocess_exec(path, *arguments, "--concurrency", "1", stdout=output, stderr=output)
    try:
        async with asyncio.timeout(15):
            while not admin_file.exists() or not admin_file.read_text():
                assert process.returncode is None, (Path(folder) / "envoy.log").read_text()
                await asyncio.sleep(0.02)
        async with aiohttp.ClientSession() as http:
            yield Envoy(admin_file.read_text().strip(), http)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        output.close()


@asynccontextmanager
async def backend(text):
    """An HTTP server that answers one text; its port."""

    async def answer(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def free_port():
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
