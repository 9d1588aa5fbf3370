"""A mesh in network namespaces: every pod has one, with the iptables of a real pod and an Envoy where it has a sidecar.

Applications run in this process: a socket belongs to the namespace in which it was made, so what they send and receive
is intercepted as anything else of their pod. Only Envoys and the control plane are processes of their own.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path

import yaml

from examples.demo.application import Identity, Service, serve_echo, serve_http
from examples.demo.control_plane import ControlPlane
from examples.demo.envoy import Envoy
from examples.demo.load import Caller
from examples.demo.network import Network
from examples.demo.processes import output
from tests.settling import settled
from xdscp.address import parsed
from xdscp.injector.bootstrap import Ports, Proxy, envoy_bootstrap
from xdscp.resources.core import Key

READ = 65536


async def ipv6_missing():
    """Why pods cannot have IPv6 addresses on this machine; empty when they can."""
    if not Path("/proc/net/if_inet6").exists():
        return "the kernel has no IPv6"
    if shutil.which("ip6tables-restore") is None:
        return "not installed: ip6tables-restore"
    network = Network(ipv6=True)
    try:
        await network.start()
        await network.namespace("probe")
    except RuntimeError as error:
        return str(error)
    finally:
        await network.stop()
    return ""


class Mesh:
    """The namespaces, applications, Envoys and the folder of manifests; `ipv6`: pods have two addresses."""

    def __init__(self, *, ipv6):
        self.ipv6 = ipv6
        self.network = Network(ipv6=ipv6)
        self.folder = Path(tempfile.mkdtemp(prefix="xdscp-namespaces-"))
        self.folder.chmod(0o755)  # Envoys run as another user
        self.directory = self.folder / "mesh"
        self.directory.mkdir()
        self.places = {}
        self.envoys = {}
        self.control_plane = None
        self._servers = []
        self._transports = []

    # -- the folder

    def put(self, file, *objects):
        """Write a file of manifests at once: readers see the old or the new text, never a part."""
        prepared = self.folder / f".{file}"
        prepared.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        prepared.replace(self.directory / f"{file}.yaml")

    def drop(self, file):
        """Delete a file of manifests."""
        (self.directory / f"{file}.yaml").unlink()

    # -- places and what runs there

    async def place(self, name, host, *, intercepted=True):
        """A namespace with the address 10.97.0.`host`; without interception it is a machine that knows no mesh."""
        made = self.places[name] = await self.network.namespace(name, host)
        if not intercepted:
            for tables in ("iptables", "ip6tables")[: 1 + self.ipv6]:
                await output("ip", "netns", "exec", made.name, tables, "-w", "-t", "nat", "-F")
        return made

    def listening(self, place, port, kind=socket.SOCK_STREAM):
        """A socket that listens on all addresses of a place."""
        info = (socket.AF_INET6 if self.ipv6 else socket.AF_INET, kind)
        made = self.places[place].socket(info) if kind == socket.SOCK_STREAM else datagrams(self.places[place], info[0])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.ipv6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::" if self.ipv6 else "0.0.0.0", port))
        made.setblocking(False)
        return made

    async def http(self, place, port, instance=""):
        """An application that answers HTTP; returned to ask for its counters."""
        service = Service(Identity(place, str(port), instance or f"{place}:{port}"))
        listening = self.listening(place, port)
        self._servers.append(await asyncio.start_server(lambda r, w: serve_http(service.answer, r, w), sock=listening))
        return service

    async def echo(self, place, port, instance=""):
        """An application that gives back lines, behind its name; returns the peers that it saw."""
        identity, peers = Identity(place, "", instance or f"{place}:{port}"), []

        async def serve(reader, writer):
            peers.append(writer.get_extra_info("peername")[0].removeprefix("::ffff:"))
            await serve_echo(identity, reader, writer)

        self._servers.append(await asyncio.start_server(serve, sock=self.listening(place, port)))
        return peers

    async def datagram_echo(self, place, port):
        """An application that gives back datagrams; returns the peers that it saw."""
        peers = []

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                peers.append(address[0].removeprefix("::ffff:"))
                self.transport.sendto(data, address)

        loop = asyncio.get_running_loop()
        made, _ = await loop.create_datagram_endpoint(Echo, sock=self.listening(place, port, socket.SOCK_DGRAM))
        self._transports.append(made)
        return peers

    async def start(self):
        """Start network and control plane."""
        await self.network.start()
        self.control_plane = await ControlPlane.start(self.directory, self.folder)

    async def envoy(self, place, namespace="shop", role="sidecar"):
        """Start the Envoy of a place and return when it has its configuration."""
        proxy = Proxy(Key(namespace, place), role)
        bootstrap = envoy_bootstrap(proxy, parsed(self.control_plane.xds), Ports())
        made = self.envoys[place] = await Envoy.start(place, bootstrap, self.folder, self.places[place])
        await made.ready()
        return made

    # -- clients

    def caller(self, place, address, port=80, host=""):
        """A client in a place that dials an address, keeps connections, and names a host."""
        url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        return Caller(self.places[place], url, host)

    async def call(self, place, address, port=80, host="", path="/"):
        """The outcome of one request on a connection of its own."""
        async with self.caller(place, address, port, host) as caller:
            return await caller.call(path)

    async def dialled(self, place, address, port):
        """A TCP connection from a place: (reader, writer)."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.places[place].socket((family,))
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (address, port))
        except BaseException:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    async def line(self, place, address, port, text="hello", timeout=5.0):
        """What comes back for a line: the echo's answer, or "" where the connection is closed without one."""
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await self.dialled(place, address, port)
                try:
                    writer.write(f"{text}\n".encode())
                    return (await reader.readline()).decode().strip()
                finally:
                    writer.close()
        except ConnectionError:
            return ""

    async def datagram(self, place, address, port, text="hello", timeout=5.0):
        """What comes back for a datagram."""
        loop = asyncio.get_running_loop()
        made = datagrams(self.places[place], socket.AF_INET)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, (address, port))
            async with asyncio.timeout(timeout):
                await loop.sock_sendall(made, text.encode())
                return (await loop.sock_recv(made, READ)).decode()
        finally:
            made.close()

    # -- waiting

    async def until(self, condition, timeout=5.0):
        """Ask again until the condition, a function or a coroutine function, is true."""
        async with asyncio.timeout(timeout):
            while True:
                found = condition()
                if await found if isawaitable(found) else found:
                    return
                await asyncio.sleep(0.02)

    async def settled(self, quiet=0.15, timeout=10.0):
        """Return when all that the folder says is acknowledged by all, and has been for a moment."""
        await settled(self.control_plane, quiet, timeout)

    async def stop(self):
        """Stop everything and remove the namespaces."""
        await asyncio.gather(*(envoy.stop() for envoy in self.envoys.values()), return_exceptions=True)
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        if self.control_plane is not None:
            await self.control_plane.stop()
        with suppress(RuntimeError):
            await self.network.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def datagrams(place, family):
    """A UDP socket that belongs to a place."""
    from examples.demo.network import entered

    with entered(place.name):
        return socket.socket(family, socket.SOCK_DGRAM)
