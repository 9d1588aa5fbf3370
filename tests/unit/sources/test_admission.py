"""Admission: objects and problems as rows, and the last good version that stays."""

from __future__ import annotations

from typing import Any

from xdscp.resources.core import Key, Node, Problem
from xdscp.sources.admission import Row, rows_of
from xdscp.sources.changes import Batch, Change, Trouble

KEY = Key("shop", "web")
SUBJECT = ("Service", KEY)


def change(spec: Any, origin: str = "shop.yaml#2") -> Change:
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    return Change("Service", KEY, manifest, origin)


def rows(*changes: Change, troubles: tuple[Trouble, ...] = ()) -> list[Row]:
    return list(rows_of(Batch(changes, troubles)))


def test_a_good_object_is_a_row_without_a_problem() -> None:
    """A good manifest writes the object, and takes away the problem that it may have had."""
    written, problem = rows(change({"ports": [{"port": 80}]}))

    assert (written.kind, written.key, written.row.ports[0].number) == ("Service", KEY, 80)
    assert problem == Row("Problem", SUBJECT, None)


def test_a_refused_object_keeps_its_row() -> None:
    """A refused manifest writes nothing but a problem, which names file, document, field, value and what is allowed."""
    assert rows(change({"ports": [{"port": 99999}]})) == [
        Row(
            "Problem",
            SUBJECT,
            Problem(
                "Service",
                KEY,
                "Invalid",
                "spec.ports[0].port: must be a whole number from 1 to 65535 (given: 99999)",
                "shop.yaml",
                2,
                "spec.ports[0].port",
            ),
        )
    ]


def test_a_removed_object_takes_its_problem_along() -> None:
    """An object that is gone has neither row nor problem."""
    gone = Change("Service", KEY, None)

    assert rows(gone) == [Row("Service", KEY, None), Row("Problem", SUBJECT, None)]


def test_a_bad_object_harms_no_other() -> None:
    """The other objects of a batch are written."""
    node = Change("Node", Key("", "n1"), {"metadata": {"name": "n1"}})

    written = rows(change([]), node)

    assert Row("Node", Key("", "n1"), Node(Key("", "n1"))) in written


def test_troubles_are_problems_of_files() -> None:
    """A trouble is a problem under the name of its file or document; one that ended is removed."""
    problem = Problem("File", Key("", "a.yaml"), "Unreadable", "line 1: what")

    assert rows(troubles=(Trouble("a.yaml", problem), Trouble("b.yaml#1", None))) == [
        Row("Problem", ("File", Key("", "a.yaml")), problem),
        Row("Problem", ("File", Key("", "b.yaml#1")), None),
    ]


def test_many_findings_are_counted() -> None:
    """A manifest with a thousand faults does not make a message of a thousand lines."""
    spec = {"address": "10.0.0.1", **{f"unknown{n}": n for n in range(1000)}}
    manifest = {"apiVersion": "xdscp.io/v1alpha1", "kind": "Workload", "metadata": {"name": "web"}, "spec": spec}

    (row,) = rows(Change("Workload", Key("default", "web"), manifest))

    assert row.row.message.endswith("; and 990 more")
    assert len(row.row.message) < 2000
