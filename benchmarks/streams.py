"""Changes to a thousand idle delta streams: from the write of a file to the last ACK; CPU and memory of the server.

Target: one change, last ACK ≤ 100 ms on two cores; memory ≤ 60 KB a stream. The server is a process of its own, the fleet
is another; `t0` is the moment before the file is put in place, so the file system's notice is part of the figure.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fleet import CDS, EDS, LDS, RDS, VHDS, Fleet
from benchmarks.mesh import address, service_key

TICKS = os.sysconf("SC_CLK_TCK")


def manifest(number: int, ready: bool = True) -> str:
    key = service_key(number)
    endpoints = [
        {"addresses": [address(number, each)], "conditions": {"ready": ready or each > 0}} for each in range(10)
    ]
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {
                "clusterIP": f"172.16.{number >> 8 & 255}.{number & 255}",
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{key.name}-abcde",
                "namespace": key.namespace,
                "labels": {"kubernetes.io/service-name": key.name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": endpoints,
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def policy(number: int, milliseconds: int) -> str:
    key = service_key(number)
    return json.dumps(
        {
            "apiVersion": "xdscp.io/v1alpha1",
            "kind": "TrafficPolicy",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": key.name}],
                "routes": [{"name": "all", "timeouts": {"request": f"{milliseconds}ms"}}],
            },
        }
    )


def put(folder: Path, name: str, text: str) -> float:
    """Puts a file in place at once; returns the time before."""
    temporary = folder / f".{name}"
    temporary.write_text(text)
    before = time.time()
    temporary.rename(folder / name)
    return before


class ControlPlane:
    """`xdscp serve` over a folder, in a process of its own."""

    def __init__(self, folder: Path, cores: str = "") -> None:
        started = time.time()
        command = [*(["taskset", "-c", cores] if cores else []), sys.executable, "-m", "xdscp", "serve"]
        self.log = folder.parent / "serve.log"
        self.process = subprocess.Popen(
            [*command, "--directory", str(folder), "--xds-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            stderr=self.log.open("w"),
        )
        self.port = int(self._logged(r'"xds listening", "address": "127\.0\.0\.1:(\d+)"'))
        self._logged(r"source (synced)")
        self.start_seconds = time.time() - started

    def _logged(self, pattern: str) -> str:
        while True:
            found = re.search(pattern, self.log.read_text())
            if found:
                return found[1]
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.01)

    def cpu(self) -> float:
        """Seconds of CPU used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Proportional set size in KB."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.1f} ({min(values):.1f} to {max(values):.1f})"


def changes(
    fleet: Fleet, server: ControlPlane, url: str, write: Callable[[int], float], repeats: int
) -> tuple[list[float], float, float]:
    """Milliseconds to the last ACK of each change, CPU microseconds a proxy, and bytes a proxy."""
    times = []
    cpu, received = server.cpu(), sum(proxy.received for proxy in fleet.proxies)
    for repeat in range(repeats):
        before = {id(proxy): proxy.types[url] for proxy in fleet.proxies}
        started = write(repeat)
        last = fleet.until(lambda proxy, before=before: proxy.types[url] > before[id(proxy)])
        times.append((last - started) * 1e3)
        fleet.idle(0.3)
    count = len(fleet.proxies) * repeats
    bytes_ = (sum(proxy.received for proxy in fleet.proxies) - received) / count
    return times, (server.cpu() - cpu) / count * 1e6, bytes_


def main(services: int = 1000, proxies: int = 1000, repeats: int = 9) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "mesh")
        folder.mkdir()
        for number in range(services):
            (folder / f"{number}.json").write_text(manifest(number))
        server = ControlPlane(folder)
        try:
            report(server, folder, services, proxies, repeats)
        finally:
            server.stop()


def report(server: ControlPlane, folder: Path, services: int, proxies: int, repeats: int) -> None:
    print(f"{services} services of 10 endpoints, {proxies} delta streams")
    print(f"cold start, exec to synced          {server.start_seconds:7.2f} s")
    Fleet(server.port, 1).until(lambda proxy: proxy.types[VHDS] > 0)
    memory, cpu, started = server.memory(), server.cpu(), time.time()
    fleet = Fleet(server.port, proxies)
    types = (CDS, EDS, LDS, RDS, VHDS)
    last = fleet.until(lambda proxy: all(proxy.types[url] for url in types))
    fleet.idle(0.5)
    print(
        f"first full configuration to all     {last - started:7.2f} s, {(server.cpu() - cpu) / proxies * 1e3:.2f} ms CPU a proxy, "
        f"{fleet.proxies[0].received / 1024:.0f} KB a proxy"
    )
    print(
        f"memory                              {memory / 1024:7.0f} MB + {(server.memory() - memory) / proxies:.1f} KB a stream"
    )
    middle = services // 2
    figures = changes(
        fleet, server, EDS, lambda each: put(folder, f"{middle}.json", manifest(middle, each % 2 == 1)), repeats
    )
    print(
        "one endpoint, write to last ACK   {} ms, {:.0f} µs CPU and {:.0f} bytes a proxy".format(
            spread(figures[0]), *figures[1:]
        )
    )
    figures = changes(fleet, server, VHDS, lambda each: put(folder, "policy.json", policy(middle, each + 1)), repeats)
    print(
        "one route, write to last ACK      {} ms, {:.0f} µs CPU and {:.0f} bytes a proxy".format(
            spread(figures[0]), *figures[1:]
        )
    )
    fleet.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
