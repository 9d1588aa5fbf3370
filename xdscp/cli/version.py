"""`xdscp version`."""

from __future__ import annotations

from xdscp import __version__


def run() -> None:
    """Prints the version."""
    print(__version__)
