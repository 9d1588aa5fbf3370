"""Findings: the words in which a manifest is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xdscp.resources.rejection import SHOWN, Finding, Rejected, findings_of, path_of, rejected, shown


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=camel)


class Retry(Part):
    attempts: int = Field(3, ge=1, le=10)
    per_try: str = ""


class Fixed(Part):
    type: Literal["Fixed"]
    value: int


class Repeated(Part):
    type: Literal["Repeated"]
    retry: Retry


class Route(Part):
    retry: Retry | None = None
    action: Annotated[Fixed | Repeated, Field(discriminator="type")] | None = None
    named: dict[str, Retry] = {}
    port: int | bool = 1
    tries: tuple[Retry, ...] = Field((), min_length=1)


class Spec(Part):
    routes: tuple[Route, ...] = ()


def findings(routes: list[dict[str, Any]], **spec: Any) -> list[tuple[str, str, str]]:
    manifest = {"routes": routes, **spec}
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(manifest)
    return [(found.field, found.value, found.message) for found in findings_of(caught.value, manifest, Spec, "spec")]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            {"retry": {"attempts": 99}},
            ("spec.routes[0].retry.attempts", "99", "must be less than or equal to 10"),
        ),
        (
            {"retry": {"attemps": 3}},
            ("spec.routes[0].retry.attemps", "3", "unknown field; did you mean attempts?"),
        ),
        (
            {"retry": {"per_Try": "1s"}},
            ("spec.routes[0].retry.per_Try", '"1s"', "unknown field; did you mean perTry?"),
        ),
        (
            {"retry": {"zzz": 1}},
            ("spec.routes[0].retry.zzz", "1", "unknown field; allowed: attempts, perTry"),
        ),
        ({"action": {"type": "Fixed"}}, ("spec.routes[0].action.value", "", "is required")),
        (
            {"action": {"type": "Repeated", "retry": {"atempts": 1}}},
            ("spec.routes[0].action.retry.atempts", "1", "unknown field; did you mean attempts?"),
        ),
        (
            {"action": {"type": "Wrong"}},
            ("spec.routes[0].action.type", '"Wrong"', "must be one of 'Fixed', 'Repeated'"),
        ),
        ({"action": {}}, ("spec.routes[0].action.type", "", "is required")),
        (
            {"named": {"a.b/c": {"x": 1}}},
            ('spec.routes[0].named["a.b/c"].x', "1", "unknown field; allowed: attempts, perTry"),
        ),
        ({"tries": [{"attempts": 0}]}, ("spec.routes[0].tries[0].attempts", "0", "must be greater than or equal to 1")),
        ({"port": []}, ("spec.routes[0].port", "[]", "must be a valid integer or a valid boolean")),
    ],
)
def test_errors_of_pydantic_name_field_value_and_what_is_allowed(
    route: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    """An error of pydantic becomes the path in the manifest, the value given, and what is allowed."""
    assert findings([route]) == [expected]


def test_each_error_is_a_finding() -> None:
    """All errors of a manifest are told, not only the first."""
    found = findings([{"retry": {"attempts": 0}}, {"retri": 1}], route=1)

    assert [field for field, _, _ in found] == ["spec.routes[0].retry.attempts", "spec.routes[1].retri", "spec.route"]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet=st.characters()), inner),
)


@given(json_like)
def test_a_shown_value_is_one_short_printable_line(value: Any) -> None:
    """Whatever the value, what is shown of it fits a line and cannot forge another."""
    text = shown(value)

    assert len(text) <= SHOWN
    assert text.isprintable()


def test_a_huge_value_is_shown_without_being_written_out() -> None:
    """A value is cut before it is written: a number of a million digits, a deep list, a long text."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert shown(1 << 4_000_000) == "a number of 4000001 bits"
    assert shown(deep).startswith("[[[")
    assert shown("x" * 10_000_000).endswith("…")


@given(st.lists(st.text(alphabet=st.characters()) | st.integers(0, 99)))
def test_a_path_is_printable(steps: list[str | int]) -> None:
    """Names from outside cannot break the line that a path stands in."""
    assert path_of(steps).isprintable()


def test_findings_move_under_their_parent() -> None:
    """A finding of a part gets the path of the part, whether it is a member or an item."""
    error = rejected("[0].port", 1, "no").under("ports").under("spec")

    assert error.findings == (Finding("spec.ports[0].port", "1", "no"),)
    assert str(error) == "spec.ports[0].port: no (given: 1)"


def test_a_rejection_can_be_raised_through_a_context_manager() -> None:
    """The interpreter may write the traceback of a rejection."""
    with pytest.raises(Rejected):
        raise rejected("a", 1, "no").with_traceback(None)
