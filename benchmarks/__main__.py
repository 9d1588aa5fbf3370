"""All first-cut figures, one after the other: `make bench`."""

from __future__ import annotations

import subprocess
import sys

PARTS = ("cli_start", "encode", "settle", "streams")


def main() -> int:
    code = 0
    for part in sys.argv[1:] or PARTS:
        print(f"\n== {part}", flush=True)
        code |= subprocess.run([sys.executable, "-W", "ignore", "-m", f"benchmarks.{part}"], check=False).returncode
    return code


if __name__ == "__main__":
    sys.exit(main())
