"""`xdscp docs`: the reference pages of our kinds, drawn from their models."""

from __future__ import annotations

from xdscp.cli.crds import Out, write


def run(out: Out = None) -> None:
    """Prints the reference of all kinds and fields as Markdown, or writes a page each."""
    from xdscp.resources import schema

    pages = schema.reference_pages()
    if out is None:
        print("\n".join(pages[name] for name in sorted(pages)), end="")
    else:
        write(pages, out)
