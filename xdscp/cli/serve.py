"""`xdscp serve`: the control plane."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from typer.exceptions import TyperException


def run(
    directory: Annotated[str | None, typer.Option(metavar="PATH", help="Read and watch a folder of manifests.")] = None,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Watch a Kubernetes API server.")] = False,
    xds_listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="xDS, plaintext: loopback HOST:PORT or unix:PATH [127.0.0.1:15010]"),
    ] = None,
    admin_listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Health, metrics, debug: HOST:PORT or unix:PATH [127.0.0.1:15014]"),
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="auto|json|console", help="[auto]")] = None,
    log_level: Annotated[str | None, typer.Option(metavar="debug|info|warning|error", help="[info]")] = None,
    trust_domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Of SPIFFE identities. [cluster.local]")
    ] = None,
    cluster_domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Of Services' DNS names. [cluster.local]")
    ] = None,
    loopback_endpoints: Annotated[
        str | None,
        typer.Option(metavar="auto|allow|refuse", help="Endpoints on loopback; auto: allowed with --directory. [auto]"),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare each change with a full recompute (slow).")] = False,
) -> None:
    """Serves xDS to proxies. Each flag is also a variable: --xds-listen is XDSCP_XDS_LISTEN; the flag wins."""
    given = {
        name: value
        for name, value in {
            "directory": directory,
            "kubernetes": kubernetes or None,
            "xds_listen": xds_listen,
            "admin_listen": admin_listen,
            "log_format": log_format,
            "log_level": log_level,
            "trust_domain": trust_domain,
            "cluster_domain": cluster_domain,
            "loopback_endpoints": loopback_endpoints,
            "verify": verify or None,
        }.items()
        if value is not None
    }
    from xdscp.settings import SettingsError, settings

    try:
        read = settings(given)
    except SettingsError as error:
        raise TyperException(str(error)) from None

    # What gRPC's core writes by itself is no log line of ours; a bind that fails is told in one sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import xdscp.app

    raise typer.Exit(xdscp.app.run(read))
