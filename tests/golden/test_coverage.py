"""Every field of our custom resources is set in some golden case."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from tests.golden.cases import all_cases
from xdscp.resources.kinds import identity_of, parse
from xdscp.resources.mesh_api import SPECS
from xdscp.resources.rejection import Rejected


def parts_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `tuple[Route, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from parts_of(argument)


def paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The paths of a model's fields as manifests write them; entries of lists have the path of the list."""
    for name, field in model.model_fields.items():
        path = f"{prefix}.{field.alias or name}"
        yield path
        for part in parts_of(field.annotation):
            yield from paths(part, path)


def set_in(value: Any, prefix: str) -> Iterator[str]:
    """The paths that a manifest sets."""
    if isinstance(value, list):
        for each in value:
            yield from set_in(each, prefix)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{prefix}.{name}"
            yield from set_in(inner, f"{prefix}.{name}")


@cache
def covered() -> frozenset[str]:
    """The paths that the accepted manifests of all cases set."""
    found: set[str] = set()
    for case in all_cases():
        for document in case.documents:
            try:
                manifest = yaml.load(document, Loader=yaml.CSafeLoader)
                identity = identity_of(manifest)
                if identity is None or identity.kind not in SPECS:
                    continue
                parse(identity.kind, identity.key, manifest)
            except (Rejected, yaml.YAMLError):
                continue
            found.update(set_in(manifest["spec"], identity.kind))
    return frozenset(found)


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_is_in_a_case(kind):
    """No field of the kind lacks a golden case."""
    missing = [path for path in dict.fromkeys(paths(SPECS[kind], kind)) if path not in covered()]
    assert missing == []
