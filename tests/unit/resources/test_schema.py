"""The generated CRDs and reference pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from xdscp.resources.mesh_api import SPECS
from xdscp.resources.schema import crd, crds, reference_pages

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("folder", "expected"), [("crds", crds()), ("docs/reference", reference_pages())], ids=["crds", "docs"]
)
def test_the_files_are_those_generated(folder: str, expected: dict[str, str]) -> None:
    """What stands in the repository is what the models say; `python -m xdscp crds` and `docs` write it."""
    for name, text in expected.items():
        assert (ROOT / folder / name).read_text() == text, f"{folder}/{name} is out of date"


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from parts(field, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from parts(schema[keyword], f"{path}[]")


def openapi(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("kind", SPECS)
def test_the_schema_is_structural(kind: str) -> None:
    """Each part has one type and only keywords that the API server takes in a structural schema."""
    allowed = {
        *("type", "description", "default", "enum", "format", "pattern", "required", "properties", "items"),
        *("additionalProperties", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
        *("minProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    }
    for path, part in parts(openapi(kind)):
        assert set(part) <= allowed, path
        assert part["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
        assert ("items" in part) == (part["type"] == "array"), path
        assert not ("properties" in part and "additionalProperties" in part), path
        assert set(part.get("required", ())) <= set(part.get("properties", ())), path
        if "default" in part and "enum" in part:
            assert part["default"] in part["enum"], path


@pytest.mark.parametrize("kind", SPECS)
def test_each_field_of_a_spec_is_described(kind: str) -> None:
    """No field is without a sentence for policy authors, in the CRD and in the reference."""
    for path, part in parts(openapi(kind)["properties"]["spec"]):
        if not path.endswith("[]"):
            assert len(part["description"]) > 5, path


@pytest.mark.parametrize("kind", SPECS)
def test_each_field_has_a_row_in_the_reference(kind: str) -> None:
    """The page names every field of the schema."""
    page = reference_pages()[f"{kind.lower()}.md"]
    for path, _ in parts(openapi(kind)["properties"]["spec"]):
        name = path.rpartition(".")[2].removesuffix("[]")
        assert not name or f"| `{name.removesuffix('[]')}` |" in page, path


@pytest.mark.parametrize("kind", SPECS)
def test_the_links_of_a_page_lead_somewhere(kind: str) -> None:
    """Each part that a table refers to has a section of its own."""
    page = reference_pages()[f"{kind.lower()}.md"]
    headings = {line[3:].lower() for line in page.splitlines() if line.startswith("## ")}
    assert {link.partition(")")[0] for link in page.split("](#")[1:]} <= headings


def test_a_crd_has_a_status_of_its_own() -> None:
    """Only the status subresource writes status, and kubectl shows what was accepted."""
    version = yaml.safe_load(crds()["trafficpolicies.yaml"])["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"
