"""Percentages of the model as Envoy's fractions."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import RuntimeFractionalPercent
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType


def fractional_percent(percent: float) -> FractionalPercent:
    """Of 100; parts smaller than a millionth are rounded away (Envoy's finest denominator is a million)."""
    millionths = round(percent * 10_000)
    if millionths % 10_000 == 0:
        return FractionalPercent(numerator=millionths // 10_000)
    return FractionalPercent(numerator=millionths, denominator=FractionalPercentDenominatorType.MILLION)


def runtime_fraction(percent: float) -> RuntimeFractionalPercent:
    """A fraction without a runtime key: what the policy says cannot be changed beside it."""
    return RuntimeFractionalPercent(default_value=fractional_percent(percent))
