"""One control plane for the tests of a file, and the oracle beside each attack."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile.control_plane import ControlPlane
from tests.hostile.witness import witnessing

LATENCY = 1.0
"""Seconds within which a well-behaved client has each change, whatever others do."""
MEMORY = 150
"""MB by which an attack may make the process grow; one request may have 32, and takes three times that to be parsed."""


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """A control plane over a folder of twenty Services, and one more for the witness."""
    made = ControlPlane(tmp_path_factory.mktemp("hostile"))
    yield made
    made.stop()


@pytest.fixture
def attacked(control, request):
    """Beside what the block does, another client is served in time, memory stays bounded, and nothing is left behind."""

    @contextmanager
    def watch(latency=LATENCY, memory=MEMORY):
        Path(f"/proc/{control.process.pid}/clear_refs").write_text("5")  # the peak counts from now
        streams, rss = control.metric("xdscp_streams"), control.rss
        with witnessing(control) as report:
            yield control
        assert control.alive
        figures = f"worst {report.worst * 1000:.0f} ms of {len(report.times)}, peak +{control.status('VmHWM') / 1024 - rss:.0f} MB"
        print(f"\n{request.node.name}: {figures}, now {control.rss:.0f} MB")
        assert report.worst < latency, figures
        assert control.status("VmHWM") / 1024 - rss < memory, figures
        assert control.get("/healthz") == "ok\n"
        control.until(lambda: control.metric("xdscp_streams") == streams, what="all streams being closed")

    return watch
