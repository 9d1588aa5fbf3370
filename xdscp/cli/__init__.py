"""The command line: one file a verb.

Place in the flow: the top. A verb imports late what starts slowly (pydantic, grpc, Envoy's messages), so that those
that need none of it answer at once. Exit codes: 0 fine, 1 a check or a command found problems, 2 usage or
configuration error, which is told in one sentence on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from xdscp.cli import bootstrap, crds, docs, serve, translate, validate, version

app = typer.Typer(
    name="xdscp",
    help="A service mesh control plane for stock Envoy.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (serve, bootstrap, translate, validate, crds, docs, version):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)


def command(arguments: Sequence[str]) -> int:
    """Runs the command line `arguments`; returns the exit code."""
    try:
        code = app(args=list(arguments), prog_name="xdscp", standalone_mode=False)
    except TyperException as error:
        print(f"xdscp: {' '.join(error.format_message().split())}", file=sys.stderr)
        return 2
    except typer.Abort:
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
