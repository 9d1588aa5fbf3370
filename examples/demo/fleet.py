"""The pods of a folder as real processes: an application and an Envoy for each, in namespaces or on loopback.

Built by `Fleet.start`; scenes add and remove pods, ask applications and Envoys, and send load from a pod.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from examples.demo.client import session
from examples.demo.control_plane import ControlPlane, Json
from examples.demo.envoy import Envoy
from examples.demo.load import Caller
from examples.demo.network import Loopback, Namespace, Network, Place
from examples.demo.processes import Process
from examples.demo.shop import SOURCE, PodSpec, Shop

CONTROL_PORT = 15999
OUTBOUND_PORT = 15001
FOLDERS = "xdscp-demo"


class Application:
    """The process of a pod's application."""

    def __init__(self, process: Process, place: Place, control: str) -> None:
        self.process = process
        self._control = control
        self._session = session(place)

    @classmethod
    async def start(cls, pod: PodSpec, place: Place, folder: Path, *flags: str) -> Application:
        """Start it; in a namespace it listens on the pod's address, else on the address behind the pod's Envoy."""
        explicit = place.mode == "explicit"
        address = pod.app_address if explicit else pod.ip
        control = f"{pod.app_address if explicit else '127.0.0.1'}:{CONTROL_PORT}"
        argv = [sys.executable, "-m", "examples.demo.application", "--service", pod.service, "--version", pod.version]
        argv += ["--instance", pod.name, "--address", address, "--port", str(pod.port), "--control", control, *flags]
        process = await Process.start(f"application {pod.name}", place.command(*argv), folder / f"{pod.name}.app.log")
        return cls(process, place, f"http://{control}/")

    async def ready(self, timeout: float = 15.0) -> None:
        async with asyncio.timeout(timeout):
            while True:
                self.process.require_running()
                with suppress(aiohttp.ClientError, OSError):
                    await self.counters()
                    return
                await asyncio.sleep(0.02)

    async def counters(self) -> Json:
        """`{fail_rate, status, delay, received, failed}` now."""
        async with self._session.get(self._control) as answer:
            counters: Json = await answer.json()
            return counters

    async def behave(self, **changes: Any) -> None:
        """Change `fail_rate` (of 1.0), `status` and `delay` (seconds); counters may be set too."""
        async with self._session.post(self._control, data=json.dumps(changes)) as answer:
            answer.raise_for_status()

    async def stop(self) -> None:
        await self._session.close()
        await self.process.stop()


@dataclass(slots=True)
class Pod:
    """A running pod."""

    spec: PodSpec
    place: Place
    application: Application
    envoy: Envoy

    @property
    def address(self) -> str:
        """Address and port under which other Envoys know it."""
        return f"{self.spec.ip}:{self.spec.port}"


class Fleet:
    """Control plane, pods and network of one run."""

    def __init__(self, folder: Path, shop: Shop, network: Network | None, lock: socket.socket | None) -> None:
        self.folder = folder
        self.shop = shop
        self.pods: dict[str, Pod] = {}
        self.control_plane: ControlPlane
        self._network = network
        self._lock = lock
        self._control_plane_log = folder / "xdscp.log"

    @classmethod
    def prepared(cls, mode: str, source: Path = SOURCE) -> Fleet:
        """A fleet that is not started, over a copy of `source`; `mode`: `interception` or `explicit`."""
        remove_stale_folders()
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}-{os.getpid()}-"))
        folder.chmod(0o755)  # Envoys in namespaces run as another user
        if mode == "interception":
            network, lock, addresses = Network(), None, {"127.97.0.": "10.97.0."}
        else:
            lock, number = run_number()
            network, addresses = None, {"127.97.0.": f"127.97.{number}.", "127.98.0.": f"127.98.{number}."}
        return cls(folder, Shop.copied(source, folder / "shop", addresses), network, lock)

    @property
    def mode(self) -> str:
        return "interception" if self._network else "explicit"

    async def start(self, *flags: str) -> None:
        """Start the control plane (with `flags`) and all pods of the folder; return when every Envoy is ready."""
        if self._network:
            await self._network.start()
        self.control_plane = await ControlPlane.start(self.shop.folder, self.folder, *flags)
        try:
            async with asyncio.TaskGroup() as tasks:
                for spec in self.shop.pods():
                    tasks.create_task(self.add(spec))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed  # the others were cancelled or fail for the same reason

    async def add(self, spec: PodSpec) -> Pod:
        """Start a pod's processes and return when its Envoy has its configuration."""
        place = await self._place(spec)
        bootstrap = await self.control_plane.bootstrap(spec.node, "--mode", self.mode)
        application = await Application.start(spec, place, self.folder)
        pod = Pod(spec, place, application, await Envoy.start(spec.name, bootstrap, self.folder, place))
        self.pods[spec.name] = pod
        await asyncio.gather(application.ready(), pod.envoy.ready())
        return pod

    async def remove(self, name: str) -> None:
        """Stop a pod's processes, Envoy first, and remove its namespace."""
        pod = self.pods.pop(name)
        await pod.envoy.stop()
        await pod.application.stop()
        if self._network and isinstance(pod.place, Namespace):
            await self._network.remove(pod.place)

    def caller(self, client: str, service: str) -> Caller:
        """A client in the pod `client` that calls a service as its application would."""
        place = self.pods[client].place
        host = f"{service}.shop"
        if self.mode == "explicit":
            return Caller(place, f"http://{place.address}:{OUTBOUND_PORT}", host)
        return Caller(place, f"http://{self.shop.addresses()[service]}", host)

    async def stop(self, *, keep_logs: bool = False) -> None:
        """Stop everything that runs and remove the namespaces, and the folder unless its logs are to be read."""
        stopping = [
            asyncio.ensure_future(part.stop()) for pod in self.pods.values() for part in (pod.envoy, pod.application)
        ]
        await asyncio.gather(*stopping, return_exceptions=True)
        self.pods.clear()
        if hasattr(self, "control_plane"):
            await self.control_plane.stop()
        if self._network:
            await self._network.stop()
        if self._lock:
            self._lock.close()
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _place(self, spec: PodSpec) -> Place:
        if self._network:
            return await self._network.namespace(spec.name, int(spec.ip.rpartition(".")[2]))
        return Loopback(spec.ip)


def run_number() -> tuple[socket.socket, int]:
    """A number from 1 to 254 that no other run on this machine has, and the socket that keeps it taken."""
    for attempt in range(254):
        number = (os.getpid() + attempt) % 254 + 1
        with suppress(OSError):
            return socket.create_server((f"127.97.{number}.254", OUTBOUND_PORT)), number
    raise RuntimeError("254 demos run on this machine already; stop one")


def remove_stale_folders() -> None:
    """Remove the folders of runs whose process is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)
