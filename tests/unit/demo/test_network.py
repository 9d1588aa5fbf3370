"""Names and rules of namespaces."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.network import Loopback, interception, owner_pid


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("xdscp-12-ab3f-bridge", 12),
        ("xdscp-12-ab3f-reviews-v1-a", 12),
        ("xdscp-12", None),
        ("other-12-a-b", None),
        ("", None),
    ],
)
def test_the_owner_of_a_namespace_is_in_its_name(name, owner):
    """Only names of our form have an owner, so no other namespace is ever removed."""
    assert owner_pid(name) == owner


@given(st.text())
def test_any_name_has_an_owner_or_none(name):
    """Whatever else stands in /run/netns does no harm."""
    assert owner_pid(name) is None or name.startswith("xdscp-")


def test_rules_leave_envoy_and_loopback_alone_before_they_intercept():
    """The exceptions stand before the redirection of their chain."""
    rules = interception().splitlines()

    for chain, port in (("OUTPUT", 15001), ("PREROUTING", 15006)):
        own = [rule for rule in rules if rule.startswith(f"-A {chain} ")]
        assert own[-1].endswith(f"--to-ports {port}")
        assert all(rule.endswith("RETURN") for rule in own[:-1])
        assert len(own) == 3


def test_loopback_runs_commands_as_they_are():
    """A place on loopback adds nothing."""
    place = Loopback("127.97.1.1")

    assert place.command("envoy", "-c") == ["envoy", "-c"]
    with place.socket((socket.AF_INET6, None, 0, "", ())) as made:
        assert made.family == socket.AF_INET6
