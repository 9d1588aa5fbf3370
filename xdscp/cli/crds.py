"""`xdscp crds`: the CustomResourceDefinitions of our kinds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from xdscp.cli.arguments import refusal

Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write a file each there; otherwise print.")]


def run(out: Out = None) -> None:
    """Prints the CustomResourceDefinitions as YAML, for kubectl apply, or writes a file each."""
    from xdscp.resources import schema

    files = schema.crds()
    if out is None:
        print("---\n".join(files[name] for name in sorted(files)), end="")
    else:
        write(files, out)


def write(files: Mapping[str, str], out: Path) -> None:
    """Writes `files` (text by name) into the folder `out`, which is made; raises a usage error where it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise refusal("--out", str(out), f"a folder that can be written ({error.strerror})") from None
