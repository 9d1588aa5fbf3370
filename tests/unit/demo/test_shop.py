"""The folder of YAML and its edits."""

from __future__ import annotations

import pytest
import yaml

from examples.demo.shop import SOURCE, Shop


@pytest.fixture
def shop(tmp_path):
    return Shop.copied(SOURCE, tmp_path / "shop", {"127.97.0.": "127.97.7.", "127.98.0.": "127.98.7."})


def test_every_pod_has_an_address_of_this_run(shop):
    """Pod and application addresses are replaced, each different."""
    pods = shop.pods()

    assert len(pods) == 8
    assert all(pod.ip.startswith("127.97.7.") and pod.app_address.startswith("127.98.7.") for pod in pods)
    assert len({pod.ip for pod in pods}) == len(pods)


def test_every_service_selects_a_pod(shop):
    """Each Service of the folder has a virtual IP and a pod behind it."""
    assert set(shop.addresses()) == {pod.service for pod in shop.pods()}


def test_an_edit_shows_what_changed_and_keeps_comments(shop):
    """The diff has the removed and the added line; the rest of the file is the same text."""
    edit = shop.edit("policies/reviews.yaml", {"weight: 90": "weight: 50"})

    assert [line for line in edit.diff(context=0) if line[0] in "+-"] == [
        "-    - {subset: v1, weight: 90}",
        "+    - {subset: v1, weight: 50}",
    ]
    assert edit.after.startswith("# A canary")
    assert shop.read("policies/reviews.yaml") == edit.after


def test_an_edit_of_text_that_is_not_there_once_is_refused(shop):
    """A scene whose text went missing fails instead of showing nothing."""
    with pytest.raises(ValueError, match="stands in it 0 times"):
        shop.edit("policies/reviews.yaml", {"weight: 91": "weight: 50"})
    with pytest.raises(ValueError, match="stands in it 3 times"):
        shop.edit("policies/reviews.yaml", {"subset: v": "x"})


def test_a_removed_file_is_gone_and_can_be_written_again(shop):
    """Removing keeps the text in the edit, from which it comes back."""
    edit = shop.remove("pods/ratings-a.yaml")

    assert "ratings-a" not in {pod.name for pod in shop.pods()}
    assert shop.read("pods/ratings-a.yaml") == ""

    shop.write("pods/ratings-a.yaml", edit.before)

    assert "ratings-a" in {pod.name for pod in shop.pods()}


def test_nothing_but_manifests_is_in_the_watched_folder_after_a_write(shop):
    """The prepared file lies outside, so that no reader sees a part."""
    shop.write("policies/extra.yaml", "a: 1\n")

    assert all(path.suffix == ".yaml" for path in shop.folder.rglob("*") if path.is_file())
    assert yaml.safe_load(shop.read("policies/extra.yaml")) == {"a": 1}
