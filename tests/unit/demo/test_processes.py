"""Processes: how they are started, how they end."""

from __future__ import annotations

import signal
import sys

import pytest

from examples.demo.processes import Process, ProcessEnded, guarded, output


def test_the_user_changes_after_the_namespace_was_entered():
    """Entering needs root, so the namespace comes first."""
    argv = guarded(["ip", "netns", "exec", "pod", "envoy"], 1337)

    assert argv[:4] == ["ip", "netns", "exec", "pod"]
    assert argv[4].endswith("setpriv")
    assert argv[5:] == ["--reuid=1337", "--regid=1337", "--clear-groups", "--pdeathsig=TERM", "envoy"]


def test_without_setpriv_a_command_runs_as_it_is_but_never_as_another_user(monkeypatch, tmp_path):
    """A machine without util-linux can run the explicit mode."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert guarded(["envoy"], None) == ["envoy"]
    with pytest.raises(FileNotFoundError, match="setpriv"):
        guarded(["envoy"], 1337)


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path):
    """Nothing is left behind after the grace."""
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); sys.stdout.write('on'); sys.stdout.flush(); time.sleep(60)"
    process = await Process.start("stubborn", [sys.executable, "-c", code], tmp_path / "log")
    while process.tail() != "on":
        process.require_running()

    assert await process.stop(grace=0.1) == -signal.SIGKILL
    assert not process.running


async def test_a_process_that_ended_by_itself_is_reported_with_its_log(tmp_path):
    """The error holds the name, the code and the last words."""
    process = await Process.start("short", [sys.executable, "-c", "print('last words'); exit(3)"], tmp_path / "log")
    await process.stop(grace=10) if not process.running else await process._child.wait()

    with pytest.raises(ProcessEnded, match=r"(?s)short.*code 3.*last words"):
        process.require_running()


async def test_a_short_command_gives_its_output_or_its_error():
    """Standard input goes in; a failure is named with its command."""
    assert await output("cat", stdin="a\n") == "a\n"
    with pytest.raises(RuntimeError, match="ls /nowhere-at-all"):
        await output("ls", "/nowhere-at-all")
