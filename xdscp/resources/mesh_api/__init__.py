"""The custom resources of `xdscp.io/v1alpha1`: models and parsers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from xdscp.resources.mesh_api.external_service import ExternalService, ExternalServiceSpec
from xdscp.resources.mesh_api.mesh_policy import MeshPolicy, MeshPolicySpec
from xdscp.resources.mesh_api.part import API_VERSION, Manifest, Part, Stored
from xdscp.resources.mesh_api.traffic_policy import TrafficPolicy, TrafficPolicySpec
from xdscp.resources.mesh_api.workload import Workload, WorkloadSpec
from xdscp.resources.rejection import Rejected, findings_of

__all__ = [
    "API_VERSION",
    "PARSERS",
    "SPECS",
    "ExternalService",
    "MeshPolicy",
    "Stored",
    "TrafficPolicy",
    "Workload",
]

SPECS: Final[Mapping[str, type[Part]]] = {
    "TrafficPolicy": TrafficPolicySpec,
    "MeshPolicy": MeshPolicySpec,
    "ExternalService": ExternalServiceSpec,
    "Workload": WorkloadSpec,
}


def _same(stored: Stored[Any]) -> Stored[Any]:
    return stored


def _labelled(workload: Workload) -> Workload:
    """Labels of spec and metadata are one; where both have a name, the spec's value counts."""
    if not workload.labels and not workload.spec.labels:
        return workload
    labels = tuple(sorted({**dict(workload.labels), **dict(workload.spec.labels)}.items()))
    return replace(workload, labels=labels, spec=workload.spec.model_copy(update={"labels": labels}))


def _parser(
    envelope: type[Manifest[Any]], made: Callable[[Stored[Any]], Stored[Any]] = _same
) -> Callable[[Mapping[str, Any]], Stored[Any]]:
    def parse(manifest: Mapping[str, Any]) -> Stored[Any]:
        try:
            return made(envelope.model_validate(manifest).stored())
        except ValidationError as error:
            raise Rejected(findings_of(error, manifest, envelope)) from None

    return parse


PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Stored[Any]]]] = {
    "TrafficPolicy": _parser(Manifest[TrafficPolicySpec]),
    "MeshPolicy": _parser(Manifest[MeshPolicySpec]),
    "ExternalService": _parser(Manifest[ExternalServiceSpec]),
    "Workload": _parser(Manifest[WorkloadSpec], _labelled),
}
"""The parser of each kind: a manifest's stored object, or `Rejected` with all findings."""
