"""A real `xdscp serve` process for tests that mean it harm: its addresses, its pages, its memory, its log."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.mesh import address, service_key

WITNESS = "witness"
NAMESPACE = "hostile"


def service(name, number=0, ready=True, endpoints=10, namespace=NAMESPACE):
    """A Service and its slice as YAML (JSON is YAML); `ready` is the first endpoint's."""
    listed = [
        {"addresses": [address(number, each)], "conditions": {"ready": ready or each > 0}} for each in range(endpoints)
    ]
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "clusterIP": f"172.20.{number >> 8 & 255}.{number & 255}",
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-abcde",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": listed,
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def policy(name, milliseconds, namespace=NAMESPACE, **spec):
    """A TrafficPolicy of the Service of the same name."""
    return json.dumps(
        {
            "apiVersion": "xdscp.io/v1alpha1",
            "kind": "TrafficPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": name}],
                "routes": [{"name": "all", "timeouts": {"request": f"{milliseconds}ms"}}],
            }
            | spec,
        }
    )


def put(folder, name, text):
    """Puts a file in place at once; returns the time before."""
    temporary = folder / f".{name}"
    temporary.write_text(text) if isinstance(text, str) else temporary.write_bytes(text)
    before = time.time()
    temporary.rename(folder / name)
    return before


class ControlPlane:
    """A running `xdscp serve`; `folder` is what it serves, and has a Service for the witness."""

    def __init__(self, scratch: Path, services=20, environment=None):
        self.folder = scratch / "mesh"
        self.folder.mkdir()
        put(self.folder, "witness.json", service(WITNESS))
        for number in range(1, services + 1):
            put(self.folder, f"service-{number}.json", service(f"service-{number}", number))
        self.log_path = scratch / "serve.log"
        command = [sys.executable, "-m", "xdscp", "serve", "--directory", str(self.folder), "--log-format", "json"]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--xds-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
                stdout=log,
                stderr=log,
                env=environment,
            )
        try:
            self.port = int(self.logged(r'"xds listening", "address": "127\.0\.0\.1:(\d+)"'))
            self.admin = int(self.logged(r'"admin listening", "address": "127\.0\.0\.1:(\d+)"'))
            self.logged(r"(source synced)")
        except BaseException:
            self.stop()
            raise

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.log_path.read_text()

    def logged(self, pattern, timeout=30.0, start=0):
        """The first group of the first match in the log, awaited."""
        return self.until(lambda: re.search(pattern, self.log[start:]), timeout, pattern)[1]

    def until(self, condition, timeout=10.0, what="the condition"):
        """The first true value of `condition()`."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert self.process.poll() is None, f"the control plane ended: {self.log[-3000:]}"
            assert time.monotonic() < deadline, f"{what} does not come to hold in {timeout} s"
            time.sleep(0.02)
        return found

    def get(self, path, timeout=10.0):
        """The text of an admin page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=timeout) as answer:
            return answer.read().decode()

    def problems(self):
        """The findings in `/syncz`, but for the nodes that no Pod names: clients here have none."""
        return [each for each in json.loads(self.get("/syncz"))["problems"] if each["reason"] != "NodeUnknown"]

    def metrics(self):
        """The samples by name and labels."""
        lines = [line for line in self.get("/metrics").splitlines() if line[:1] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def metric(self, name):
        """The sum over all labels of a metric."""
        return sum(value for key, value in self.metrics().items() if key.partition("{")[0] == name)

    def status(self, field):
        """A number of /proc/PID/status, such as VmRSS in KB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1])

    @property
    def rss(self):
        """Resident memory in MB."""
        return self.status("VmRSS") / 1024

    @property
    def descriptors(self):
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Ends the process."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


__all__ = ["ControlPlane", "address", "policy", "put", "service", "service_key"]
