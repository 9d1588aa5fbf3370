"""What all tests share: the needs that a machine may lack, and `--update` of the golden cases.

A test says what it needs by a marker (`envoy`, `namespaces`) or by the fixture `envoy_path`. What is missing skips it with
the reason, and fails it when `XDSCP_REQUIRE` (a list such as `envoy,namespaces`) names the need.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping

import pytest

from tests.envoy_binary import envoy_binary


def _missing_envoy() -> str:
    return "" if envoy_binary() else "there is no Envoy: set XDSCP_ENVOY, or make .venv-envoy"


def _missing_namespaces() -> str:
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in ("ip", "iptables") if shutil.which(name) is None]
    return f"network namespaces need {' and '.join(absent)}" if absent else ""


NEEDS: Mapping[str, Callable[[], str]] = {"envoy": _missing_envoy, "namespaces": _missing_namespaces}
"""By marker: why this machine cannot run such a test; empty when it can."""


def need(name: str) -> None:
    """Skips the running test when the machine lacks what it needs, or fails it when that is required."""
    reason = NEEDS[name]()
    if reason and name in os.environ.get("XDSCP_REQUIRE", "").split(","):
        pytest.fail(f"{reason} (XDSCP_REQUIRE names {name})", pytrace=False)
    if reason:
        pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite out.yaml of the golden cases")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in NEEDS:
        if item.get_closest_marker(name) is not None:
            need(name)


@pytest.fixture(scope="session")
def envoy_path() -> str:
    """The path of the Envoy binary."""
    need("envoy")
    return envoy_binary()
