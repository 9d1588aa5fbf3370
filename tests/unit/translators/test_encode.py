"""The encoder against betterproto2's own and against an independent protobuf implementation."""

from __future__ import annotations

import struct
from datetime import UTC, timedelta
from datetime import datetime as instant  # pydantic evaluates annotations like `datetime.timedelta` in our scope
from typing import Any

import pytest
from betterproto2 import Message
from envoy_data_plane.envoy.config.bootstrap.v3 import Bootstrap
from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakersThresholds,
    Cluster,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    ApiVersion,
    HealthCheck,
    HttpUri,
    Metadata,
    RuntimeDouble,
    SocketAddress,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment, ClusterLoadAssignmentPolicy
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.rbac.v3 import Rbac as Rules
from envoy_data_plane.envoy.config.route.v3 import (
    CorsPolicy as OldCorsPolicy,
)
from envoy_data_plane.envoy.config.route.v3 import (
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import Cors, CorsPolicy
from envoy_data_plane.envoy.extensions.filters.http.fault.v3 import HttpFault
from envoy_data_plane.envoy.extensions.filters.http.rbac.v3 import Rbac as HttpRbac
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.listener.original_dst.v3 import OriginalDst
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager
from envoy_data_plane.envoy.extensions.filters.network.rbac.v3 import Rbac as NetworkRbac
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy.v3 import TcpProxy
from envoy_data_plane.envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3 import (
    ClientSideWeightedRoundRobin,
)
from envoy_data_plane.envoy.extensions.load_balancing_policies.cluster_provided.v3 import ClusterProvided
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev.v3 import Maglev
from envoy_data_plane.envoy.extensions.load_balancing_policies.pick_first.v3 import PickFirst
from envoy_data_plane.envoy.extensions.load_balancing_policies.random.v3 import Random
from envoy_data_plane.envoy.extensions.load_balancing_policies.ring_hash.v3 import RingHash
from envoy_data_plane.envoy.extensions.load_balancing_policies.round_robin.v3 import RoundRobin
from envoy_data_plane.envoy.extensions.load_balancing_policies.subset.v3 import Subset
from envoy_data_plane.envoy.extensions.load_balancing_policies.wrr_locality.v3 import WrrLocality
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    DownstreamTlsContext,
    Secret,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import HttpProtocolOptions
from envoy_data_plane.google.protobuf import ListValue, Struct, Value
from hypothesis import HealthCheck as Slow
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.translators.messages import differences, fields, independent, messages, reachable, values
from xdscp.translators import wire
from xdscp.translators.construct import unchecked
from xdscp.translators.encode import FieldError, encode, packed, version

ROOTS: list[type[Message]] = [
    Bootstrap,
    ClientSideWeightedRoundRobin,
    Cluster,
    ClusterLoadAssignment,
    ClusterProvided,
    Cors,
    CorsPolicy,
    DownstreamTlsContext,
    HttpConnectionManager,
    HttpFault,
    HttpProtocolOptions,
    HttpRbac,
    LeastRequest,
    Listener,
    Maglev,
    NetworkRbac,
    OldCorsPolicy,
    OriginalDst,
    PickFirst,
    Random,
    RingHash,
    RoundRobin,
    RouteConfiguration,
    Router,
    Rules,
    Secret,
    Struct,
    Subset,
    TcpProxy,
    UpstreamTlsContext,
    VirtualHost,
    WrrLocality,
]

quick = settings(
    deadline=None,  # the first message of a class compiles its encoder, and betterproto2's its validator
    suppress_health_check=[Slow.too_slow, Slow.data_too_large, Slow.large_base_example],  # messages are large
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fields: betterproto2 warns when it validates them
@pytest.mark.parametrize("root", ROOTS, ids=lambda root: f"{root.__module__.split('.')[-2]}-{root.__name__}")
def test_random_message(root: type[Message]) -> None:
    """Any message encodes as betterproto2 encodes it, and reads back equal by an independent implementation."""

    @given(message=messages(root))
    @settings(quick, max_examples=25)
    def check(message: Message) -> None:
        body = encode(message)
        assert body == bytes(message)
        assert list(differences(message, independent(root).FromString(body))) == []

    check()


def test_every_field() -> None:
    """Each field of each class that our messages can hold reads back equal by an independent implementation."""
    classes = sorted(reachable(ROOTS), key=lambda cls: (cls.__module__, cls.__name__))
    seen = 0

    @given(data=st.data())
    @settings(quick, max_examples=2)
    def check(data: st.DataObject) -> None:
        nonlocal seen
        theirs = independent(cls)
        if theirs is None:
            return
        known = {descriptor.number for descriptor in theirs.DESCRIPTOR.fields}
        for field in fields(cls):
            message = unchecked(cls)(**{field.name: data.draw(values(field, 0))})
            decoded = theirs.FromString(encode(message))
            assert list(differences(message, decoded)) == []
            seen += message_number(cls, field.name) in known

    for cls in classes:  # noqa: B007  # `check` reads it
        check()
    assert seen > 2000


def message_number(cls: type[Message], name: str) -> int:
    return cls.__dataclass_fields__[name].metadata["betterproto"].number  # type: ignore[attr-defined,no-any-return]  # a dataclass


@given(st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=4), st.booleans()), st.randoms())
def test_map_order(found: dict[str, bool], random: Any) -> None:
    """Messages with equal maps encode to the same bytes, in whatever order the maps were filled."""
    pairs = list(found.items())
    random.shuffle(pairs)
    one = Struct(fields={key: Value(bool_value=flag) for key, flag in found.items()})
    other = Struct(fields={key: Value(bool_value=flag) for key, flag in pairs})
    assert encode(one) == encode(other)
    assert list(differences(one, independent(Struct).FromString(encode(other)))) == []


@given(st.timedeltas(timedelta(days=-3_000_000), timedelta(days=3_000_000)))
def test_duration(value: timedelta) -> None:
    """Durations are exact to the microsecond and valid: seconds and nanoseconds have one sign."""
    cluster = unchecked(Cluster)(connect_timeout=value)
    found = independent(Cluster).FromString(encode(cluster)).connect_timeout
    assert (found.seconds * 10**9 + found.nanos) // 1000 == value // timedelta(microseconds=1)
    assert found.seconds * found.nanos >= 0
    assert abs(found.nanos) < 10**9


@given(st.integers(-(2**63), 2**64 - 1))
def test_varint(value: int) -> None:
    """A varint reads back as the number modulo 2^64."""
    read = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(wire.varint(value)))
    assert read == value % 2**64
    assert all(byte & 0x80 for byte in wire.varint(value)[:-1])


def test_recursion() -> None:
    """A message whose class holds itself encodes to any depth."""
    value = Value(string_value="deep")
    for _ in range(50):
        value = Value(list_value=ListValue(values=[value, Value(null_value=0), Value(number_value=-0.5)]))  # type: ignore[arg-type]  # pydantic makes the enum
    assert encode(value) == bytes(value)


def test_unknown_fields() -> None:
    """Fields of a newer API that were read are written again."""
    newer = wire.embedded(5000, b"later") + wire.tag(5001, "uint32") + wire.varint(7)
    cluster = Cluster.parse(bytes(Cluster(name="a")) + newer)
    assert encode(cluster) == bytes(cluster) == bytes(Cluster(name="a")) + newer


def test_presence() -> None:
    """A field with presence is written even if it is zero; one without is not."""
    empty = ClusterLoadAssignmentPolicy(overprovisioning_factor=0)
    assert encode(empty) == bytes(empty) == wire.embedded(3, b"")
    assert encode(SocketAddress(port_value=0)) == b"\x18\x00"
    assert encode(SocketAddress(address="")) == b""
    assert encode(Address(socket_address=SocketAddress())) == b"\x0a\x00"


def test_embedded() -> None:
    """A message can be joined of its fields, encoded one by one."""
    one, other = VirtualHost(name="a", domains=["*"]), VirtualHost(name="b" * 300)
    joined = wire.embedded(1, b"table") + wire.embedded(2, encode(one)) + wire.embedded(2, encode(other))
    assert joined == encode(RouteConfiguration(name="table", virtual_hosts=[one, other]))


def test_packed() -> None:
    """An Any has the full protobuf name of its message, nested messages' too, and the bytes of betterproto2's pack."""
    config = packed(RoundRobin())
    assert config.type_url == ("type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")
    assert packed(ClusterEdsClusterConfig(service_name="a")).type_url.endswith("v3.Cluster.EdsClusterConfig")
    assert config == type(config).pack(RoundRobin())
    extension = TypedExtensionConfig(name="lb", typed_config=packed(Router(suppress_envoy_headers=True)))
    assert encode(extension) == bytes(extension)
    assert extension.typed_config is not None
    assert extension.typed_config.unpack() == Router(suppress_envoy_headers=True)


def test_version() -> None:
    """The version is 16 hexadecimal digits that depend on the content only, on every machine."""
    assert version(b"") == "e4a6a0577479b2b4"
    assert version(b"a") != version(b"b")
    assert len(version(b"x" * 10_000)) == 16


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (unchecked(Cluster)(name=5), "Cluster.name"),
        (unchecked(Cluster)(name=b"bytes"), "Cluster.name"),
        (unchecked(Cluster)(name=None), "Cluster.name"),
        (unchecked(Cluster)(name="\ud800"), "Cluster.name"),
        (unchecked(Cluster)(connect_timeout=5), "Cluster.connect_timeout"),
        (unchecked(Cluster)(connect_timeout=timedelta.max), "Cluster.connect_timeout"),
        (unchecked(Cluster)(per_connection_buffer_limit_bytes=2**32), "Cluster.per_connection_buffer_limit_bytes"),
        (unchecked(Cluster)(per_connection_buffer_limit_bytes="1"), "Cluster.per_connection_buffer_limit_bytes"),
        (unchecked(Cluster)(respect_dns_ttl=1), "Cluster.respect_dns_ttl"),
        (unchecked(Cluster)(lb_policy="MAGLEV"), "Cluster.lb_policy"),
        (unchecked(Cluster)(lb_policy=ApiVersion.V3), "Cluster.lb_policy"),
        (unchecked(Cluster)(eds_cluster_config=SocketAddress()), "Cluster.eds_cluster_config"),
        (unchecked(Cluster)(eds_cluster_config={}), "Cluster.eds_cluster_config"),
        (unchecked(Cluster)(health_checks=HealthCheck()), "Cluster.health_checks"),
        (unchecked(Cluster)(health_checks=[None]), "Cluster.health_checks"),
        (unchecked(Cluster)(typed_extension_protocol_options={"a": b""}), "Cluster.typed_extension_protocol_options"),
        (unchecked(VirtualHost)(domains="example.com"), "VirtualHost.domains"),
        (unchecked(VirtualHost)(domains=["a", 1]), "VirtualHost.domains"),
        (unchecked(SocketAddress)(port_value=-1), "SocketAddress.port_value"),
        (unchecked(SocketAddress)(port_value=80.0), "SocketAddress.port_value"),
        (unchecked(SocketAddress)(port_value=True), "SocketAddress.port_value"),
        (unchecked(Address)(socket_address=unchecked(SocketAddress)(port_value=2**40)), "SocketAddress.port_value"),
        (unchecked(HttpUri)(uri="a", cluster="b", timeout="1s"), "HttpUri.timeout"),
        (unchecked(Metadata)(filter_metadata={1: Struct()}), "Metadata.filter_metadata"),
        (unchecked(Value)(number_value="1"), "Value.number_value"),
        (unchecked(RouteMatch)(prefix="/", path="/"), "RouteMatch.path"),
    ],
)
def test_wrong_value(message: Message, place: str) -> None:
    """A value that does not fit its field is refused, and the error names the message class and the field."""
    with pytest.raises(TypeError, match=rf"{place}: ") as caught:
        encode(message)
    assert type(caught.value) is FieldError


def test_not_a_message() -> None:
    """What is no message is refused by its type."""
    with pytest.raises(TypeError, match="expected a betterproto2 message, got dict"):
        encode({})  # type: ignore[arg-type]  # wrong on purpose


def test_float_edges() -> None:
    """Infinities and values with no exact float are written as IEEE 754 says; too large ones are refused."""
    assert encode(Value(number_value=float("inf"))) == b"\x11" + struct.pack("<d", float("inf"))
    assert encode(Value(number_value=0.1)) == b"\x11" + struct.pack("<d", 0.1)
    assert encode(RuntimeDouble(default_value=-0.0)) == bytes(RuntimeDouble(default_value=-0.0)) == b""
    with pytest.raises(TypeError, match=r"Value\.number_value: "):
        encode(unchecked(Value)(number_value=10**400))


def test_timestamp_needs_zone() -> None:
    """A datetime without a time zone is refused: it names no instant."""
    assert wire.timestamp(instant(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == b"\x08\x01\x10\x88\x27"
    with pytest.raises(TypeError):
        wire.timestamp(instant(1970, 1, 1))  # noqa: DTZ001  # wrong on purpose


def test_small_cluster() -> None:
    """The bytes of a plain cluster are those of the protobuf encoding, written out by hand."""
    cluster = Cluster(name="a", type=ClusterDiscoveryType.EDS, connect_timeout=timedelta(seconds=1.5))
    assert encode(cluster) == b"\x0a\x01a\x10\x03\x22\x08\x08\x01\x10\x80\xca\xb5\xee\x01"
    assert encode(CircuitBreakersThresholds(max_connections=300)) == b"\x12\x03\x08\xac\x02"
