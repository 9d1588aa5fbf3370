"""Findings as values: what is wrong with which object; status, logs, metrics and `/syncz` read them."""

from __future__ import annotations

from xdscp.resources.core import Problem

__all__ = ["Problem"]
