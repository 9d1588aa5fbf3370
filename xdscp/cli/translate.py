"""`xdscp translate`: what a pod would be served from a folder, without serving."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from xdscp.cli.arguments import Directory, choice, folder, pod


def run(
    directory: Directory,
    node: Annotated[str, typer.Option(metavar="NS/POD", help="The pod whose resources are printed.")],
    type: Annotated[str | None, typer.Option(metavar="TYPE", help="Only cds, eds, lds, rds, vhds or sds.")] = None,
) -> None:
    """Prints the resources of a pod as JSON, each with its version and the objects that it comes from."""
    key = pod(node, "--node")
    if type is not None:
        choice("--type", type, ("cds", "eds", "lds", "rds", "vhds", "sds"))
    path = folder(directory)

    import xdscp.app
    from xdscp.admin.rendering import Rendered, rendered_resource

    found = xdscp.app.translation(path, key)
    if found is None:
        print(f"xdscp: no pod {key} is in {path}", file=sys.stderr)
        raise typer.Exit(1)
    entries = [Rendered(*entry) for entry in found if type is None or entry[0].type == type]
    print(json.dumps([rendered_resource(entry) for entry in entries], indent=2))
