"""The reference pages, generated from the models of `mesh_api`: every field with type, default and what is allowed.

Place in the flow: `python -m xdscp docs` writes what `reference_pages` gives into docs/reference/; a test holds the
files there to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xdscp.resources.mesh_api import API_VERSION, SPECS
from xdscp.resources.reference_texts import EXAMPLES, RULES
from xdscp.resources.structural import GENERATED, NAMES, Schema, resolved


def reference_pages() -> dict[str, str]:
    """The reference page of each kind as Markdown, by file name."""
    return {f"{kind.lower()}.md": _page(kind) for kind in SPECS}


def _page(kind: str) -> str:
    schema = SPECS[kind].model_json_schema()
    definitions: dict[str, Schema] = schema.get("$defs", {})
    names = NAMES[kind]
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
