"""Where a pod lives: a network namespace with real interception, or an address on loopback.

A `Place` says how to run a process there and how to open a socket there; envoys, applications and load use nothing
else of it. Namespaces hang on a bridge that has its own namespace, so the machine's own interfaces, routes and
iptables stay as they are. The control plane is reached by a unix socket: namespaces share the file system.

    client ns --veth--.                      OUTPUT      tcp, not Envoy's user, not loopback -> 15001
    pod ns    --veth--+-- bridge ns          PREROUTING  tcp, not 15000 15006 15021 15090    -> 15006
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from examples.demo.processes import output

ENVOY_USER = 1337
"""The user whose connections are not intercepted."""

OWN_PORTS = (15000, 15006, 15021, 15090)
"""Envoy's own ports, to which inbound connections go as they are."""

NAMES = "xdscp"
FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000


class Place(Protocol):
    """Where a pod's processes run."""

    @property
    def address(self) -> str:
        """The pod's IP."""
        ...

    @property
    def mode(self) -> str:
        """`interception` or `explicit`, as in the node's metadata."""
        ...

    def command(self, *argv: str) -> list[str]:
        """`argv` to be run in this place."""
        ...

    def socket(self, info: tuple[object, ...]) -> socket.socket:
        """A stream socket that connects and binds in this place; `info` is an entry of `getaddrinfo`."""
        ...


@dataclass(frozen=True, slots=True)
class Loopback:
    """The machine itself; the pod has an address of 127.0.0.0/8 of its own."""

    address: str = "127.0.0.1"
    mode: str = "explicit"

    def command(self, *argv: str) -> list[str]:
        return list(argv)

    def socket(self, info: tuple[object, ...]) -> socket.socket:
        return stream_socket(info)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with interception."""

    name: str
    address: str
    address6: str = ""
    mode: str = "interception"

    def command(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]

    def socket(self, info: tuple[object, ...]) -> socket.socket:
        with entered(self.name):
            return stream_socket(info)


class Network:
    """A bridge and the namespaces on it; every name begins with `xdscp-<pid>-`."""

    def __init__(self, *, ipv6: bool = False, subnet: str = "10.97.0", subnet6: str = "fd97::") -> None:
        self._prefix = f"{NAMES}-{os.getpid()}-{os.urandom(2).hex()}-"
        self._ipv6 = ipv6
        self._subnet = subnet
        self._subnet6 = subnet6
        self._count = 0
        self._names: list[str] = []
        self._ports: dict[str, str] = {}

    @property
    def _bridge(self) -> str:
        return f"{self._prefix}bridge"

    async def start(self) -> None:
        """Remove what killed runs left, then make the bridge."""
        await remove_stale()
        await self._add(self._bridge)
        lines = [
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {self._subnet}.1/24 dev br0",
            "link set br0 up",
            *([f"addr add {self._subnet6}1/64 dev br0 nodad"] if self._ipv6 else []),
        ]
        await batch(self._bridge, lines)

    async def namespace(self, name: str, host: int = 0) -> Namespace:
        """A pod's namespace with interception; `host`: the last part of its address, 0 takes the next free one.

        The default route leads to the bridge, so that a connection to a virtual IP leaves and is intercepted.
        """
        self._count += 1
        host = host or self._count + 100
        pod, port = f"{self._prefix}{name}", f"veth{self._count}"
        await self._add(pod)
        self._ports[pod] = port
        # A hardware address by number: one that comes back with its address is found by those who remember it.
        peer = f"peer name eth0 address 02:00:00:00:{host >> 8:02x}:{host & 255:02x} netns {pod}"
        await batch(self._bridge, [f"link add {port} type veth {peer}", f"link set {port} master br0 up"])
        six = [f"addr add {self._subnet6}{host:x}/64 dev eth0 nodad"] if self._ipv6 else []
        routes6 = [f"-6 route add default via {self._subnet6}1"] if self._ipv6 else []
        await batch(pod, ["link set lo up", f"addr add {self._subnet}.{host}/24 dev eth0", *six, "link set eth0 up"])
        await output("ip", "-n", pod, "route", "add", "default", "via", f"{self._subnet}.1")
        for line in routes6:
            await output("ip", "-n", pod, *line.split())
        for restore in ("iptables-restore", "ip6tables-restore")[: 2 if self._ipv6 else 1]:
            await output("ip", "netns", "exec", pod, restore, "-w", stdin=interception())
        return Namespace(pod, f"{self._subnet}.{host}", f"{self._subnet6}{host:x}" if self._ipv6 else "")

    async def remove(self, namespace: Namespace) -> None:
        """Remove one pod's namespace; its processes must have been stopped."""
        self._names.remove(namespace.name)
        # The kernel removes a namespace some time after its name; its link goes now, so that the address is free.
        await output("ip", "-n", self._bridge, "link", "delete", self._ports.pop(namespace.name))
        await output("ip", "netns", "delete", namespace.name)

    async def stop(self) -> None:
        """Remove all."""
        for name in reversed(self._names):
            with contextlib.suppress(RuntimeError):
                await output("ip", "netns", "delete", name)
        self._names.clear()

    async def _add(self, name: str) -> None:
        await output("ip", "netns", "add", name)
        self._names.append(name)


def interception() -> str:
    """The nat table of a pod, in the form of iptables-restore; the same for IPv4 and IPv6."""
    ports = ",".join(map(str, OWN_PORTS))
    return "\n".join(
        [
            "*nat",
            f"-A OUTPUT -p tcp -m owner --uid-owner {ENVOY_USER} -j RETURN",
            "-A OUTPUT -o lo -j RETURN",
            "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001",
            "-A PREROUTING -i lo -j RETURN",
            f"-A PREROUTING -p tcp -m multiport --dports {ports} -j RETURN",
            "-A PREROUTING -p tcp -j REDIRECT --to-ports 15006",
            "COMMIT",
            "",
        ]
    )


def missing() -> str:
    """What this machine lacks for namespaces, as half a sentence; empty when it has all."""
    if os.geteuid() != 0:
        return "this needs root"
    lacking = [tool for tool in ("ip", "iptables-restore", "setpriv") if shutil.which(tool) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


async def remove_stale() -> None:
    """Remove namespaces of runs whose process is gone (ended by SIGKILL, say)."""
    if not FOLDER.is_dir():
        return
    for name in sorted(path.name for path in FOLDER.iterdir()):
        owner = owner_pid(name)
        if owner is not None and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(RuntimeError):  # another run may be removing it too
                await output("ip", "netns", "delete", name)


def owner_pid(name: str) -> int | None:
    """The process that made a namespace of this name; None for a namespace that is not ours."""
    parts = name.split("-")
    return int(parts[1]) if len(parts) >= 4 and parts[0] == NAMES and parts[1].isdecimal() else None


async def batch(namespace: str, lines: list[str]) -> None:
    """Commands of `ip`, one a line, run in a namespace by one process."""
    await output("ip", "-n", namespace, "-batch", "-", stdin="\n".join(lines) + "\n")


def stream_socket(info: tuple[object, ...]) -> socket.socket:
    """A socket of the family that an entry of `getaddrinfo` names."""
    family = info[0]
    assert isinstance(family, int)
    return socket.socket(family, socket.SOCK_STREAM)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread stands in a namespace within the block; do not await inside it.

    A socket stays in the namespace in which it was made.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as home, (FOLDER / name).open("rb") as there:
        set_namespace(there.fileno())
        try:
            yield
        finally:
            set_namespace(home.fileno())


def set_namespace(descriptor: int) -> None:
    """setns(2) for a network namespace; `os.setns` exists from Python 3.12 on only."""
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


LIBC = ctypes.CDLL(None, use_errno=True)
