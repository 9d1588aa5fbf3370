"""Load assignments: what stands in them, and that joined bytes are the encoded ones."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.translators.decoding import decoded, parsed
from xdscp.mesh.destination import Endpoint, Locality, LocalityEndpoints
from xdscp.translators import eds
from xdscp.translators.encode import encode

names = st.text("abcdefgh-/.", max_size=200)
addresses = st.ip_addresses().map(str)
localities = st.builds(Locality, names, names)
endpoints = st.builds(
    Endpoint,
    addresses,
    st.integers(1, 65535),
    localities,
    draining=st.booleans(),
    weight=st.integers(0, 2**20),
    additional_addresses=st.lists(addresses, max_size=2).map(tuple),
    hostname=names,
)
groups = st.builds(
    LocalityEndpoints,
    localities,
    st.integers(0, 5),
    st.integers(0, 2**31),
    st.lists(endpoints, max_size=6).map(tuple),
)


@given(names, st.lists(groups, max_size=4).map(tuple))
def test_joined_bytes_are_the_encoded_ones(name, assigned):
    """The fast path gives the very bytes of the message."""
    assert eds.load_assignment_bytes(name, assigned) == encode(eds.load_assignment(name, assigned))


def test_one_changed_endpoint_is_one_encoding(monkeypatch):
    """Of a big service only the endpoint that changed is encoded again."""
    locality = Locality("region", "zone")
    before = tuple(Endpoint(f"10.7.{index // 256}.{index % 256}", 7007, locality) for index in range(5000))
    eds.load_assignment_bytes("big", (LocalityEndpoints(locality, 0, 1, before),))
    encoded = []
    original = eds.lb_endpoint
    monkeypatch.setattr(eds, "lb_endpoint", lambda endpoint: encoded.append(endpoint) or original(endpoint))
    changed = replace(before[2500], draining=True)
    after = (*before[:2500], changed, *before[2501:])
    body = eds.load_assignment_bytes("big", (LocalityEndpoints(locality, 0, 1, after),))
    assert encoded == [changed]
    (group,) = parsed("ClusterLoadAssignment", body)["endpoints"]
    assert group["lb_endpoints"][2500]["health_status"] == "DRAINING"
    assert len(group["lb_endpoints"]) == 5000


def test_locality_and_weights_are_always_there():
    """Even an endpoint without a zone and with weight zero has a locality and weights of one: gRPC asks for them."""
    group = LocalityEndpoints(Locality(), 0, 0, (Endpoint("10.0.0.1", 80, weight=0),))
    (found,) = decoded(eds.load_assignment("name", (group,)))["endpoints"]
    assert found["locality"] == {}
    assert found["load_balancing_weight"] == 1
    assert found["lb_endpoints"][0]["load_balancing_weight"] == 1


def test_no_endpoints_is_an_empty_assignment():
    """A service without endpoints has an assignment, which is what empties a cluster and ends its warming."""
    assert decoded(eds.load_assignment("name", ())) == {"cluster_name": "name"}


def test_draining_priority_and_second_address():
    """Priority, health and the address of the other family are in their fields."""
    endpoint = Endpoint("10.0.0.1", 80, draining=True, additional_addresses=("fd00::1",))
    (group,) = decoded(eds.load_assignment("name", (LocalityEndpoints(Locality("r", "z"), 2, 5, (endpoint,)),)))[
        "endpoints"
    ]
    assert (group["priority"], group["load_balancing_weight"], group["locality"]) == (
        2,
        5,
        {"region": "r", "zone": "z"},
    )
    (found,) = group["lb_endpoints"]
    assert found["health_status"] == "DRAINING"
    assert found["endpoint"]["additional_addresses"] == [
        {"address": {"socket_address": {"address": "fd00::1", "port_value": 80}}}
    ]


def test_fixed_endpoints_stand_by_locality():
    """Endpoints written into a cluster are grouped by locality, weighted by their number."""
    here, there = Locality("r", "a"), Locality("r", "b")
    fixed = eds.fixed("name", (Endpoint("10.0.0.1", 80, there), Endpoint("10.0.0.2", 80, here, weight=3)))
    groups_found = decoded(fixed)["endpoints"]
    assert [(each["locality"]["zone"], each["load_balancing_weight"]) for each in groups_found] == [("a", 3), ("b", 1)]
