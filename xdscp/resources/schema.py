"""The CustomResourceDefinitions and the reference pages, generated from the models of `mesh_api`.

Place in the flow: `python -m xdscp crds` and `docs` write what `crds` and `reference_pages` give into crds/ and
docs/reference/; a test holds the files there to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from xdscp.resources.mesh_api import API_VERSION, SPECS
from xdscp.resources.reference_texts import EXAMPLES, RULES

Schema = dict[str, Any]

GENERATED = "Generated from the models in xdscp/resources/mesh_api; edit those."


@dataclass(frozen=True, slots=True)
class _Names:
    """How kubectl shows a kind. `columns` are pairs of a heading and a JSONPath; `policy`: status by ancestor."""

    plural: str
    short: str
    columns: tuple[tuple[str, str], ...]
    policy: bool = False


def _condition(name: str, *, policy: bool) -> tuple[str, str]:
    parent = ".status.ancestors[*]" if policy else ".status"
    return name, f'{parent}.conditions[?(@.type=="{name}")].status'


_NAMES = {
    "TrafficPolicy": _Names(
        "trafficpolicies",
        "tp",
        (
            ("Targets", ".spec.targetRefs[*].name"),
            _condition("Accepted", policy=True),
            _condition("ResolvedRefs", policy=True),
        ),
        policy=True,
    ),
    "MeshPolicy": _Names(
        "meshpolicies", "mp", (("Egress", ".spec.egress"), _condition("Accepted", policy=True)), policy=True
    ),
    "ExternalService": _Names(
        "externalservices",
        "xs",
        (
            ("Hosts", ".spec.hosts[*]"),
            ("Resolution", ".spec.resolution"),
            _condition("Accepted", policy=False),
        ),
    ),
    "Workload": _Names(
        "workloads",
        "wl",
        (("Address", ".spec.address"), ("Account", ".spec.serviceAccount"), _condition("Accepted", policy=False)),
    ),
}


# -- CustomResourceDefinitions -------------------------------------------------------------------------------------------


def crds() -> dict[str, str]:
    """The CRD of each kind as YAML, by file name."""
    return {f"{_NAMES[kind].plural}.yaml": _written(crd(kind)) for kind in SPECS}


def crd(kind: str) -> Schema:
    """The CustomResourceDefinition of a kind."""
    names = _NAMES[kind]
    group, _, version = API_VERSION.partition("/")
    columns = [{"name": name, "type": "string", "jsonPath": path} for name, path in names.columns]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names.plural}.{group}",
            **({"labels": {"gateway.networking.k8s.io/policy": "Direct"}} if names.policy else {}),
        },
        "spec": {
            "group": group,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": names.plural,
                "singular": kind.lower(),
                "shortNames": [names.short],
                "categories": ["xdscp"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        *columns,
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "schema": {"openAPIV3Schema": _object_schema(kind)},
                }
            ],
        },
    }


def _object_schema(kind: str) -> Schema:
    schema = SPECS[kind].model_json_schema()
    spec = structural(schema, schema.get("$defs", {}))
    return {
        "description": spec["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always `{API_VERSION}`."},
            "kind": {"type": "string", "description": f"Always `{kind}`."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _POLICY_STATUS if _NAMES[kind].policy else _OBJECT_STATUS,
        },
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


def _written(value: Schema) -> str:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # shared parts are written out
            return True

    return f"# {GENERATED}\n{yaml.dump(value, Dumper=Plain, sort_keys=False, width=110, allow_unicode=True)}"


def _text(description: str, longest: int, **more: Any) -> Schema:
    return {"description": description, "type": "string", "maxLength": longest, **more}


_CONDITIONS: Schema = {
    "description": "What the control plane found.",
    "type": "array",
    "maxItems": 8,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": _text("`Accepted`, `Conflicted`, `ResolvedRefs` or `Programmed`.", 316),
            "status": {"description": "Whether it holds.", "type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {
                "description": "The generation of the object that was looked at.",
                "type": "integer",
                "format": "int64",
                "minimum": 0,
            },
            "lastTransitionTime": {
                "description": "When `status` last changed.",
                "type": "string",
                "format": "date-time",
            },
            "reason": _text("Why, in one word.", 1024),
            "message": _text("Why, for people: the field, the value, and what is allowed.", 32768),
        },
    },
}
_POLICY_STATUS: Schema = {
    "description": "Written by the control plane, as GEP-713 says.",
    "type": "object",
    "properties": {
        "ancestors": {
            "description": "What the policy is attached to, and how that went.",
            "type": "array",
            "maxItems": 16,
            "items": {
                "type": "object",
                "required": ["ancestorRef", "controllerName"],
                "properties": {
                    "ancestorRef": {
                        "description": "The target.",
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "group": _text("The target's API group.", 253),
                            "kind": _text("The target's kind.", 63),
                            "namespace": _text("The target's namespace.", 63),
                            "name": _text("The target's name.", 253),
                            "sectionName": _text("The port's name.", 253),
                        },
                    },
                    "controllerName": _text("Which control plane wrote this.", 253),
                    "conditions": _CONDITIONS,
                },
            },
        }
    },
}
_OBJECT_STATUS: Schema = {
    "description": "Written by the control plane.",
    "type": "object",
    "properties": {"conditions": _CONDITIONS},
}


# -- reference pages -----------------------------------------------------------------------------------------------------


def reference_pages() -> dict[str, str]:
    """The reference page of each kind as Markdown, by file name."""
    return {f"{kind.lower()}.md": _page(kind) for kind in SPECS}


def _page(kind: str) -> str:
    schema = SPECS[kind].model_json_schema()
    definitions: dict[str, Schema] = schema.get("$defs", {})
    names = _NAMES[kind]
    lines = [
        f"<!-- {GENERATED} -->",
        f"# {kind}",
        "",
        schema["description"],
        "",
        f"`apiVersion: {API_VERSION}`, `kind: {kind}`; namespaced; `kubectl get {names.plural}` or `{names.short}`.",
        "",
        "```yaml",
        EXAMPLES[kind].strip(),
        "```",
        "",
        RULES[kind].strip(),
        "",
        "## spec",
        "",
        *_table(schema, definitions),
    ]
    for name in _order(schema, definitions):
        definition = definitions[name]
        lines += [
            "",
            f"## {name}",
            "",
            " ".join(definition["description"].split()),
            "",
            *_table(definition, definitions),
        ]
    return "\n".join(lines) + "\n"


def _order(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    """The parts in the order in which a reader meets them."""
    found: dict[str, None] = {}
    queue = [schema]
    while queue:
        for name in _references(queue.pop(0)):
            if name not in found:
                found[name] = None
                queue.append(definitions[name])
    return list(found)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword == "$ref":
                yield value.rpartition("/")[2]
            elif keyword != "$defs":
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _table(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    lines = ["| field | type | default | allowed | meaning | in Envoy |", "|---|---|---|---|---|---|"]
    for name, field in schema["properties"].items():
        full = resolved(field, definitions)
        required = name in schema.get("required", ())
        envoy = full.get("x-envoy") if "x-envoy" in field else None
        cells = (
            f"`{name}`",
            _type(field, definitions),
            "required" if required else _default(full),
            _allowed(full, definitions),
            " ".join(full["description"].split()),
            f"`{envoy}`" if envoy else "",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _type(field: Schema, definitions: Mapping[str, Schema]) -> str:
    reference = next(_references({key: field[key] for key in ("$ref", "anyOf", "allOf") if key in field}), None)
    if reference is not None:
        return f"[{reference}](#{reference.lower()})"
    full = resolved(field, definitions)
    if full.get("type") == "array":
        return f"list of {_type(full['items'], definitions)}"
    if full.get("type") == "object":
        return "labels"
    return str(full.get("type", "string"))


def _default(full: Schema) -> str:
    default = full.get("default")
    if default is None or default in ("", []):
        return ""
    if isinstance(default, list | tuple):
        return ", ".join(f"`{each}`" for each in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _allowed(full: Schema, definitions: Mapping[str, Schema]) -> str:
    """What a value may be, in words."""
    found = []
    values = full.get("enum", [full["const"]] if "const" in full else [])
    if values:
        found.append(", ".join(f"`{value}`" if value != "" else '`""`' for value in values))
    if "x-allowed" in full:
        found.append(full["x-allowed"])
    if "minimum" in full:
        found.append(f"{full['minimum']:g} to {full['maximum']}" if "maximum" in full else f"from {full['minimum']:g}")
    if full.get("type") == "array":
        bounds = f"{full.get('minItems', 0)} to {full['maxItems']} entries" if "maxItems" in full else ""
        each = _allowed(resolved(full["items"], definitions), definitions)
        found += [text for text in (bounds, f"each {each}" if each else "") if text]
    return "; ".join(found)
