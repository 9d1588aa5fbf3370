"""Fault injection: a share of the requests is delayed or answered with an error."""

from __future__ import annotations

from envoy_data_plane.envoy.extensions.filters.common.fault.v3 import FaultDelay
from envoy_data_plane.envoy.extensions.filters.http.fault.v3 import FaultAbort, HttpFault
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xdscp.mesh.routing import Fault
from xdscp.translators.encode import packed
from xdscp.translators.fractions import fractional_percent

NAME = "envoy.filters.http.fault"
FILTER = HttpFilter(name=NAME, typed_config=packed(HttpFault()))


def policy(fault: Fault) -> HttpFault:
    """A route's part of the filter."""
    return HttpFault(delay=_delay(fault), abort=_abort(fault))


def _delay(fault: Fault) -> FaultDelay | None:
    if not fault.delay:
        return None
    return FaultDelay(fixed_delay=fault.delay, percentage=fractional_percent(fault.delay_percent))


def _abort(fault: Fault) -> FaultAbort | None:
    percentage = fractional_percent(fault.abort_percent)
    if fault.abort_http is not None:
        return FaultAbort(http_status=fault.abort_http, percentage=percentage)
    if fault.abort_grpc is not None:
        return FaultAbort(grpc_status=fault.abort_grpc, percentage=percentage)
    return None
