"""`xdscp bootstrap`: the bootstrap of a pod's proxy, on standard output."""

from __future__ import annotations

import json
from typing import Annotated, cast

import typer

from xdscp import address
from xdscp.address import Address
from xdscp.cli.arguments import choice, pod, read, refusal
from xdscp.injector.bootstrap import Mode, Ports, Proxy, Role, envoy_bootstrap, grpc_bootstrap


def run(
    node: Annotated[str, typer.Argument(metavar="NS/POD", help="The pod whose proxy is to start.")],
    mode: Annotated[
        str, typer.Option(metavar="interception|explicit", help="How traffic comes to Envoy.")
    ] = "interception",
    role: Annotated[str | None, typer.Option(metavar="sidecar|gateway|grpc", help="[by --format]")] = None,
    xds: Annotated[str, typer.Option(metavar="ADDRESS", help="The control plane.")] = "127.0.0.1:15010",
    format: Annotated[str, typer.Option(metavar="envoy|grpc", help="For Envoy, or for a gRPC client.")] = "envoy",
    admin_port: Annotated[str, typer.Option(metavar="PORT", help="Envoy's admin; 0: any.")] = "15000",
    readiness_port: Annotated[
        str | None, typer.Option(metavar="PORT|off", help="[15021; off with admin port 0]")
    ] = None,
    prometheus_port: Annotated[
        str | None, typer.Option(metavar="PORT|off", help="[15090; off with admin port 0]")
    ] = None,
    delta: Annotated[bool, typer.Option("--delta/--sotw", help="The variant of xDS.")] = True,
) -> None:
    """Prints the bootstrap, as JSON, of the proxy (or the gRPC client) in a pod."""
    choice("--format", format, ("envoy", "grpc"))
    choice("--mode", mode, ("interception", "explicit"))
    roles = ("grpc",) if format == "grpc" else ("sidecar", "gateway")
    key = pod(node, "NS/POD")
    server = read("--xds", xds, _reachable)
    if format == "grpc":
        choice("--role", role or "grpc", roles)
        # A gRPC client dials by itself: nothing is intercepted.
        bootstrap = grpc_bootstrap(Proxy(key, "grpc", "explicit"), server)
    else:
        proxy = Proxy(key, cast("Role", choice("--role", role or "sidecar", roles)), cast("Mode", mode))
        admin = read("--admin-port", admin_port, _port)
        named = [("--readiness-port", readiness_port, 15021), ("--prometheus-port", prometheus_port, 15090)]
        if admin == 0:
            for flag, value, _ in named:
                if value not in {None, "off"}:
                    raise refusal(flag, value, "off, since it is answered from the admin port and that is 0")
            named = [(flag, "off", 0) for flag, _, _ in named]
        readiness, prometheus = (read(flag, str(value or default), _port_or_off) for flag, value, default in named)
        host = "127.0.0.1" if mode == "explicit" else "0.0.0.0"  # noqa: S104 -- the kubelet comes from outside of the pod
        ports = Ports(admin, readiness, prometheus, host)
        bootstrap = envoy_bootstrap(proxy, server, ports, "delta" if delta else "sotw")
    print(json.dumps(bootstrap, indent=2))


def _reachable(text: str) -> Address:
    found = address.parsed(text)
    if not found.path and found.port == 0:
        raise ValueError(f"a proxy needs the port that the control plane printed; allowed: {address.ALLOWED}")
    return found


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise ValueError("allowed: a number from 0 to 65535")
    return int(text)


def _port_or_off(text: str) -> int | None:
    if text == "off":
        return None
    try:
        return _port(text)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from None
