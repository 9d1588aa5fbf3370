"""The CustomResourceDefinitions and the reference pages, generated from the models of `mesh_api`.

Place in the flow: `python -m xdscp crds` and `docs` write what `crds` and `reference_pages` give into crds/ and
docs/reference/; a test holds the files there to it.
"""

from __future__ import annotations

from typing import Any

import yaml

from xdscp.resources.mesh_api import API_VERSION, SPECS
from xdscp.resources.reference import reference_pages
from xdscp.resources.status_schema import OBJECT_STATUS, POLICY_STATUS
from xdscp.resources.structural import GENERATED, NAMES, Schema, structural

__all__ = ["crd", "crds", "reference_pages"]


def crds() -> dict[str, str]:
    """The CRD of each kind as YAML, by file name."""
    return {f"{NAMES[kind].plural}.yaml": _written(crd(kind)) for kind in SPECS}


def crd(kind: str) -> Schema:
    """The CustomResourceDefinition of a kind."""
    names = NAMES[kind]
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
            "status": POLICY_STATUS if NAMES[kind].policy else OBJECT_STATUS,
        },
    }


def _written(value: Schema) -> str:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # shared parts are written out
            return True

    return f"# {GENERATED}\n{yaml.dump(value, Dumper=Plain, sort_keys=False, width=110, allow_unicode=True)}"
