"""A control plane over a folder, gRPC servers that know no xDS, and real gRPC clients that find them by it.

Every world has a network of its own in 127.97.0.0/16. The servers run in this process, each client in its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import asynccontextmanager

import grpc
import yaml

from examples.demo.control_plane import ControlPlane, free_port
from examples.demo.fleet import run_number
from tests.envoy import manifests
from tests.settling import settled

PORT = 9000
METHOD = "/shop.v1.Cart/AddItem"
CLIENT = "shop/client"


class Backend(grpc.GenericRpcHandler):
    """A gRPC server that answers every method with its name, or fails with `code`."""

    def __init__(self, name):
        self.name = name
        self.code = None
        self.delay = 0.0
        self.seen = []
        self.server = grpc.aio.server()

    async def start(self, address, port=PORT):
        self.server.add_generic_rpc_handlers([self])
        assert self.server.add_insecure_port(f"{address}:{port}") == port
        await self.server.start()
        return self

    def service(self, handler_call_details):
        method = handler_call_details.method

        async def answer(request, context):
            self.seen.append((method, dict(context.invocation_metadata())))
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.code is not None:
                await context.abort(self.code, "as told")
            return self.name.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


class Client:
    """The process of a client; made by `World.client`."""

    def __init__(self, child):
        self._child = child

    async def _do(self, **command):
        command = {"path": METHOD, "metadata": {}, "timeout": 5.0, "wait": False, **command}
        self._child.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(60):
            return json.loads(await self._child.stdout.readline())

    async def call(self, target, count=1, **rest):
        """The outcomes of RPCs to `xds:///target`; `rest`: path, metadata, timeout, wait (for a server)."""
        return await self._do(do="call", target=f"xds:///{target}", count=count, **rest)

    async def together(self, *targets, timeout=20.0):
        """The outcomes of one RPC to each target, all sent at once, by target."""
        names = [f"xds:///{target}" for target in targets]
        outcomes = await self._do(do="together", targets=names, timeout=timeout)
        return dict(zip(targets, outcomes, strict=True))

    async def one(self, target, **rest):
        """Server of one RPC, or the code with which it failed."""
        (only,) = await self.call(target, **rest)
        return only["instance"] if only["code"] == "OK" else only["code"]

    async def spread(self, target, count, **rest):
        """How often which server answered, or which code came."""
        return Counter(each["instance"] or each["code"] for each in await self.call(target, count, **rest))

    @asynccontextmanager
    async def load(self, *targets):
        """RPCs to all targets within the block; the list holds their outcomes afterwards. None may fail."""
        outcomes = []
        names = [f"xds:///{target}" for target in targets]
        await self._do(do="load", targets=names)
        try:
            yield outcomes
        finally:
            outcomes += await self._do(do="stop")
        failed = [each for each in outcomes if each["code"] != "OK"]
        assert not failed, f"{len(failed)} of {len(outcomes)} lost: {failed[:3]}"
        assert len(outcomes) > 10

    async def stop(self):
        if self._child.returncode is None:
            self._child.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await self._child.wait()
            except TimeoutError:
                self._child.kill()
                await self._child.wait()


class World:
    """Folder, control plane, servers and clients of some tests."""

    def __init__(self, folder):
        self.folder = folder
        self.directory = folder / "mesh"
        self.directory.mkdir()
        self.control_plane = None
        self.backends = {}
        self._lock, self._number = run_number()
        self._clients = []

    def address(self, host):
        """An address of this world's network."""
        return f"127.97.{self._number}.{host}"

    # -- the folder

    def put(self, file, *objects):
        """Write a file of manifests at once."""
        prepared = self.folder / f".{file}"
        prepared.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        prepared.replace(self.directory / f"{file}.yaml")

    def drop(self, file):
        """Delete a file of manifests."""
        (self.directory / f"{file}.yaml").unlink()

    def pod(self, name, host, app, *, version="", namespace="shop", **rest):
        """A pod of an application, at an address of this world."""
        labels = {"app": app, **({"version": version} if version else {})}
        return manifests.pod(name, self.address(host), labels, namespace=namespace, **rest)

    # -- processes

    async def start(self, *, xds=""):
        """Start the control plane, or start it again after `end`; `xds`: where it listens, left out: a free port."""
        former = self.control_plane
        listen = former.xds if former else xds or f"127.0.0.1:{free_port()}"
        admin = former.admin if former else ""
        self.control_plane = await ControlPlane.start(self.directory, self.folder, xds=listen, admin=admin)
        return self

    async def backend(self, name, host):
        """A server at an address of this world; returns when it serves."""
        self.backends[name] = made = await Backend(name).start(self.address(host))
        return made

    async def child(self, module, *arguments, node=CLIENT):
        """A process that takes its configuration by xDS as `node`."""
        bootstrap = await self.control_plane.bootstrap(node, "--role", "grpc", "--format", "grpc")
        with (self.folder / "children.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=1 << 26,
                env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
            )

    async def client(self, node=CLIENT):
        """A client that speaks to the control plane as `node`."""
        made = Client(await self.child("tests.protocol.proxyless_client", node=node))
        self._clients.append(made)
        return made

    # -- waiting and judging

    async def until(self, condition, timeout=5.0):
        """Ask again until the condition is true."""
        async with asyncio.timeout(timeout):
            while not await condition():
                await asyncio.sleep(0.02)

    async def settled(self, quiet=0.1, timeout=10.0):
        """Return when all that the folder says is acknowledged by all, and has been for a moment."""
        await settled(self.control_plane, quiet, timeout)

    async def refused(self):
        """What clients refused, by the control plane's metrics and by `/syncz`; nothing, if all is well."""
        metrics = await self.control_plane.metrics()
        counted = {name: count for name, count in metrics.items() if name.startswith("xdscp_nacks_total") and count}
        assert any(name.startswith("xdscp_nacks_total") for name in metrics), "the metric is named otherwise"
        synced = await self.control_plane.syncz()
        errors = {
            f"{node} {kind}": sync["last_error"]
            for node, kinds in synced.items()
            for kind, sync in kinds.items()
            if sync["last_error"]
        }
        return {**counted, **errors}

    async def end(self):
        """Stop the control plane; `start` starts its successor at the same addresses."""
        await self.control_plane.stop()

    async def stop(self):
        """Stop everything."""
        await asyncio.gather(*(client.stop() for client in self._clients))
        if self.control_plane is not None:
            await self.control_plane.stop()
        await asyncio.gather(*(backend.server.stop(0) for backend in self.backends.values()))
        self._lock.close()


@asynccontextmanager
async def world(folder):
    """A world that is not started; in the end no client may have refused anything."""
    made = World(folder)
    try:
        yield made
        assert await made.refused() == {}
    finally:
        await made.stop()
