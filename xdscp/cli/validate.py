"""`xdscp validate`: the findings about a folder's objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from xdscp.cli.arguments import Directory, choice, folder

if TYPE_CHECKING:
    from xdscp.resources.core import Problem


def run(
    directory: Directory,
    format: Annotated[str, typer.Option(metavar="text|json", help="A line a finding, or a JSON list.")] = "text",
) -> None:
    """Prints the findings about a folder of manifests; the exit code is 1 when there are any."""
    choice("--format", format, ("text", "json"))
    path = folder(directory)

    import xdscp.app

    problems = sorted(xdscp.app.findings(path), key=lambda each: (each.file, each.document, each.kind, each.key))
    if format == "json":
        from xdscp.admin.rendering import rendered_problem

        print(json.dumps([rendered_problem(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(_line(problem))
    raise typer.Exit(1 if problems else 0)


def _line(problem: Problem) -> str:
    """`file[document]: Kind namespace/name: Reason: message`, on one line and printable."""
    where = f"{problem.file}[{problem.document}]: " if problem.file else ""
    text = f"{where}{problem.kind} {problem.key}: {problem.reason}: {problem.message}"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
