"""A control plane that several tests use one after another: its start costs more than most of the tests.

It is started outside of any event loop, since each test has its own. A test that ends it gets another started for
the next.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from examples.demo.control_plane import ControlPlane
from examples.demo.fleet import run_number
from examples.demo.processes import Process, ProcessEnded, guarded


class Detached:
    """A process with the interface of `examples.demo.processes.Process`."""

    def __init__(self, name, argv, log):
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                guarded(argv, None), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._child.pid

    @property
    def running(self):
        """Whether it has not ended."""
        return self._child.poll() is None

    async def stop(self, grace=3.0):
        """Send SIGTERM, after `grace` seconds SIGKILL; the exit code."""
        if self.running:
            self._child.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._child.wait, grace)
        except subprocess.TimeoutExpired:
            return await self.kill()

    async def kill(self):
        """Send SIGKILL; the exit code."""
        self._child.kill()
        return await asyncio.to_thread(self._child.wait)

    def end(self):
        """End it without an event loop."""
        self._child.terminate()
        self._child.wait(10)

    tail = Process.tail

    def require_running(self):
        """Raise with the end of the log when it has ended."""
        if not self.running:
            raise ProcessEnded(f"{self.name} has ended:\n{self.tail()}")


class SharedControlPlane:
    """The control plane of a session of tests, its folder, and the addresses that it listens on."""

    def __init__(self, folder):
        self.folder = folder
        self.directory = folder / "mesh"
        self.directory.mkdir()
        self._lock, number = run_number()
        self._listen = (
            f"127.97.{number}.1:15014"  # an address of its own: a port of the kernel's choice may be taken again
        )
        self.process = None
        self.xds = self.admin = ""
        self._count = 0

    def current(self):
        """The control plane, for the event loop of one test; started when there is none."""
        if self.process is None or not self.process.running:
            self._start()
        return ControlPlane(self.process, self.xds, self.admin)

    def _start(self):
        self._count += 1
        self.xds, self.admin = f"unix:{self.folder / f'xds-{self._count}.sock'}", f"http://{self._listen}"
        argv = [sys.executable, "-m", "xdscp", "serve", "--directory", str(self.directory), "--log-format", "json"]
        argv += ["--xds-listen", self.xds, "--admin-listen", self._listen]
        self.process = Detached("xdscp", argv, self.folder / f"xdscp-{self._count}.log")

    def clear(self):
        """Take all objects out of the folder."""
        for path in self.directory.iterdir():
            path.unlink()

    def stop(self):
        """End it."""
        if self.process is not None and self.process.running:
            self.process.end()
        self._lock.close()
