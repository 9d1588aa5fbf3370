"""A mesh on loopback: a folder of manifests, the control plane as a process, applications, and Envoys behind recorders.

Every mesh has a network of its own in 127.97.0.0/16, so that tests may run side by side. Applications stand at the
addresses of their pods without a sidecar: what is tested is the client's Envoy.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from examples.demo.control_plane import ControlPlane
from examples.demo.envoy import Envoy, binary, bound
from examples.demo.fleet import CONTROL_PORT, OUTBOUND_PORT, run_number
from examples.demo.load import Caller
from examples.demo.network import Loopback
from examples.demo.processes import Process
from tests.envoy import manifests
from tests.envoy.recorder import Tap
from tests.settling import settled
from xdscp.address import parsed
from xdscp.injector.bootstrap import Ports, Proxy, envoy_bootstrap
from xdscp.resources.core import Key

PORT = 8080
CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a load."""

    sent: int
    unanswered: int
    seconds: float
    statuses: dict[str, int]
    instances: dict[str, list[float]]
    """Instance to: answers, when the first and the last of them were asked for (monotonic)."""
    failures: list[list[object]]
    """Status, when sent and answered (monotonic), and the body of what was not 200."""
    slowest: float

    def require_none_lost(self, at_least=0):
        """Fail with what was lost."""
        lost = f"{self.instances} {len(self.failures) + self.unanswered} of {self.sent} lost: {self.statuses} {self.failures[:5]}"
        assert not self.failures and not self.unanswered, lost
        assert self.sent >= at_least, f"only {self.sent} requests were sent"


class Load:
    """A load under way; made by `Mesh.load`."""

    def __init__(self, child):
        self._child = child
        self.report = None
        self.started = time.monotonic()

    async def last(self, count, rate):
        """Return when about `count` requests were sent since the start."""
        await asyncio.sleep(max(0.0, self.started + count / rate - time.monotonic()))

    async def stop(self):
        """Stop, wait for all answers, and return the report."""
        if self.report is None:
            self._child.stdin.close()
            line = (await self._child.stdout.read()).splitlines()[-1]
            await self._child.wait()
            self.report = Report(**json.loads(line))
        return self.report

    def kill(self):
        """End it without a report."""
        if self._child.returncode is None:
            self._child.kill()


class Mesh:
    """Control plane, applications and Envoys of one test."""

    def __init__(self, folder, shared, *, incremental):
        self.folder = folder
        self.directory = shared.directory
        self._shared = shared
        self._objects = {}
        self._own = False
        self._places = {}
        self.incremental = incremental
        self.applications = {}
        self.envoys = {}
        self.taps = {}
        self.control_plane = None
        self._lock, self.number = run_number()
        self._loads = []
        shared.clear()
        self.put(CLIENT, *self.client_pod(CLIENT, 11))

    def address(self, host):
        """An address of this mesh's network."""
        return f"127.97.{self.number}.{host}"

    # -- the folder

    def put(self, file, *objects):
        """Write a file of manifests at once: readers see the old or the new text, never a part."""
        prepared = self.folder / f".{file}"
        prepared.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        written = time.monotonic()
        prepared.replace(self.directory / f"{file}.yaml")
        self._objects[file] = objects
        return written

    def recreate(self, file, *objects):
        """Delete a file of manifests and write it anew, with nothing in between."""
        prepared = self.folder / f".{file}"
        prepared.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        target = self.directory / f"{file}.yaml"
        target.unlink()
        prepared.replace(target)
        self._objects[file] = objects

    def drop(self, file):
        """Delete a file of manifests."""
        del self._objects[file]
        (self.directory / f"{file}.yaml").unlink()

    def client_pod(self, name, host):
        """The pod of a client's Envoy."""
        address = self.address(host)
        return [manifests.pod(name, address, {"app": name}, annotations={"xdscp.io/explicit-address": address})]

    # -- processes

    async def start(self):
        """Have the control plane run, anew after it was ended; return when it has read the folder."""
        former = self.control_plane
        if former is None:
            self.control_plane = self._shared.current()
            await self.control_plane.ready()
        else:
            self.control_plane = await ControlPlane.start(
                self.directory, self.folder, xds=former.xds, admin=former.admin
            )
            self._own = True
        await self.until(self._read, 20.0)
        return self

    async def _read(self):
        """Whether the control plane holds what the folder says, or tells why not, and nothing of an earlier test."""
        wanted = {(each["kind"], each["metadata"]["name"]) for objects in self._objects.values() for each in objects}
        held = {(each["kind"], each["name"]) for each in await self.control_plane.get("/debug/objects")}
        refused = {(each["kind"], each["name"]) for each in await self.control_plane.problems()}
        return held <= wanted and wanted - held <= refused

    async def end(self, *, kill=False):
        """Stop the control plane by SIGTERM, or by SIGKILL; returns the exit code."""
        process = self.control_plane.process
        code = await (process.kill() if kill else process.stop(grace=8.0))
        await self.control_plane.stop()  # its connections to the admin interface
        return code

    async def application(self, name, host, *, service="app", version="", control=False, port=PORT):
        """Start an application at the pod's address; returns that address when it answers.

        `host` is the last part of an address of this mesh, or any other address.
        """
        address = self.address(host) if isinstance(host, int) else host
        argv = [sys.executable, "-m", "examples.demo.application", "--service", service, "--version", version]
        argv += ["--instance", name, "--address", address, "--port", str(port)]
        if control:
            argv += ["--control", f"{address}:{CONTROL_PORT}"]
        self._places[name] = address, port
        log = self.folder / f"{name}.log"
        self.applications[name] = process = await Process.start(name, argv, log)
        async with asyncio.timeout(15):
            while '"main"' not in log.read_text():
                process.require_running()
                await asyncio.sleep(0.01)
        return address

    async def behave(self, host, **changes):
        """Change what the application at an address, started with `control`, does with requests."""
        async with aiohttp.ClientSession() as http:
            url = f"http://{self.address(host)}:{CONTROL_PORT}/"
            async with http.post(url, data=json.dumps(changes)) as answer:
                answer.raise_for_status()

    async def envoy(self, name=CLIENT, host=11, *, ready=True, concurrency=2, flags=("--disable-hot-restart",)):
        """Start a client's Envoy behind a recorder of its own; return when it has its configuration."""
        label = f"{name}-{len(self.taps)}"
        tap = self.taps[label] = await Tap(self.control_plane.xds, label).start()
        proxy = Proxy(Key(manifests.NAMESPACE, name), mode="explicit")
        variant = "delta" if self.incremental else "sotw"
        made = envoy_bootstrap(proxy, parsed(tap.address), Ports(15000, None, None), variant)
        envoy = await start_envoy(label, made, self.folder, Loopback(self.address(host)), concurrency, flags)
        envoy.tap = tap
        self.envoys[label] = envoy
        if ready:
            try:
                await envoy.ready()
            except TimeoutError:
                self.explain(label)
                raise
        return envoy

    def explain(self, label):
        """Print what passed between an Envoy and the control plane, and the ends of their logs."""
        for one in self.taps[label].log[-40:]:
            print(str(one)[:400])
        print(self.envoys[label].process.tail(10))
        print(self.control_plane.process.tail(10))

    @asynccontextmanager
    async def load(self, *hosts, rate=1000, client=11, path="/"):
        """Constant load through the client's Envoy within the block, sent by another process."""
        argv = [sys.executable, "-m", "tests.envoy.load", self.address(client), str(OUTBOUND_PORT)]
        argv += ["--rate", str(rate), "--path", path, *(part for host in hosts for part in ("--host", host))]
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        load = Load(child)
        self._loads.append(load)
        async with asyncio.timeout(15):
            assert await child.stdout.readline() == b"running\n"
        load.started = time.monotonic()
        yield load
        await load.stop()

    async def ask(self, host, count=60, *, client=11):
        """Send some requests from this process, eight at a time, and return the report."""
        async with Caller(Loopback(), f"http://{self.address(client)}:{OUTBOUND_PORT}", host) as caller:
            return await caller.send(count)

    # -- waiting

    async def settled(self, quiet=0.1, timeout=10.0):
        """Return when all that the folder says is acknowledged by all, and has been for a moment."""
        await settled(self.control_plane, quiet, timeout, connected=True)

    async def until(self, condition, timeout=5.0):
        """Ask again until the condition is true; returns the seconds that it took."""
        began = time.monotonic()
        async with asyncio.timeout(timeout):
            while not await condition():
                await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def retire(self, *names):
        """Stop applications once no connection to them is open, as a pod ends after its grace period."""
        for name in names:
            process, address = self.applications[name], self._places[name]
            await self.until(lambda address=address: unused(address), 15.0)
            await process.stop()

    async def stop(self):
        """Stop everything."""
        for load in self._loads:
            load.kill()
        await asyncio.gather(*(envoy.stop() for envoy in self.envoys.values()), return_exceptions=True)
        for tap in self.taps.values():
            await tap.stop()
        if self.control_plane is not None and self._own:
            await self.control_plane.stop()
        elif self.control_plane is not None:
            await self.control_plane._session.close()  # only ours: others go on to use the control plane
        self._shared.clear()
        await asyncio.gather(*(each.stop() for each in self.applications.values()), return_exceptions=True)
        self._lock.close()

    def broken(self):
        """What did not hold on any stream."""
        return [
            *(f"{name}: {each}" for name, tap in self.taps.items() for each in tap.invariants.broken),
            *(
                f"{name}: M4: the endpoints of {each} never followed its cluster"
                for name, tap in self.taps.items()
                for each in tap.invariants.overdue()
            ),
        ]


async def unused(place):
    """Whether no connection to an address and port is established."""
    address, port = place
    local = "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + f":{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return not any(row[1] == local and row[3] == "01" for row in rows)


async def start_envoy(name, bootstrap, folder, place, concurrency, flags):
    """An Envoy process with as many workers as a test wants."""
    configuration = Path(folder) / f"{name}.json"
    configuration.write_text(json.dumps(bound(bootstrap, place.address), indent=1))
    argv = [str(binary()), "--config-path", str(configuration), "--log-level", "info"]
    argv += ["--concurrency", str(concurrency), *flags]
    process = await Process.start(f"envoy {name}", argv, Path(folder) / f"{name}.log")
    return Envoy(process, place, f"http://{place.address}:15000")
