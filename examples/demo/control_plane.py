"""The control plane as a process: `xdscp serve --directory …`, read by its admin interface.

It listens on a unix socket for xDS, which pods in network namespaces reach as well, and on a free loopback port for
its admin interface.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from examples.demo.client import session
from examples.demo.network import Loopback
from examples.demo.processes import Process, output

Json = dict[str, Any]
QUIET = 0.06
"""Seconds without a new response after which a change is taken to be all delivered."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A change on its way to the Envoys: seconds from the write to the last ACK, and how many proxies acknowledged.

    The time is read by polling, so it is too long by at most one poll (about 3 ms), never too short.
    """

    seconds: float
    proxies: int

    @property
    def milliseconds(self) -> float:
        return self.seconds * 1000


class ControlPlane:
    """A running control plane; made by `start`."""

    def __init__(self, process: Process, xds: str, admin: str) -> None:
        self.process = process
        self.xds = xds
        """As `--xds` of `xdscp bootstrap` takes it."""
        self.admin = admin
        """Base URL of the admin interface."""
        self._session = session(Loopback())

    @classmethod
    async def start(cls, directory: Path, folder: Path, *flags: str, xds: str = "", admin: str = "") -> ControlPlane:
        """Start over `directory` and return when it is ready; the socket and the log are in `folder`.

        `xds` and `admin`: addresses to listen on, such as those of an earlier one that it succeeds.
        """
        listen = xds or f"unix:{folder / 'xds.sock'}"
        address = admin.removeprefix("http://") or f"127.0.0.1:{free_port()}"
        argv = [sys.executable, "-m", "xdscp", "serve", "--directory", str(directory)]
        argv += ["--xds-listen", listen, "--admin-listen", address, "--log-format", "json", *flags]
        process = await Process.start("xdscp", argv, folder / "xdscp.log")
        made = cls(process, listen, f"http://{address}")
        try:
            await made.ready()
        except BaseException:
            await made.stop()
            raise
        if listen.startswith("unix:"):
            Path(listen.removeprefix("unix:")).chmod(0o666)  # Envoys in namespaces run as another user
        return made

    async def ready(self, timeout: float = 20.0) -> None:
        """Return when `/readyz` says that the folder has been read."""
        async with asyncio.timeout(timeout):
            while True:
                self.process.require_running()
                with suppress(aiohttp.ClientError, OSError):
                    async with self._session.get(f"{self.admin}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.02)

    async def bootstrap(self, node: str, *flags: str) -> Json:
        """The Envoy bootstrap that `xdscp bootstrap` prints for `<namespace>/<pod>`."""
        printed = await output(sys.executable, "-m", "xdscp", "bootstrap", node, "--xds", self.xds, *flags)
        bootstrap: Json = json.loads(printed)
        return bootstrap

    async def get(self, path: str, **query: str) -> Any:
        """A page of JSON; raises ProcessEnded where there is nobody any more to give it."""
        try:
            async with self._session.get(self.admin + path, params=query) as answer:
                answer.raise_for_status()
                return await answer.json()
        except aiohttp.ClientConnectionError:
            await self.process.ending()
            self.process.require_running()
            raise

    async def metrics(self) -> dict[str, float]:
        """The samples of `/metrics` by name with labels, as Prometheus writes them."""
        async with self._session.get(f"{self.admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    async def syncz(self) -> dict[str, Json]:
        """Nodes by id, each with its types."""
        listed: dict[str, Json] = await self.get("/syncz")
        return {node: types for node, types in listed.items() if node != "problems"}

    async def problems(self) -> list[Json]:
        """The findings: `{kind, namespace, name, reason, message, file, document, field}` each."""
        listed: list[Json] = (await self.get("/syncz"))["problems"]
        return listed

    async def delivered(self, before: Mapping[str, Json], written: float, timeout: float = 10.0) -> Delivery:
        """Wait until what was written at `written` (monotonic) is sent and acknowledged everywhere.

        `before`: the answer of `syncz` from before the write.
        """
        last, seen = written, before
        async with asyncio.timeout(timeout):
            while True:
                now = await self.syncz()
                moment = time.monotonic()
                if now != seen:
                    last, seen = moment, now
                changed = [node for node in now if nonces(now[node]) != nonces(before.get(node, {}))]
                if changed and acknowledged(now) and moment - last > QUIET:
                    return Delivery(last - written, len(changed))
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        await self._session.close()
        await self.process.stop(grace=6.0)


def nonces(types: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The last nonce sent of each type of a node."""
    return {name: sync["nonce_sent"] for name, sync in types.items()}


def acknowledged(nodes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> bool:
    """No node has a response that waits for its answer, or refused one."""
    return all(sync["status"] in {"SYNCED", "IDLE"} for types in nodes.values() for sync in types.values())


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on now."""
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
