"""The types of fields: what they take, and what they refuse in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from xdscp.resources.mesh_api import fields


def refused(kind: object, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0s", 0), ("250ms", 250), ("1s500ms", 1500), ("1h30m", 5_400_000), ("99999h", 99_999 * 3_600_000)],
)
def test_durations_are_those_of_gateway_api(text: str, milliseconds: int) -> None:
    """A duration in GEP-2257's form is read."""
    assert TypeAdapter(fields.Duration).validate_python(text) == timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    "value", ["", "1", "1.5s", "-1s", "1e9s", "100000s", "1d", "1s ", 5, None, True, ["1s"], "1s" * 5]
)
def test_other_durations_are_refused(value: object) -> None:
    """What is no duration is refused with an example of one."""
    assert "such as 250ms" in refused(fields.Duration, value)


@given(st.integers(0, 4 * 99_999 * 3_600_000))
def test_a_written_duration_is_read_back(milliseconds: int) -> None:
    """A duration that the schema can say survives writing and reading."""
    value = timedelta(milliseconds=milliseconds)
    text = fields.duration_text(value)
    try:
        again = TypeAdapter(fields.Duration).validate_python(text)
    except ValidationError:
        assert len(text.replace("ms", "s").rstrip("hms")) > 0
        assert sum(text.count(unit) for unit in "hs") + text.count("m") - text.count("ms") > 4
    else:
        assert again == value


def test_a_connect_timeout_of_zero_is_refused() -> None:
    """Envoy rejects a cluster whose connect timeout is 0."""
    assert "from 1ms" in refused(fields.PositiveDuration, "0s")


@pytest.mark.parametrize("value", ["0s", "500ms", "1s500ms", "9h6m8s"])
def test_the_kernel_counts_keepalives_in_seconds(value: str) -> None:
    """A keepalive time that Linux does not take is refused: the connection would fail with it."""
    assert "whole seconds" in refused(fields.KernelSeconds, value)


@pytest.mark.parametrize("value", [0, 65_536, -1, "80", 80.0, True, None])
def test_a_port_is_a_number_from_1_to_65535(value: object) -> None:
    """What is no port number is refused, and nothing is converted."""
    assert refused(fields.PortNumber, value)


@pytest.mark.parametrize("value", [-0.1, 100.1, float("nan"), float("inf"), "50"])
def test_a_percentage_is_a_number_from_0_to_100(value: object) -> None:
    """What is no percentage is refused, not-a-number too."""
    assert refused(fields.Percent, value)


@pytest.mark.parametrize("value", [-1, 1_000_001, 1.5, "1"])
def test_a_weight_is_bounded(value: object) -> None:
    """A weight is what Gateway API takes."""
    assert refused(fields.Weight, value)


@pytest.mark.parametrize("name", ["x y", "x:y", ":path", "ünï", "", "x\n", "x" * 257])
def test_header_names_are_tokens(name: str) -> None:
    """A name with which Envoy would fail every request is refused."""
    assert refused(fields.HeaderName, name)
    assert refused(fields.EditedHeaderName, name)


@pytest.mark.parametrize("name", ["Host", "connection", "Transfer-Encoding", "content-length", "TE", "upgrade"])
def test_headers_of_the_connection_cannot_be_edited(name: str) -> None:
    """A header by which messages are framed or routed is no policy's to set."""
    assert "cannot be edited" in refused(fields.EditedHeaderName, name)


def test_header_names_are_lower_case_inside() -> None:
    """Names are compared in lower case."""
    assert TypeAdapter(fields.EditedHeaderName).validate_python("X-Tester") == "x-tester"


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", "\x7f", "", "x" * 16_385, "%" * 8_193, "é" * 8_193])
def test_header_values_that_envoy_refuses(value: str) -> None:
    """Control characters, and more bytes than Envoy takes once each % is doubled, are refused."""
    assert refused(fields.HeaderValue, value)


@pytest.mark.parametrize("value", ["100%", "%ENVIRONMENT(HOME)%", "é", "a\tb", "%" * 8_192])
def test_header_values_are_literal_text(value: str) -> None:
    """What looks like one of Envoy's format strings is text."""
    assert TypeAdapter(fields.HeaderValue).validate_python(value) == value


@pytest.mark.parametrize("value", ["a", "", "/a//b", "/a/../b", "/a/.", "/a?b", "/a#b", "/a%2fb", "/a b", "/ä"])
def test_paths_that_never_match(value: str) -> None:
    """A path that no normalized request has is refused."""
    assert refused(fields.Path, value)


@pytest.mark.parametrize("value", ["(?=a)", r"(a)\1", r"a\Z", "x{1001}", "(", "[a", "", "a{1000}b", "\ud800"])
def test_regular_expressions_are_re2(value: str) -> None:
    """What RE2 does not know, or compiles to more than 1,000 instructions, is refused."""
    assert refused(fields.Regex, value)


def test_a_complex_regular_expression_is_told_its_size() -> None:
    """The finding gives the size and the bound."""
    alternatives = "|".join(f"name{number}[a-z]+" for number in range(250))
    assert "allowed 1000" in refused(fields.Regex, alternatives)


@given(st.text())
def test_the_regular_expressions_taken_compile(value: str) -> None:
    """Any text is either refused or a pattern."""
    try:
        TypeAdapter(fields.Regex).validate_python(value)
    except ValidationError:
        return
    assert fields.compiled(value).programsize <= fields.LARGEST_PROGRAM


@pytest.mark.parametrize("value", ["10.0.0.256", "localhost", "fe80::1%eth0", "10.0.0.1/8", "", 1])
def test_addresses_are_ip_addresses(value: object) -> None:
    """A name, a prefix or an address with a zone is refused."""
    assert refused(fields.Address, value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a/b/c": "x"},
        {"-a": "x"},
        {"a": "b c"},
        {"a": 1},
        {1: "a"},
        {"a" * 64: "x"},
        {"a": "x" * 64},
        {"A_/b": "c"},
    ],
)
def test_labels_have_kubernetes_syntax(value: object) -> None:
    """What the API server would not take as labels is refused."""
    assert refused(fields.SomeLabels, value)


def test_labels_are_sorted_pairs() -> None:
    """Equal labels are equal values, in whatever order they are written."""
    assert TypeAdapter(fields.SomeLabels).validate_python({"b": "", "app.io/a": "1"}) == (("app.io/a", "1"), ("b", ""))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_breaks_a_field(value: object) -> None:
    """Whatever stands in a field is taken or refused; nothing else is raised."""
    for kind in (fields.Duration, fields.PortNumber, fields.Percent, fields.Hostname, fields.Path, fields.LabelPairs):
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            assert error.errors()
