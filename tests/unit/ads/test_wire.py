"""Requests and responses in bytes, against an independent protobuf implementation."""

from __future__ import annotations

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from xdscp.ads import wire
from xdscp.ads.client import Client
from xdscp.snapshot import Resource, ResourceType

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
NAMES = st.lists(TEXT, max_size=20)


@given(raw=st.binary(max_size=300), incremental=st.booleans())
def test_any_bytes_are_a_request_or_invalid(raw, incremental):
    """No bytes raise anything but InvalidRequest, and what is read has strings."""
    try:
        request = wire.request(raw, incremental=incremental)
    except wire.InvalidRequest:
        return
    assert isinstance(request.url, str)
    assert all(isinstance(name, str) for name in request.subscribe)


@given(raw=st.binary(max_size=300), incremental=st.booleans())
def test_any_bytes_are_a_node_or_invalid(raw, incremental):
    """No bytes of a node raise anything but InvalidRequest."""
    try:
        wire.node_client(raw, incremental=incremental)
    except wire.InvalidRequest as error:
        assert str(error)


@given(url=TEXT, names=NAMES, nonce=TEXT, version=TEXT, error=st.none() | TEXT)
def test_sotw_request_is_read_whole(url, names, nonce, version, error):
    """A DiscoveryRequest written by another implementation is read back."""
    message = discovery_pb2.DiscoveryRequest(
        type_url=url, resource_names=names, response_nonce=nonce, version_info=version
    )
    if error is not None:
        message.error_detail.message = error
    read = wire.request(message.SerializeToString(), incremental=False)
    assert read == wire.Request(url, tuple(names), (), nonce, error, {}, version)


@given(url=TEXT, names=NAMES, dropped=NAMES, known=st.dictionaries(TEXT, TEXT, max_size=10), nonce=TEXT)
def test_delta_request_is_read_whole(url, names, dropped, known, nonce):
    """A DeltaDiscoveryRequest written by another implementation is read back."""
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=url, resource_names_subscribe=names, resource_names_unsubscribe=dropped,
        initial_resource_versions=known, response_nonce=nonce,
    )  # fmt: skip
    read = wire.request(message.SerializeToString(), incremental=True)
    assert read == wire.Request(url, tuple(names), tuple(dropped), nonce, None, known)


RESOURCES = st.lists(
    st.builds(Resource, st.just(ResourceType.CDS), TEXT, TEXT, st.binary(max_size=400)), max_size=8
).map(tuple)


@given(url=TEXT, nonce=TEXT, version=TEXT, resources=RESOURCES, removed=NAMES)
def test_delta_response_is_what_another_implementation_reads(url, nonce, version, resources, removed):
    """A joined DeltaDiscoveryResponse has names, versions, types and bodies where they belong."""
    raw = wire.delta_response(url, nonce, version, resources, removed)
    read = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
    assert (read.type_url, read.nonce, read.system_version_info) == (url, nonce, version)
    assert list(read.removed_resources) == removed
    got = [(one.name, one.version, one.resource.type_url, one.resource.value) for one in read.resources]
    assert got == [(one.name, one.version, url, one.body) for one in resources]
    assert len(read.SerializeToString()) <= len(raw)


@given(url=TEXT, nonce=TEXT, version=TEXT, resources=RESOURCES)
def test_sotw_response_is_what_another_implementation_reads(url, nonce, version, resources):
    """A joined DiscoveryResponse has types and bodies where they belong."""
    read = discovery_pb2.DiscoveryResponse.FromString(wire.sotw_response(url, nonce, version, resources))
    assert (read.type_url, read.nonce, read.version_info) == (url, nonce, version)
    assert [(one.type_url, one.value) for one in read.resources] == [(url, one.body) for one in resources]


@given(name=TEXT)
def test_empty_assignment(name):
    """It is a ClusterLoadAssignment of that name without endpoints."""
    read = endpoint_pb2.ClusterLoadAssignment.FromString(wire.empty_assignment(name))
    assert read == endpoint_pb2.ClusterLoadAssignment(cluster_name=name)


@pytest.mark.parametrize("role", ["sidecar", "gateway", "grpc"])
@pytest.mark.parametrize("mode", ["interception", "explicit"])
def test_node(role, mode):
    """Role and mode are read from the metadata that the bootstrap writes, whatever else stands there."""
    request = discovery_pb2.DeltaDiscoveryRequest()
    request.node.id = "shop/reviews-7.web"
    request.node.cluster = "anything"
    request.node.metadata.update({"xdscp": {"role": role, "mode": mode, "other": [1]}, "more": {"deep": {}}})
    read = wire.request(request.SerializeToString(), incremental=True)
    assert wire.node_client(read.node, incremental=True) == Client("shop", "reviews-7.web", role, mode, True)


def test_grpc_clients_need_no_mode():
    """Nothing is intercepted for a proxyless application."""
    request = discovery_pb2.DiscoveryRequest()
    request.node.id = "shop/app"
    request.node.metadata.update({"xdscp": {"role": "grpc"}})
    read = wire.request(request.SerializeToString(), incremental=False)
    assert wire.node_client(read.node, incremental=False).mode == "explicit"


@pytest.mark.parametrize("count", [wire.MAX_NAMES, wire.MAX_NAMES + 1])
def test_number_of_names_is_limited(count):
    """As many names as the limit are read, one more is refused by number."""
    raw = discovery_pb2.DiscoveryRequest(resource_names=["n"] * count).SerializeToString()
    if count > wire.MAX_NAMES:
        with pytest.raises(wire.InvalidRequest, match=str(count)):
            wire.request(raw, incremental=False)
    else:
        assert len(wire.request(raw, incremental=False).subscribe) == count
