"""A well-behaved client in a process of its own: it changes its own Service's endpoints and times what comes back.

It runs beside an attack. A line per change goes to standard output: seconds from the write of the file to the ACK of
the new endpoints. It ends when standard input does; an error is told by its exit status and standard error.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet import CDS, EDS, LDS, RDS, VHDS, Fleet
from tests.hostile.control_plane import WITNESS, put, service

ROOT = Path(__file__).parents[2]
EVERY = 0.1


def main(port, folder):
    """Until standard input ends."""
    fleet = Fleet(int(port), 1, namespace=WITNESS)
    proxy = fleet.proxies[0]
    fleet.until(lambda proxy: all(proxy.types[url] for url in (CDS, EDS, LDS, RDS, VHDS)))
    put(Path(folder), "witness.json", service(WITNESS))  # a witness before may have been killed
    fleet.idle(EVERY)
    print("ready", flush=True)
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        number += 1
        before = proxy.types[EDS]
        written = put(Path(folder), "witness.json", service(WITNESS, ready=number % 2 == 0))
        fleet.until(lambda proxy, before=before: proxy.types[EDS] > before, timeout=20)
        print(f"{proxy.acked_at - written:.4f}", flush=True)
        fleet.idle(EVERY)
    put(Path(folder), "witness.json", service(WITNESS))
    fleet.close()


class Report:
    """What the witness saw: `times` in seconds, once the `with` block is left."""

    def __init__(self):
        self.times = []

    @property
    def worst(self):
        return max(self.times)


@contextmanager
def witnessing(control):
    """A witness that watches while the block runs."""
    command = [sys.executable, "-m", "tests.hostile.witness", str(control.port), str(control.folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    report = Report()
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        yield report
        time.sleep(EVERY * 3)  # so that what the attack leaves behind is seen too
        output, errors = process.communicate("stop\n", timeout=30)
        report.times = [float(line) for line in output.split()]
        assert process.returncode == 0, f"the witness was not served: {errors[-1500:]}"
        assert report.times, "the witness saw no change"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
