"""One operating system process of the fleet: started with a log file, stopped gently, never left behind.

Everything that runs outside this interpreter (applications, Envoys, the control plane) is a `Process`. A child gets
SIGTERM when this process dies in any way, by the kernel's parent death signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """A running child; made by `start`."""

    def __init__(self, name: str, child: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._child = child

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], log: Path, *, user: int | None = None, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start `argv` with both outputs appended to `log`.

        `user`: numeric user and group to run as, None: as we are. `env` is added to our environment.
        A command that begins with `ip netns exec NAME` enters the namespace before it changes its user.
        """
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *guarded(argv, user),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
            )
        return cls(name, child, log)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.returncode is None

    async def stop(self, grace: float = 3.0) -> int:
        """Send SIGTERM, after `grace` seconds SIGKILL; return the exit code (negative: the signal that ended it)."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace):
                    return await self._child.wait()
            except TimeoutError:
                return await self.kill()
        return await self._child.wait()

    async def kill(self) -> int:
        """Send SIGKILL and return the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        return await self._child.wait()

    async def ending(self, timeout: float = 1.0) -> None:
        """Wait at most `timeout` seconds for an end that has begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send any other signal, such as SIGSTOP."""
        self._child.send_signal(number)

    def tail(self, lines: int = 15) -> str:
        """The end of the log, for an error message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def require_running(self) -> None:
        """Raise with the end of the log when the process has ended by itself."""
        if not self.running:
            raise ProcessEnded(f"{self.name} ended with code {self._child.returncode}:\n{self.tail()}")


class ProcessEnded(Exception):  # noqa: N818 - says what happened, as asyncio's own names do
    """A process of the fleet ended before it was told to."""


def guarded(argv: Sequence[str], user: int | None) -> list[str]:
    """`argv` run under `setpriv` with a parent death signal, and as `user` when given."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise FileNotFoundError("setpriv (util-linux) is needed to run a process as another user")
        return list(argv)
    identity = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    entry = 4 if list(argv[:3]) == ["ip", "netns", "exec"] else 0
    return [*argv[:entry], setpriv, *identity, "--pdeathsig=TERM", *argv[entry:]]


async def output(*argv: str, stdin: str | None = None) -> str:
    """Run a short command to its end and return what it printed; raise `RuntimeError` with its error text."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(None if stdin is None else stdin.encode())
    if child.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {err.decode(errors='replace').strip() or child.returncode}")
    return out.decode(errors="replace")
