"""The status of our kinds as structural schemas: of policies by ancestor (GEP-713), of other objects plain conditions.

Place in the flow: part of the CRDs that `resources.schema` generates.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


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
POLICY_STATUS: Schema = {
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
OBJECT_STATUS: Schema = {
    "description": "Written by the control plane.",
    "type": "object",
    "properties": {"conditions": _CONDITIONS},
}
