"""The schemas of pydantic as structural schemas of Kubernetes, and how kubectl shows our kinds.

Place in the flow: read by `resources.schema` (the CRDs) and `resources.reference` (the pages).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

Schema = dict[str, Any]

GENERATED = "Generated from the models in xdscp/resources/mesh_api; edit those."


@dataclass(frozen=True, slots=True)
class Names:
    """How kubectl shows a kind. `columns` are pairs of a heading and a JSONPath; `policy`: status by ancestor."""

    plural: str
    short: str
    columns: tuple[tuple[str, str], ...]
    policy: bool = False


def _condition(name: str, *, policy: bool) -> tuple[str, str]:
    parent = ".status.ancestors[*]" if policy else ".status"
    return name, f'{parent}.conditions[?(@.type=="{name}")].status'


NAMES = {
    "TrafficPolicy": Names(
        "trafficpolicies",
        "tp",
        (
            ("Targets", ".spec.targetRefs[*].name"),
            _condition("Accepted", policy=True),
            _condition("ResolvedRefs", policy=True),
        ),
        policy=True,
    ),
    "MeshPolicy": Names(
        "meshpolicies", "mp", (("Egress", ".spec.egress"), _condition("Accepted", policy=True)), policy=True
    ),
    "ExternalService": Names(
        "externalservices",
        "xs",
        (
            ("Hosts", ".spec.hosts[*]"),
            ("Resolution", ".spec.resolution"),
            _condition("Accepted", policy=False),
        ),
    ),
    "Workload": Names(
        "workloads",
        "wl",
        (("Address", ".spec.address"), ("Account", ".spec.serviceAccount"), _condition("Accepted", policy=False)),
    ),
}


_KEPT = (
    *("description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("minItems", "maxItems", "minProperties"),
)
"""Keywords that go into a structural schema as they are."""


def structural(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A schema of pydantic as a structural schema of Kubernetes: references put in place, nulls left out.

    What no structural schema can say (unknown fields refused, checks across fields) is checked by the models alone.
    """
    schema = resolved(schema, definitions)
    found = {keyword: schema[keyword] for keyword in _KEPT if keyword in schema}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "enum" in found:
        found["type"] = "integer" if isinstance(found["enum"][0], int) else "string"
    if found["type"] == "integer":
        found["format"] = "int64" if schema.get("maximum", 0) >= 2**31 else "int32"
    default = schema.get("default")
    if default is not None and default not in ("", []):
        found["default"] = default
    into = partial(structural, definitions=definitions)
    if "properties" in schema:
        required = [name for name in schema["properties"] if name in schema.get("required", ())]
        if required:
            found["required"] = required
        found["properties"] = {name: into(field) for name, field in schema["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = into(schema["additionalProperties"])
    if "items" in schema:
        found["items"] = into(schema["items"])
    return found


def resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A schema with its outer reference, and a union with null, put away; its own words go before those referred to."""
    own = {keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "anyOf", "allOf")}
    inner = schema.get("$ref") or next(
        (each for each in schema.get("anyOf") or schema.get("allOf") or () if each != {"type": "null"}), None
    )
    if inner is None:
        return own
    if isinstance(inner, str):
        inner = definitions[inner.rpartition("/")[2]]
    return {**resolved(inner, definitions), **own}
