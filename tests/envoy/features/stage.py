"""One mesh for all tests of a module: a control plane, one client's Envoy, and applications inside the test's process.

An example of `examples/fields` is the only policy at a time: applying one takes the place of the one before.
Addresses of examples are of the documentation's networks; a test says what stands for them here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from yarl import URL

from examples.demo.client import session
from examples.demo.control_plane import ControlPlane
from examples.demo.envoy import Envoy
from examples.demo.fleet import run_number
from examples.demo.network import Loopback
from tests.envoy import manifests
from tests.envoy.features.instance import Echo, Instance

FIELDS = Path(__file__).resolve().parents[3] / "examples" / "fields"
OUTBOUND_PORT = 15001
CLIENT = "client"

PODS = {
    # name: host, app, version, node
    "reviews-v1-a": (21, "reviews", "v1", "node-a"),
    "reviews-v1-b": (22, "reviews", "v1", "node-b"),
    "reviews-v2-a": (23, "reviews", "v2", "node-a"),
    "reviews-v2-b": (24, "reviews", "v2", "node-b"),
    "ratings-a": (31, "ratings", "v1", "node-a"),
    "ratings-b": (32, "ratings", "v1", "node-b"),
    "ratings-c": (33, "ratings", "v1", "node-c"),
    "audit": (41, "audit", "v1", "node-a"),
    "ledger-v1": (51, "ledger", "v1", "node-a"),
    "ledger-v2": (52, "ledger", "v2", "node-a"),
    "cart-v1": (61, "cart", "v1", "node-a"),
    "cart-v2": (62, "cart", "v2", "node-a"),
}
NODES = {"node-a": ("eu", "eu-1a"), "node-b": ("eu", "eu-1b"), "node-c": ("us", "us-1a")}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got; `seconds` it took."""

    status: int
    headers: object
    body: bytes
    seconds: float

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def instance(self):
        return self.json["instance"] if self.status == 200 else f"status {self.status}"

    @property
    def version(self):
        return self.json["version"] if self.status == 200 else f"status {self.status}"


class Stage:
    """Made by `start`."""

    def __init__(self):
        self._lock, self.number = run_number()
        self.folder = Path(tempfile.mkdtemp(prefix="xdscp-fields-"))
        self.directory = self.folder / "mesh"
        self.directory.mkdir()
        self.instances = {}
        self.envoys = {}
        self._markers = itertools.count(20_000)
        self._sessions = {}

    def address(self, host):
        """An address of this mesh's network."""
        return f"127.97.{self.number}.{host}"

    async def start(self, *, tcp=False):
        """Start everything; `tcp`: with the ledger, whose instances echo lines."""
        objects = [node(name, *place) for name, place in NODES.items()]
        objects += [self.pod(name) for name in PODS]
        address = self.address(11)
        client = manifests.pod(CLIENT, address, {"app": CLIENT}, annotations={"xdscp.io/explicit-address": address})
        client["spec"]["nodeName"] = "node-a"
        self.write("base", yaml.safe_dump_all([*objects, client]))
        for name, (host, app, version, _) in PODS.items():
            if app == "ledger" and tcp:
                self.instances[name] = await Echo(name, self.address(host)).start()
            elif app not in {"cart", "ledger"}:
                self.instances[name] = await Instance(name, self.address(host), version=version).start()
        self.control_plane = await ControlPlane.start(self.directory, self.folder)
        self.envoy = await self.sidecar(CLIENT, 11)
        return self

    def pod(self, name, namespace="shop"):
        """The Pod of an instance."""
        host, app, version, place = PODS[name]
        made = manifests.pod(name, self.address(host), {"app": app, "version": version}, namespace=namespace)
        made["spec"]["nodeName"] = place
        return made

    async def sidecar(self, name, host):
        """Start the Envoy of a Pod or Workload of `shop`, its own ports at an address of its own."""
        bootstrap = await self.control_plane.bootstrap(f"shop/{name}", "--mode", "explicit")
        made = await Envoy.start(name, bootstrap, self.folder, Loopback(self.address(host)))
        self.envoys[name] = made
        await made.ready()
        return made

    async def stop(self):
        await asyncio.gather(*(each.close() for each in self._sessions.values()))
        await asyncio.gather(*(each.stop() for each in self.envoys.values()), return_exceptions=True)
        await self.control_plane.stop()
        await asyncio.gather(*(each.stop() for each in self.instances.values()), return_exceptions=True)
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the folder

    def write(self, file, text):
        """Write a file at once; returns when (monotonic)."""
        prepared = self.folder / f".{file}"
        prepared.write_text(text)
        written = time.monotonic()
        prepared.replace(self.directory / f"{file}.yaml")
        return written

    async def apply(self, example, replacing=None, *, more=(), problems=0):
        """Put an example, with some texts replaced, in the place of the one before; return when all have acknowledged.

        `more`: further objects. Instances forget what they saw, and behave well.
        """
        text = (FIELDS / f"{example}.yaml").read_text()
        for old, new in (replacing or {}).items():
            assert old in text, f"{example} has no {old}"
            text = text.replace(old, str(new))
        await self.serve(text, *more)
        found = await self.control_plane.problems()
        assert len(found) == problems, found
        return found

    async def serve(self, text, *more):
        """The same with any text."""
        for each in self.instances.values():
            if isinstance(each, Instance):
                each.reset()
        # A Service of a new port: something changes for every proxy, so an acknowledgement is certain to come.
        marker = manifests.service("marker", (next(self._markers), 1))
        before = await self.control_plane.syncz()
        written = self.write("example", text + "\n---\n" + yaml.safe_dump_all([marker, *more]))
        try:
            await self.control_plane.delivered(before, written)
        except TimeoutError:
            state = {
                name: sync for types in (await self.control_plane.syncz()).values() for name, sync in types.items()
            }
            raise AssertionError(f"not acknowledged: {state}") from None

    # -- traffic

    async def ask(self, host, path="/", *, method="GET", headers=None, source="", proxy="", port=OUTBOUND_PORT, **more):
        """A request of the client's application through its Envoy; `source`: the address that it comes from.

        `proxy`: the address of another workload's Envoy.
        """
        address = proxy or self.address(11)
        if source not in self._sessions:
            self._sessions[source] = client_session(source)
        url = URL(f"http://{address}:{port}{path}", encoded=True)
        began = time.monotonic()
        try:
            async with self._sessions[source].request(
                method, url, headers={"host": host, **(headers or {})}, allow_redirects=False, **more
            ) as answer:
                body = await answer.read()
                return Answer(answer.status, answer.headers, body, time.monotonic() - began)
        except aiohttp.ClientPayloadError:
            return Answer(-1, {}, b"", time.monotonic() - began)

    async def reviews(self, path="/", **more):
        return await self.ask("reviews.shop", path, **more)

    async def ratings(self, path="/", **more):
        return await self.ask("ratings.shop", path, **more)

    async def many(self, count, call, concurrency=8):
        """`count` answers of `call(number)`, `concurrency` at a time."""
        free = asyncio.Semaphore(concurrency)

        async def one(number):
            async with free:
                return await call(number)

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def until(self, condition, timeout=5.0, what="the condition"):
        """Ask again until the (asynchronous) condition gives something true, and return that."""
        try:
            async with asyncio.timeout(timeout):
                while not (found := await condition()):
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            raise AssertionError(f"not within {timeout:g} s: {what}") from None

    async def cluster(self, name):
        """A cluster as the client's Envoy has it."""
        dump = await self.envoy.config_dump(resource="dynamic_active_clusters", name_regex=f"^{name}$")
        return next(each["cluster"] for each in dump["configs"])

    def of(self, app):
        """The instances of an application."""
        return [self.instances[name] for name, each in PODS.items() if each[1] == app]


def client_session(source=""):
    """A client that sends each request once, and keeps no cookies; `source`: the address that it binds."""
    if not source:
        return session(Loopback())
    made = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(source, 0)))
    made._retry_connection = False
    return made


def node(name, region, zone):
    """A Kubernetes Node."""
    labels = {"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
