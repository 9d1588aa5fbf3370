"""Where a server listens, or is reached: HOST:PORT, [IPv6]:PORT or unix:PATH; as text, and as a value.

Place in the flow: read by `settings` (what we listen on) and by `injector.bootstrap` (where a proxy finds us).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ALLOWED = "HOST:PORT, [IPv6]:PORT or unix:PATH"

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_UNIX_PATH_BYTES = 107
"""`sun_path` of a socket address on Linux, without its terminating NUL."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (`host`, an IP literal or a DNS name, and `port`; 0 lets the kernel pick), or a unix socket's `path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """As grpcio and our own flags write it; `parsed` reads it back."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The IP literal; None for a DNS name and a unix socket."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it: loopback, `localhost` or a unix socket."""
        return bool(self.path) or self.host == "localhost" or (self.ip is not None and self.ip.is_loopback)


def parsed(text: str) -> Address:
    """The address that `text` writes.

    Raises ValueError with one clause that says what is wrong and what is allowed.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("//"):  # unix:///run/x, as gRPC's name syntax writes an absolute path
            path = path.removeprefix("//")
        if not path or "\0" in path or len(path.encode(errors="replace")) > _UNIX_PATH_BYTES:
            raise ValueError(f"a unix socket's path has 1 to {_UNIX_PATH_BYTES} bytes; allowed: {ALLOWED}")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"the port is a number from 0 to 65535; allowed: {ALLOWED}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise ValueError(f"{host} is no IPv6 address; allowed: {ALLOWED}") from None
    if len(host) > 253 or not _HOST_NAME.fullmatch(host) or (_looks_numeric(host) and not _is_ipv4(host)):
        raise ValueError(f"the host is no IP address and no DNS name; allowed: {ALLOWED}")
    return Address(host, int(port))


def _looks_numeric(host: str) -> bool:
    return all(part.isdigit() for part in host.split("."))


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
