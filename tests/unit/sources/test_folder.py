"""The folder: any history of files ends in what a fresh read gives, except for what is kept for safety."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdscp.resources.core import Key, Problem
from xdscp.sources.changes import Batch, Change
from xdscp.sources.folder import Content, Folder, Unavailable, place_of


def node(name: str, zone: str = "a") -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{zone: {zone}}}}}\n"


def file(*documents: str) -> bytes:
    return "---\n".join(documents).encode()


class State:
    """What a reader of the batches knows: the manifests with their origins, and the problems."""

    def __init__(self) -> None:
        self.folder = Folder()
        self.objects: dict[tuple[str, Key], tuple[Any, str]] = {}
        self.problems: dict[str, Problem] = {}

    def update(self, **contents: Content) -> Batch:
        return self.take({f"{name}.yaml": content for name, content in contents.items()})

    def take(self, contents: dict[str, Content]) -> Batch:
        batch = self.folder.update(contents)
        for change in batch.changes:
            if change.manifest is None:
                del self.objects[change.kind, change.key]
            else:
                self.objects[change.kind, change.key] = (change.manifest, change.origin)
        for trouble in batch.troubles:
            if trouble.problem is None:
                del self.problems[trouble.origin]
            else:
                self.problems[trouble.origin] = trouble.problem
        return batch

    @property
    def zones(self) -> dict[str, str]:
        return {key.name: manifest["metadata"]["labels"]["zone"] for (_, key), (manifest, _) in self.objects.items()}

    @property
    def reasons(self) -> dict[str, str]:
        return {origin: problem.reason for origin, problem in self.problems.items()}


@pytest.fixture
def state() -> State:
    return State()


def test_files_become_changes(state: State) -> None:
    """A new document is a change with its origin; the same content again is nothing; a lost file removes its objects."""
    batch = state.update(a=file(node("n1"), node("n2")))

    assert [(change.kind, change.key, change.origin) for change in batch.changes] == [
        ("Node", Key("", "n1"), "a.yaml#1"),
        ("Node", Key("", "n2"), "a.yaml#2"),
    ]
    assert not state.update(a=file(node("n1"), node("n2")))
    assert state.update(a=None).changes == (
        Change("Node", Key("", "n1"), None, "a.yaml#1"),
        Change("Node", Key("", "n2"), None, "a.yaml#2"),
    )
    assert state.folder.paths == frozenset()


def test_only_what_differs_is_a_change(state: State) -> None:
    """Of a file that changed, the objects that did not are not told again."""
    state.update(a=file(node("n1"), node("n2")))

    assert [change.key.name for change in state.update(a=file(node("n1"), node("n2", "b"))).changes] == ["n2"]


def test_a_value_of_another_type_is_a_change(state: State) -> None:
    """`1` and `true` are equal to Python, and not to a parser."""
    state.update(a=file(node("n1", "1")))

    assert len(state.update(a=file(node("n1", "true"))).changes) == 1


def test_an_object_may_move_between_files(state: State) -> None:
    """An object that moves is one change and is never gone in between, whatever the order of the names."""
    state.update(a=file(node("n1")))

    assert [change.origin for change in state.update(a=None, b=file(node("n1"))).changes] == ["b.yaml#1"]
    assert [change.origin for change in state.update(b=None, a=file(node("n1"))).changes] == ["a.yaml#1"]


@pytest.mark.parametrize("broken", [b"a: [", b"\xff", b"a: \0", Unavailable("permission denied"), b"[" * 100])
def test_a_broken_file_keeps_what_it_held(state: State, broken: Content) -> None:
    """A file that cannot be read is a trouble of the file, and its objects stay; mended, the trouble goes."""
    state.update(a=file(node("n1"), node("n2")), b=file(node("n3")))

    batch = state.update(a=broken)

    assert not batch.changes
    assert state.reasons == {"a.yaml": "Unreadable"}
    assert state.problems["a.yaml"].file == "a.yaml"

    state.update(a=file(node("n1", "b")))

    assert state.zones == {"n1": "b", "n3": "a"}
    assert not state.problems


@pytest.mark.parametrize(
    ("broken", "reason"), [("a: 1\na: 2\n", "Unreadable"), ("- 1\n", "Unreadable"), ("kind: Node\n", "Invalid")]
)
def test_a_broken_document_removes_nothing(state: State, broken: str, reason: str) -> None:
    """Beside a document that names no object the other ones count, and what is missing stays: it may be the broken one."""
    state.update(a=file(node("n1"), node("n2")))

    state.update(a=file(node("n1", "b"), broken))

    assert state.zones == {"n1": "b", "n2": "a"}
    assert state.reasons == {"a.yaml#2": reason}
    assert state.problems["a.yaml#2"].document == 2

    state.update(a=file(node("n1", "b")))

    assert state.zones == {"n1": "b"}
    assert not state.problems


def test_what_a_broken_file_kept_gives_way(state: State) -> None:
    """An object that is kept for a broken document's sake is taken from another file that has it, without a duplicate."""
    state.update(a=file(node("n1"), node("n2")))
    state.update(a=file(node("n1"), "- 1\n"))

    state.update(b=file(node("n2", "b")))

    assert state.zones == {"n1": "a", "n2": "b"}
    assert state.reasons == {"a.yaml#2": "Unreadable"}


def test_of_duplicates_the_first_file_counts(state: State) -> None:
    """Of two files with one object the first by path counts, the other is told; when the first goes the other takes over."""
    state.update(b=file(node("n1", "b")))
    state.update(a=file(node("n1", "a")), c=file(node("n1", "c")))

    assert state.zones == {"n1": "a"}
    assert state.reasons == {"b.yaml#1": "Duplicate", "c.yaml#1": "Duplicate"}
    assert state.problems["b.yaml#1"].message == "Node n1 stands in a.yaml#1 already; this one is not used"

    state.update(a=None)

    assert state.zones == {"n1": "b"}
    assert state.reasons == {"c.yaml#1": "Duplicate"}

    state.update(b=None)

    assert state.zones == {"n1": "c"}
    assert not state.problems


def test_of_duplicates_in_a_file_the_first_document_counts(state: State) -> None:
    """Within a file the first document counts, and the others are told."""
    state.update(a=file(node("n1", "a"), node("n1", "b")))

    assert state.zones == {"n1": "a"}
    assert state.reasons == {"a.yaml#2": "Duplicate"}


def test_other_kinds_are_counted(state: State) -> None:
    """Documents of kinds that are not read are counted, and are no trouble."""
    batch = state.update(a=file("apiVersion: apps/v1\nkind: Deployment\n", "apiVersion: v1\nkind: ConfigMap\n"))

    assert not batch
    assert state.folder.ignored == {"Deployment": 1, "ConfigMap": 1}


def test_lists_and_json_are_read(state: State) -> None:
    """The items of a List have places of their own; a JSON file is read as JSON."""
    item = '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}'

    state.take({"a.json": f'{{"apiVersion": "v1", "kind": "List", "items": [{item}]}}'.encode()})

    assert [origin for _, origin in state.objects.values()] == ["a.json#1[0]"]


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ("a.yaml#2", ("a.yaml", 2)),
        ("a.yaml#2[3]", ("a.yaml", 2)),
        ("a#1.yaml", ("a#1.yaml", 0)),
        ("a#1.yaml#2", ("a#1.yaml", 2)),
        ("", ("", 0)),
    ],
)
def test_an_origin_has_a_file_and_a_document(origin: str, place: tuple[str, int]) -> None:
    """An origin is taken apart as it was made, whatever the file's name."""
    assert place_of(origin) == place


names = st.sampled_from(["a.yaml", "b.yaml", "c.yaml", "d/a.yaml"])
nodes = st.builds(node, st.sampled_from(["n1", "n2", "n3"]), st.sampled_from(["a", "b"]))
good = st.lists(nodes, max_size=3).map(lambda documents: file(*documents))
bad = st.sampled_from([b"a: [", b"- 1\n", file(node("n1"), "kind: Node\n"), file("a: 1\na: 2\n", node("n2"))])
broken = st.just(Unavailable("permission denied"))
history = st.lists(st.dictionaries(names, good | bad | broken | st.none(), min_size=1), max_size=8)
ending = st.fixed_dictionaries(dict.fromkeys(["a.yaml", "b.yaml", "c.yaml", "d/a.yaml"], good | st.none()))


@given(history, ending)
def test_a_history_that_ends_well_ends_in_a_fresh_read(
    past: list[dict[str, Content]], last: dict[str, Content]
) -> None:
    """When all files are whole again, nothing of the past is left: objects, origins and problems are those of a new folder."""
    state, fresh = State(), State()
    for contents in past:
        state.take(contents)
    state.take(last)
    fresh.take(last)

    assert state.objects == fresh.objects
    assert state.problems == fresh.problems
    assert state.folder.paths == fresh.folder.paths
    assert state.folder.ignored == fresh.folder.ignored


@given(history)
def test_breaking_files_removes_nothing(past: list[dict[str, Content]]) -> None:
    """Whatever the state, to break every file at once changes no object."""
    state = State()
    for contents in past:
        state.take(contents)

    batch = state.take(dict.fromkeys(state.folder.paths, b"a: ["))

    assert not batch.changes


@given(history)
def test_changes_and_troubles_are_told_once(past: list[dict[str, Content]]) -> None:
    """A batch tells each object and each trouble at most once, and only what differs from what was told before."""
    state = State()
    for contents in past:
        objects, problems = dict(state.objects), dict(state.problems)
        batch = state.take(contents)

        subjects = [(change.kind, change.key) for change in batch.changes]
        origins = [trouble.origin for trouble in batch.troubles]
        assert len(set(subjects)) == len(subjects)
        assert len(set(origins)) == len(origins)
        assert all(repr(objects.get(subject)) != repr(state.objects.get(subject)) for subject in subjects)
        assert all(problems.get(origin) != state.problems.get(origin) for origin in origins)


@given(st.lists(st.dictionaries(names, st.binary() | good | st.none()), max_size=5))
def test_any_bytes_are_taken(past: list[dict[str, Content]]) -> None:
    """Whatever the files hold, the folder goes on."""
    state = State()
    for contents in past:
        state.take(contents)
