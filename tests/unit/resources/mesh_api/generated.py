"""Random specs of our kinds, by their own schema: what a policy author may write, as far as a schema can say it."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from xdscp.resources.mesh_api import SPECS
from xdscp.resources.structural import structural


@cache
def spec_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Specs of a kind that its structural schema allows."""
    schema = SPECS[kind].model_json_schema()
    return _value(structural(schema, schema.get("$defs", {})))


@cache
def field_of(kind: str, name: str) -> st.SearchStrategy[Any]:
    """Values of one field of a kind's spec; of a list its entries."""
    schema = SPECS[kind].model_json_schema()
    field = structural(schema, schema.get("$defs", {}))["properties"][name]
    return _value(field["items"]) if field["type"] == "array" else _value(field)


def _value(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "properties" in schema:
            return _object(schema)
        case "object":
            short = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
            return st.dictionaries(short, short, min_size=1, max_size=2)
        case "array":
            return st.lists(_value(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 1000)
            return st.one_of(st.integers(low, min(high, low + 5)), st.sampled_from([low, high]))
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case _:
            return _text(schema)


def _field(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What only the name of a field tells."""
    if name in {"address", "appAddress"}:
        return st.sampled_from(["10.0.0.1", "fd00::1", "127.0.0.1"])
    if name == "addresses":
        return st.lists(st.sampled_from(["10.0.0.1", "fd00::1"]), unique=True, max_size=2)
    if name == "allowOrigins":
        return st.lists(st.sampled_from(["*", "https://a.example", "http://*.b.example:8080"]), min_size=1, max_size=2)
    return _value(schema)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    pattern = schema.get("pattern")
    if pattern is not None and "(h|m|s|ms)" in pattern:
        return st.sampled_from(["1s", "2s", "30s", "1h30m", "250ms", "0s"])
    if pattern is not None:
        shortest, longest = schema.get("minLength", 0), min(schema["maxLength"], 20)
        found = st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True)
        return found.filter(lambda text: shortest <= len(text) <= longest)
    return st.sampled_from(["/", "/a", "a.b", "a+", "10.0.0.1", "x"])


def _object(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = schema.get("required", ())
    fields = {name: _field(name, field) for name, field in schema["properties"].items()}
    optional = [name for name in fields if name not in required]

    @st.composite
    def built(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=4)) if optional else []
        return {name: draw(strategy) for name, strategy in fields.items() if name in required or name in chosen}

    return built()
