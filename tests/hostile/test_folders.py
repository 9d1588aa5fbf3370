"""Folders that mean harm: each bad file is told by name and reason, what it held is kept, and the rest is served in time."""

from __future__ import annotations

import json
import os
import random
import shutil
import time

import pytest

from tests.hostile.control_plane import NAMESPACE, policy, put, service

NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)

TEXTS = {
    "a bomb of aliases": (NODE % "x" + BOMB, "alias"),
    "a cycle": ("a: &a [*a]\n", "alias"),
    "a merge of itself": ("a: &a {<<: *a}\n", "alias"),
    "a key twice": ("apiVersion: v1\nkind: Node\nkind: Pod\nmetadata: {name: x}\n", '"kind"'),
    "a NUL": (NODE % "x" + "\0", "NUL"),
    "an escaped NUL": (NODE % '"a\\0b"', "NUL"),
    "UTF-16": (NODE % "x", "UTF-16"),
    "not UTF-8": (b"\xff\xfa\x80 garbage \x9f", "UTF-8"),
    "control characters": (NODE % "\x1b[2J", "character"),
    "half a mapping": ("apiVersion: v1\nkind: [Node\n", "line"),
    "deep flow": ("[" * 100_000, "deep"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(3000)), "deep"),
    "deep and closed": ("a: " + "[" * 5000 + "]" * 5000, "deep"),
    "a huge number": (
        json.dumps(json.loads(policy("x", 1)) | {"spec": {"circuitBreaker": {"maxConnections": 10**400}}}),
        "64 bits",
    ),
    "a number that is none": (NODE % "x" + "spec: {a: .nan}\n", None),
    "a tag": (NODE % "x" + "spec: !!python/object/apply:os.system ['touch /tmp/owned']\n", "tag"),
    "a scalar": ("just words", "mapping"),
    "a list": ("- a\n- b\n", "mapping"),
    "no kind": ("metadata: {name: x}\n", "kind"),
    "a kind that is none": ("apiVersion: v1\nkind: {a: b}\nmetadata: {name: x}\n", "kind"),
    "a name that is a path": (NODE % "../../etc/passwd", "metadata.name"),
    "a name with a line break": (NODE % '"a\\nb"', "metadata.name"),
    "a name with a slash": (NODE % "a/b", "metadata.name"),
    "a name that is long": (NODE % ("x" * 300), "metadata.name"),
    "a name that is a number": (NODE % "5", "metadata.name"),
    "a name in disguise": (NODE % "p\u0430yments", "metadata.name"),
    "a name written backwards": (NODE % '"a\u202eb"', "metadata.name"),
    "an empty name": (NODE % '""', "metadata.name"),
    "lists in lists": ('{"kind": "List", "items": [' * 200 + "]}" * 200, None),
    "a list of nothing": ('{"apiVersion": "v1", "kind": "List", "items": [null, 1, "x"]}', "item"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_bad_file_is_told_and_the_rest_is_served(control, name):
    """What no reader of YAML should have to bear is a finding that names the file and the reason; others notice nothing."""
    text, word = TEXTS[name]
    content = text if isinstance(text, bytes) else text.encode("utf-16" if name == "UTF-16" else "utf-8")
    bad = f"bad-{list(TEXTS).index(name)}.yaml"

    def findings():
        return [each for each in control.problems() if each["file"] == bad]

    started = time.monotonic()
    put(control.folder, bad, content)
    if word is None:
        time.sleep(0.2)
    else:
        found = control.until(findings, what=name)
        messages = [f"{each['field']} {each['message']}" for each in found]
        assert any(word in each for each in messages), messages
        assert all(len(each) < 1200 and each.isprintable() for each in messages), messages
    assert time.monotonic() - started < 3
    before = control.metric("xdscp_source_events_total")
    put(control.folder, "service-1.json", service("service-1", 1, endpoints=1 + list(TEXTS).index(name)))
    control.until(lambda: control.metric("xdscp_source_events_total") > before, 3, "another file being read")
    (control.folder / bad).unlink()
    control.until(lambda: not findings(), what="the end of it")


def test_an_error_says_where_and_what_is_allowed(control):
    """A wrong value is told with file, document, object, field, value and what is allowed; an unknown field with the nearest."""
    bad = json.loads(policy("service-2", 1))
    bad["spec"]["loadBalancer"] = {"type": "Rondom"}
    worse = json.loads(policy("service-3", 1))
    worse["spec"]["circutBreaker"] = {"maxConnections": 1}
    put(control.folder, "bad.yaml", f"---\n{NODE % 'fine'}---\n{json.dumps(bad)}\n---\n{json.dumps(worse)}\n")
    found = control.until(lambda: [each for each in control.problems() if each["file"] == "bad.yaml"], what="findings")
    control.until(lambda: len([each for each in control.problems() if each["file"] == "bad.yaml"]) == 2)
    first, second = sorted(control.problems(), key=lambda each: each["document"])[-2:]
    assert (first["kind"], first["namespace"], first["name"]) == ("TrafficPolicy", NAMESPACE, "service-2"), found
    assert (first["document"], second["document"]) == (2, 3)
    assert first["field"] == "spec.loadBalancer.type"
    assert "Rondom" in first["message"]
    assert "RoundRobin" in first["message"]
    assert "circutBreaker" in second["field"] + second["message"]
    assert "circuitBreaker" in second["message"]
    (control.folder / "bad.yaml").unlink()
    control.until(lambda: not control.problems(), what="no findings")


def test_a_file_that_goes_bad_keeps_what_it_held(control):
    """An object whose file becomes garbage, too large, a link to nowhere or unreadable is served as it was last good."""
    path = control.folder / "service-4.json"
    text = path.read_text()
    held = control.metrics()['xdscp_objects{kind="Service"}']
    aside = control.folder / ".aside"

    def linked(to):
        aside.symlink_to(to)
        aside.rename(path)

    for spoil in (
        lambda: put(control.folder, path.name, b"\x80garbage"),
        lambda: put(control.folder, path.name, b"#" * 10_000_000),
        lambda: put(control.folder, path.name, text[: len(text) // 2]),
        lambda: linked("nowhere.yaml"),
        lambda: linked("/proc/self/mem"),
        lambda: linked(path.name),
        lambda: (os.mkfifo(aside), aside.rename(path)),
    ):
        spoil()
        control.until(lambda: [each for each in control.problems() if each["file"] == path.name], 15, "a finding")
        assert control.metrics()['xdscp_objects{kind="Service"}'] == held
    put(control.folder, path.name, text)
    control.until(lambda: not control.problems(), 15, "no findings")


def test_names_and_links_of_a_tree(attacked):
    """Loops of links, a link to the root of the machine, and names that are no text are told or left out."""
    with attacked() as control:
        tree = control.folder / "tree"
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "b" / "up").symlink_to(tree)
        (tree / "loop").symlink_to(tree / "loop")
        (tree / "loop.yaml").symlink_to(tree / "loop.yaml")
        (tree / "dangling.yaml").symlink_to("/nonexistent/x.yaml")
        (tree / "directory.yaml").mkdir()
        for name in (
            "a\nb.yaml",
            "a#1.yaml",
            "-rf.yaml",
            "$(touch x).yaml",
            "\u202elmay.yaml",
            " .yaml",
            "%2e%2e.yaml",
        ):
            (tree / name).write_text(NODE % f"n{abs(hash(name))}")
        with open(os.fsencode(tree) + b"/\xff\xfe.yaml", "w") as file:
            file.write(NODE % "unnamed")
        os.mkfifo(tree / "pipe.yaml")
        wanted = {"tree/loop.yaml", "tree/dangling.yaml", "tree/pipe.yaml", "tree/\\udcff\\udcfe.yaml"}
        control.until(lambda: wanted <= {each["file"] for each in control.problems()}, 15, "findings")
        assert control.metrics()['xdscp_objects{kind="Node"}'] == 7
        for line in control.log.splitlines():
            assert json.loads(line)
        shutil.rmtree(tree)
        control.until(lambda: not control.problems(), 15, "no findings")


def test_a_large_file_delays_nobody_for_long(attacked):
    """A file of nearly 10 MB, of fifty thousand objects, and one of a single long string."""
    with attacked(latency=3, memory=200) as control:  # one thread reads all files, one after another
        put(control.folder, "long.yaml", NODE % "x" + "spec: {a: '" + "y" * 9_900_000 + "'}\n")
        nodes = [
            "{apiVersion: v1, kind: Node, metadata: {name: n%d, labels: {topology.kubernetes.io/zone: z%d}}}"
            % (n, n % 3)
            for n in range(10_000)
        ]
        put(control.folder, "many.yaml", "\n---\n".join(nodes))
        control.until(lambda: control.metrics().get('xdscp_objects{kind="Node"}', 0) >= 10_000, 30, "all nodes")
        (control.folder / "long.yaml").unlink()
        (control.folder / "many.yaml").unlink()
        control.until(lambda: 'xdscp_objects{kind="Node"}' not in control.metrics(), 30, "no node")


def test_ten_thousand_files(attacked):
    """Ten thousand files that come at once, change and go, while another is changed and served."""
    with attacked(latency=3) as control:
        crowd = control.folder / "crowd"
        crowd.mkdir()
        started = time.monotonic()
        for number in range(10_000):
            (crowd / f"{number}.yaml").write_text(NODE % f"crowd-{number}")
        control.until(lambda: control.metrics().get('xdscp_objects{kind="Node"}') == 10_000, 30, "all nodes")
        came = time.monotonic()
        shutil.rmtree(crowd)
        control.until(lambda: 'xdscp_objects{kind="Node"}' not in control.metrics(), 30, "no node")
        print(f"\n10,000 files: read in {came - started:.2f} s, gone in {time.monotonic() - came:.2f} s")


def test_a_file_replaced_a_hundred_times_a_second(attacked):
    """A file that never rests, half of the time garbage, holds up no other; at the end it is what was written last."""
    random.seed(3)
    with attacked() as control:
        deadline = time.monotonic() + 2
        number = 0
        while time.monotonic() < deadline:
            number += 1
            text = service("service-5", 5, ready=number % 2 == 0)
            put(control.folder, "service-5.json", text if number % 4 else text[: random.randrange(len(text))])
            time.sleep(0.01)
        put(control.folder, "service-5.json", service("service-5", 5, endpoints=3))

        def endpoints():
            return control.get("/debug/objects?kind=EndpointSlice").count("10.0.5.")

        control.until(lambda: endpoints() == 3 and not control.problems(), what="the last version")


def test_a_file_written_in_place_is_never_half(attacked):
    """A file that is truncated and written piece by piece, over and over, is never seen by halves."""
    with attacked() as control:
        text = service("service-6", 6).encode()
        start = len(control.log)
        for _ in range(30):
            with (control.folder / "service-6.json").open("wb") as file:
                for at in range(0, len(text), 300):
                    file.write(text[at : at + 300])
                    file.flush()
                    time.sleep(0.002)
        time.sleep(0.2)
        assert "problem found" not in control.log[start:]
