"""What is wrong with an object, beyond its form: one table of checks by kind.

Place in the flow: `pipeline` watches `problems_of` for each object; logs, `/syncz` and status read the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdscp.derive import View, derived
from xdscp.mesh.endpoints import pod_problems, service_problems, slice_problems, workload_address_problems
from xdscp.mesh.external import external_problems
from xdscp.mesh.pod_annotations import annotation_problems
from xdscp.mesh.traffic import mesh_policy_problems, traffic_problems, workload_problems
from xdscp.resources.core import Key, Problem

CHECKS: Mapping[str, Callable[[View, Key], tuple[Problem, ...]]] = {
    "Service": service_problems,
    "EndpointSlice": slice_problems,
    "Pod": lambda view, key: (*pod_problems(view, key), *annotation_problems(view, key)),
    "TrafficPolicy": traffic_problems,
    "MeshPolicy": mesh_policy_problems,
    "ExternalService": external_problems,
    "Workload": lambda view, key: (*workload_address_problems(view, key), *workload_problems(view, key)),
}
"""The check of each kind that has one."""


@derived
def problems_of(view: View, kind: str, key: Key) -> tuple[Problem, ...]:
    """The problems of an object of a kind in `CHECKS`."""
    return CHECKS[kind](view, key)
