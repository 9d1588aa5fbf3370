"""How long commands that do not translate take, process start to end: at most 0.25 s.

python benchmarks/cli_start.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

LIMIT = 0.25
RUNS = 11


def main() -> int:
    """Prints the median and the least of `RUNS`; 1 when a least is over the limit: a busy machine adds, never takes."""
    slow = False
    for arguments in (["version"], ["bootstrap", "shop/web-0"], ["serve", "--help"]):
        times = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "xdscp", *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - begin)
        slow |= min(times) > LIMIT
        print(f"xdscp {' '.join(arguments):22} median {median(times):.3f} s, least {min(times):.3f} s, limit {LIMIT} s")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
