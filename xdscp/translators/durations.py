"""Durations of the model where Envoy's fields want more than a `timedelta`."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Final

NONE: Final = timedelta(0)
"""What Envoy's timeouts read as no timeout; an absent field means a default there (15 s a request, 1 h a connection)."""


def whole_seconds(duration: timedelta | None) -> int | None:
    """For kernel options counted in seconds; rounded up, at least one."""
    return None if duration is None else max(1, ceil(duration.total_seconds()))
