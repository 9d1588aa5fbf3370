"""Snapshots: finding by name, comparing along the branches that differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xdscp.resources.core import Key
from xdscp.snapshot import EMPTY, Branch, Resource, ResourceType, Shard, Snapshot, changes
from xdscp.translators import names

CDS = ResourceType.CDS


def by_namespace(owner: Key) -> str:
    return owner.namespace


def by_name(owner: Key) -> str:
    return owner.name


def cluster(key: Key, content: int) -> Resource:
    return Resource(CDS, names.cluster(key, 80), str(content), str(content).encode())


def snapshot(contents: dict[Key, int], held: Snapshot = EMPTY) -> Snapshot:
    """A tree of two levels; shards and branches that are equal to those of `held` are the same objects."""
    namespaces: dict[str, dict[str, Shard]] = {}
    for key, content in contents.items():
        shard = Shard({CDS: {names.cluster(key, 80): cluster(key, content)}})
        before = _shard(held, key)
        namespaces.setdefault(key.namespace, {})[key.name] = before if before == shard else shard
    branches = {}
    for namespace, shards in namespaces.items():
        branch = Branch(by_name, shards)
        before = held.services.children.get(namespace) if isinstance(held.services, Branch) else None
        branches[namespace] = before if before == branch else branch
    return Snapshot(Shard({}), Shard({}), Branch(by_namespace, branches))


def _shard(held: Snapshot, key: Key) -> Shard | None:
    node = held.services
    for level in (key.namespace, key.name):
        node = node.children.get(level) if isinstance(node, Branch) else None
    return node


KEYS = st.builds(Key, st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"]))
CONTENTS = st.dictionaries(KEYS, st.integers(0, 2), max_size=6)


@given(CONTENTS, CONTENTS)
def test_changes_are_exactly_what_differs(before, after):
    """comparing along branches gives what comparing all resources gives."""
    old = snapshot(before)
    new = snapshot(after, old)
    found = changes(old, new).get(CDS, {})

    olds = {resource.name: resource for resource in old.all(CDS)}
    news = {resource.name: resource for resource in new.all(CDS)}
    assert found == {
        name: (olds.get(name), news.get(name)) for name in olds.keys() | news.keys() if olds.get(name) != news.get(name)
    }


@given(CONTENTS)
def test_find_follows_the_name(contents):
    """every resource is found by its name, and no other name is."""
    held = snapshot(contents)

    assert [held.find(CDS, resource.name) for resource in held.all(CDS)] == list(held.all(CDS))
    assert held.find(CDS, "out/a/nothing/80") is None
    assert held.find(CDS, "passthrough") is None


def test_levels_that_changed_shape_are_compared_flat():
    """a namespace that grew another level of branches differs only in its resources."""
    key = Key("a", "x")
    flat = snapshot({key: 1})
    deep = Snapshot(Shard({}), Shard({}), Branch(by_name, {"x": Shard({CDS: {"out/a/x/80": cluster(key, 1)}})}))

    assert changes(flat, deep) == {}


LABEL = st.from_regex(r"[a-z]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True) | st.sampled_from(["ext", "out", "any", "in"])


@given(LABEL, LABEL, st.integers(1, 65535), LABEL | st.just(""))
def test_owner_is_read_back_from_every_name(namespace, name, port, subset):
    """the owner of a resource is told by its name."""
    key = Key(namespace, name)
    made = [
        names.cluster(key, port, subset),
        names.external_cluster(key, port),
        names.virtual_host(80, key, port),
        names.virtual_host(names.EXPLICIT, key, port),
        names.external_virtual_host(80, key, port),
        names.grpc_route_table(key, port),
        f"{name}.{namespace}:{port}",
        f"{name}.{namespace}.svc.cluster.local:{port}",
    ]

    assert {names.owner(each) for each in made} == {key}
    assert names.owner(f"{name}:{port}", namespace) == key
    assert len(set(made)) == len(made)


@given(LABEL, LABEL, LABEL, LABEL, st.integers(1, 9), st.integers(1, 9))
def test_names_are_injective(namespace, name, other_namespace, other_name, port, other_port):
    """two owners never share a name."""
    one, other = Key(namespace, name), Key(other_namespace, other_name)
    for make in (
        names.cluster,
        names.external_cluster,
        lambda key, number: names.virtual_host(names.EXPLICIT, key, number),
        lambda key, number: names.external_virtual_host(80, key, number),
        names.grpc_route_table,
    ):
        assert (make(one, port) == make(other, other_port)) == ((one, port) == (other, other_port))


def test_names_of_no_service_have_no_owner():
    """route tables, catch-alls and inbound clusters belong to no service."""
    for name in ("out/80", "out/80/any", "out/explicit", "out/explicit/any", "in/80", "passthrough", "outbound"):
        assert names.owner(name) is None
