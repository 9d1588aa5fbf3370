"""YAML in, YAML out; and for each case: any order gives the same, incrementally too, Envoy takes it, sources are named."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden.cases import Case, all_cases
from tests.golden.decoding import assignments_named, bootstrap, clusters_named, hosts_of, own_name, shown
from tests.golden.world import World, differences, world_of
from xdscp.resources.core import Key

CASES = all_cases()
SEEDS = range(3)

each_case = pytest.mark.parametrize("case", CASES, ids=str)

world = lru_cache(maxsize=None)(world_of)


def output(case: Case) -> dict[str, Any]:
    """What out.yaml should hold."""
    found: dict[str, Any] = {}
    for client, snapshot in world(case).snapshots().items():
        types = found.setdefault(str(client), {})
        for resource in sorted(snapshot, key=lambda each: (each.type, each.name)):
            if case.shows(resource.type, resource.name):
                types.setdefault(str(resource.type), {})[resource.name] = shown(resource)
    return {**found, "problems": world(case).problems()}


def written(found: dict[str, Any]) -> str:
    return yaml.dump(
        found, Dumper=yaml.CSafeDumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=None
    )


def test_there_are_cases():
    """The catalogue is not empty by mistake, and holds at least what was promised."""
    assert len(CASES) >= 60


@each_case
def test_output(case, request):
    """The documents give exactly the resources and problems of out.yaml."""
    assert (case.folder / "in.yaml").exists(), "an out.yaml or case.yaml without in.yaml"
    assert case.text.startswith("# "), "the first line says what the case shows"
    found = written(output(case))
    if request.config.getoption("--update"):
        case.output.write_text(found)
    assert case.output.exists(), "no out.yaml: pytest tests/golden --update, and review it"
    assert found == case.output.read_text()


@each_case
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order(case, seed):
    """Documents given one by one in any order give the same, and so does each step from scratch, or one taken away and back."""
    chance = random.Random(f"{case}{seed}")
    order = list(range(len(case.documents)))
    chance.shuffle(order)
    mesh = World(case)
    for position in order:
        mesh.give({position: case.documents[position]})
        check_recomputed(mesh)
    check_same(mesh, case)
    position = chance.choice(order)
    mesh.give({position: None})
    check_recomputed(mesh)
    mesh.give({position: case.documents[position]})
    check_same(mesh, case)


def check_recomputed(mesh: World) -> None:
    for client, snapshot in mesh.snapshots().items():
        assert differences(mesh.fresh(client), snapshot) == []


def check_same(mesh: World, case: Case) -> None:
    for client, snapshot in mesh.snapshots().items():
        assert differences(world(case).snapshot(client), snapshot) == []
    assert mesh.problems() == world(case).problems()


@each_case
def test_names_and_references(case):
    """A resource is named as its message says, and found by it; what it refers to is there, endpoints too."""
    for snapshot in world(case).snapshots().values():
        resources = list(snapshot)
        names = {(resource.type, resource.name) for resource in resources}
        assert len(names) == len(resources)
        for resource in resources:
            assert own_name(resource) == resource.name
            assert snapshot.find(resource.type, resource.name) is resource
            led_to = clusters_named(shown(resource)) if resource.type in {"lds", "rds", "vhds"} else set()
            assert {("cds", name) for name in led_to} <= names
            assert led_to - set(resource.refers) <= {"passthrough", "blackhole"}
            assert {("eds", name) for name in assignments_named(resource)} <= names


@each_case
def test_the_two_protocols_say_the_same(case):
    """The route tables of a state-of-the-world stream hold just the virtual hosts that a delta stream gets one by one."""
    for client in case.clients:
        one_by_one, whole = (
            hosts_of(world(case).fresh(replace(client, variant=variant))) for variant in ("delta", "sotw")
        )
        assert one_by_one == whole


@each_case
def test_provenance(case):
    """Every resource names the objects that it comes from, and they exist."""
    mesh = world(case)
    for client in case.clients:
        for resource, sources in mesh.sources(client):
            assert sources, f"{resource.type} {resource.name}"
            for source in sources:
                kind, namespace, name = source.split("/", 2)
                key = name if kind == "Environment" else Key(namespace, name)
                assert mesh.store.row(kind, key) is not None, f"{resource.name} comes from {source}"


@each_case
def test_no_failure(case):
    """No derivation raises."""
    assert [repr(derivation) for derivation, _ in world(case).graph.failures()] == []


@each_case
@pytest.mark.envoy
def test_envoy_takes_it(case, envoy_path, tmp_path):
    """`envoy --mode validate` accepts what each Envoy of the case is served."""
    for client, snapshot in world(case).snapshots().items():
        if client.role != "grpc":
            assert refusal(envoy_path, bootstrap(snapshot), tmp_path) == ""


def refusal(envoy: str, config: Any, folder: Path) -> str:
    """What Envoy says against the configuration; empty when it takes it."""
    path = folder / "bootstrap.pb"
    path.write_bytes(config.SerializeToString())
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", str(path), "-l", "error", "--disable-hot-restart"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr + done.stdout
