"""The annotations `xdscp.io/…` of a Pod: what they may say, and what is wrong with those of a pod.

Place in the flow: read by `mesh.workload`; a value that is not allowed counts as not given, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdscp.derive import View, derived
from xdscp.mesh.service import is_address
from xdscp.resources.core import Key, Pod, Problem
from xdscp.resources.rejection import nearest, shown

PREFIX = "xdscp.io/"
EXPLICIT_ADDRESS = f"{PREFIX}explicit-address"
EXPLICIT_PORT = f"{PREFIX}explicit-port"
APP_ADDRESS = f"{PREFIX}app-address"
GATEWAY_PORT = f"{PREFIX}gateway-port"


def is_port(text: str) -> bool:
    """Whether a text is a port number in decimal."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536


KNOWN: Mapping[str, tuple[Callable[[str], bool], str]] = {
    EXPLICIT_ADDRESS: (is_address, "an IP address"),
    EXPLICIT_PORT: (is_port, "a port from 1 to 65535"),
    APP_ADDRESS: (is_address, "an IP address"),
    GATEWAY_PORT: (is_port, "a port from 1 to 65535"),
}
"""Each annotation, whether a value is allowed, and what is, in words."""


def value_of(pod: Pod, name: str) -> str:
    """The value of a known annotation where it is allowed; else ""."""
    value = dict(pod.annotations).get(name, "")
    return value if value and KNOWN[name][0](value) else ""


@derived
def annotation_problems(view: View, pod: Key) -> tuple[Problem, ...]:
    """The annotations of a pod that are unknown, or whose value is not allowed."""
    row: Pod | None = view.get("Pod", pod)
    found: list[Problem] = []
    for name, value in row.annotations if row is not None else ():
        field = f'metadata.annotations["{name}"]'
        if name not in KNOWN:
            message = f"{field}: unknown annotation; {nearest(name, KNOWN)}"
        elif not KNOWN[name][0](value):
            message = f"{field}: {shown(value)} is not {KNOWN[name][1]}; it counts as not given"
        else:
            continue
        found.append(Problem("Pod", pod, "AnnotationInvalid", message, field=field))
    return tuple(found)
