"""`python -m xdscp`, and the `xdscp` command."""

from __future__ import annotations

import sys

from xdscp.cli import command


def main() -> None:
    """Runs the command line and exits with its code."""
    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
