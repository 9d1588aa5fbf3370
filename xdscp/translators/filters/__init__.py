"""The HTTP filters, one a module, in the order in which a request passes them.

A filter in the listener does nothing by itself; what it does stands in the routes that ask for it. So a policy changes
a route and never a listener, whose every change would drain connections.
"""

from __future__ import annotations

from typing import Final

from xdscp.translators.filters import cors, dynamic_forward_proxy, fault, router

FILTERS: Final = (
    cors.FILTER,  # before fault: a browser must be able to read an injected error, and a preflight is never one
    fault.FILTER,  # before all that costs: an aborted request goes no further
    router.FILTER,  # last: it ends the chain
)

EXPLICIT_FILTERS: Final = (
    cors.FILTER,
    fault.FILTER,
    dynamic_forward_proxy.FILTER,  # after all that may answer: only a request that goes out needs an address
    router.FILTER,
)
"""Explicit mode: there is no dialled address to pass an unknown host on to."""

INBOUND_FILTERS: Final = (router.FILTER,)
"""Cross-origin rules and faults belong to the caller's side; here they would happen twice."""
