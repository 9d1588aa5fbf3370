"""The edits of the scenes, against the models that xdscp reads them with."""

from __future__ import annotations

import pytest
import yaml

from examples.demo.scenes import SCENES, instances, mistakes, resilience, routing
from examples.demo.shop import SOURCE, Shop, replaced
from xdscp.resources import kinds
from xdscp.resources.rejection import Rejected


@pytest.fixture
def shop(tmp_path):
    return Shop.copied(SOURCE, tmp_path / "shop", {})


def parse(manifest):
    identity = kinds.identity_of(manifest)
    assert identity is not None
    return kinds.parse(identity.kind, identity.key, manifest)


def valid(shop, file):
    """Parses every manifest of a file as xdscp does; raises where it would refuse."""
    for manifest in yaml.safe_load_all(shop.read(file)):
        parse(manifest)


def test_the_folder_is_valid_as_it_stands(shop):
    """Every manifest of examples/shop is read without a finding."""
    for path in shop.folder.rglob("*.yaml"):
        valid(shop, str(path.relative_to(shop.folder)))


def test_every_edit_of_a_policy_is_valid(shop):
    """What the scenes write in this order is accepted at each step."""
    ratings, catalog, routes = resilience.RATINGS, resilience.CATALOG, resilience.ROUTES
    of_ratings, of_catalog = resilience.RATINGS_TIMEOUT, resilience.CATALOG_TIMEOUT
    steps = [
        (routing.FILE, routing.SPLIT),
        (ratings, {of_ratings: of_ratings + resilience.RETRY}),
        (ratings, {routes: resilience.OUTLIER + routes}),
        (catalog, {routes: resilience.BREAKER + routes}),
        (catalog, {resilience.BREAKER: "", of_catalog: of_catalog + resilience.FAULT}),
    ]
    for file, changes in steps:
        shop.edit(file, changes)
        valid(shop, file)


@pytest.mark.parametrize(("what", "text", "field", "word"), mistakes.MISTAKES)
def test_every_mistake_is_refused(shop, what, text, field, word):
    """The model refuses it and names the field."""
    shop.edit(mistakes.FILE, {"{subset: v2, weight: 10}": text})

    with pytest.raises(Rejected) as refused:
        valid(shop, mistakes.FILE)

    assert field in str(refused.value)
    assert word in str(refused.value)


def test_a_pod_goes_through_states_that_are_read(shop):
    """Terminating, not ready and ready are what the reader of Pods sees."""
    file = f"pods/{instances.NAME}.yaml"
    text = shop.read(file)

    def pod(changed):
        return parse(yaml.safe_load(changed))

    assert (pod(text).ready, pod(text).terminating) == (True, False)
    assert pod(replaced(text, instances.TERMINATING)).terminating
    unready = text.replace(instances.STATUS, instances.STATUS + instances.UNREADY)
    assert not pod(unready).ready
    assert pod(unready.replace(instances.UNREADY, instances.READY)).ready


def test_every_scene_is_explained():
    """Title and explanation are there for someone who sees it for the first time."""
    assert all(scene.title and scene.explanation.endswith(".") for scene in SCENES)
