"""The examples of `examples/fields`: together they set every field, each is valid, and each is run in a real Envoy."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

import xdscp.app
from tests.golden.test_coverage import paths, set_in
from xdscp.resources.mesh_api import SPECS

ROOT = Path(__file__).resolve().parents[3]
FIELDS = ROOT / "examples" / "fields"
LIVE = ROOT / "tests" / "envoy" / "features"
EXAMPLES = sorted(str(path.relative_to(FIELDS).with_suffix("")) for path in FIELDS.rglob("*.yaml"))

EXCEPTIONS = {
    # what a subset gives is the same part as the policy's, replaced as a whole
    r"TrafficPolicy\.subsets\.(loadBalancer|circuitBreaker|outlierDetection|connection)\..+": "TrafficPolicy.{}",
    # the same part as a route's
    r"MeshPolicy\.defaults\.(retry\..+)": "TrafficPolicy.routes.{}",
    # the same part as a MeshPolicy's
    r"Workload\.(tcp\..+)": "MeshPolicy.explicit.{}",
    # a mirror's reference is the same as a backend's
    r"TrafficPolicy\.routes\.mirrors\.(subset|namespace|port)": "TrafficPolicy.routes.backends.{}",
}
"""Fields whose part is in an example elsewhere, and where: `{}` is what stands behind the part's own path."""


@cache
def manifests(example):
    return tuple(yaml.safe_load_all((FIELDS / f"{example}.yaml").read_text()))


@cache
def exemplified():
    """The field paths that the examples set."""
    return frozenset(
        path
        for example in EXAMPLES
        for manifest in manifests(example)
        if manifest["kind"] in SPECS
        for path in set_in(manifest["spec"], manifest["kind"])
    )


def elsewhere(path):
    """The path of the same field of the same part in another place, or ""."""
    for pattern, place in EXCEPTIONS.items():
        if found := re.fullmatch(pattern, path):
            rest = path.removeprefix("TrafficPolicy.subsets.") if ".subsets." in path else found[1]
            return place.format(rest)
    return ""


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_has_an_example(kind):
    """No field of the kind lacks an example; those of a part that stands in several places have one in one of them."""
    wanted = dict.fromkeys(paths(SPECS[kind], kind))
    missing = [path for path in wanted if path not in exemplified() and elsewhere(path) not in exemplified()]
    assert missing == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_valid_by_itself(example, tmp_path):
    """What `xdscp validate` finds in a folder with nothing but the example: nothing."""
    (tmp_path / "example.yaml").write_text((FIELDS / f"{example}.yaml").read_text())
    assert [f"{each.kind} {each.key}: {each.message}" for each in xdscp.app.findings(tmp_path)] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_tells_what_it_is_for(example):
    """It begins with a comment, and no line is longer than 120 characters."""
    lines = (FIELDS / f"{example}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 120


def test_every_example_is_run():
    """Each is named by a live test, and live tests name no other."""
    text = "".join(path.read_text() for path in sorted(LIVE.glob("test_*.py")))
    topics = "|".join(sorted(path.name for path in FIELDS.iterdir() if path.is_dir()))
    named = set(re.findall(rf'"((?:{topics})/[a-z0-9-]+)(?:\.yaml)?"', text))
    assert sorted(set(EXAMPLES) - named) == []
    assert sorted(named - set(EXAMPLES)) == []
