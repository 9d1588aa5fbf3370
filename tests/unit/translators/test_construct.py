"""Messages made without validation."""

from __future__ import annotations

import pytest
from betterproto2 import Message
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterLbPolicy
from envoy_data_plane.envoy.config.core.v3 import HealthCheck
from envoy_data_plane.envoy.config.route.v3 import VirtualHost
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.google.protobuf import Any
from hypothesis import HealthCheck as Slow
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.translators.messages import fields, messages
from xdscp.translators.construct import unchecked


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fields: betterproto2 warns when it validates them
@given(st.one_of(messages(Cluster), messages(VirtualHost)))
@settings(deadline=None, max_examples=40, suppress_health_check=[Slow.too_slow])  # pydantic compiles validators
def test_same_message(message: Message) -> None:
    """A message made without validation equals the validated one of the same values."""
    values = {field.name: getattr(message, field.name) for field in fields(type(message))}
    validated = type(message)(**values)
    assert unchecked(type(message))(**values) == validated
    assert vars(unchecked(type(message))(**values)) == vars(validated)


def test_defaults() -> None:
    """Unset fields have their defaults, and messages share no list or map."""
    make = unchecked(Cluster)
    one, other = make(name="a"), make(name="a")
    assert one == other == Cluster(name="a")
    assert one.lb_policy is ClusterLbPolicy.ROUND_ROBIN
    one.health_checks.append(HealthCheck())
    one.typed_extension_protocol_options["x"] = Any.pack(Router())
    assert other == make(name="a") == Cluster(name="a")


def test_unknown_field() -> None:
    """A field that the message does not have is refused by name."""
    with pytest.raises(TypeError, match=r"Cluster has no field nam$"):
        unchecked(Cluster)(nam="a", name="b")  # type: ignore[call-arg]  # wrong on purpose


def test_positional() -> None:
    """Values are given by name only, as there is no order to rely on."""
    with pytest.raises(TypeError, match="positional"):
        unchecked(Cluster)([])


def test_one_constructor() -> None:
    """The constructor of a class is made once."""
    assert unchecked(Cluster) is unchecked(Cluster)
