"""A scene of mistakes: policies that cannot be right are refused by field, and what was in force stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from examples.demo.checks import fair
from examples.demo.control_plane import Json
from examples.demo.screen import Tally
from examples.demo.stage import Stage, version

FILE = "policies/reviews.yaml"
MISTAKES: tuple[tuple[str, str, str, str], ...] = (
    ("a value of the wrong type", "{subset: v2, weight: fifty}", "backends[1].weight", "fifty"),
    ("a field that does not exist", "{subset: v2, wieght: 50}", "backends[1].wieght", "did you mean weight"),
)
"""What it is, the text, the end of the field that must be named, and the words that the reason must hold."""


async def refused(stage: Stage) -> str:
    """Each mistake is named by object, field and reason; traffic goes on as before."""
    shop = stage.fleet.shop
    weight = 50 if "weight: 50" in shop.read(FILE) else 10  # as the scene of the split leaves it, or as it was
    async with stage.driven("reviews", rate=300) as load:
        for what, text, field, word in MISTAKES:
            stage.screen.note(f"{what}:")
            good = shop.read(FILE)
            edit = shop.edit(FILE, {f"{{subset: v2, weight: {weight}}}": text})
            stage.screen.edit(edit)
            problem = await reported(stage, field, word)
            seconds = time.monotonic() - edit.written
            stage.screen.failure(sentence(problem))
            stage.check(
                f"refused {seconds * 1000:.0f} ms after the write, naming object, field, value and reason",
                problem.get("kind") == "TrafficPolicy" and problem.get("name") == "reviews",
            )
            await asyncio.sleep(0.5)
            shop.write(FILE, good)
            await stage.until("the policy is accepted again", lambda: clean(stage))
    failed = len(load.report.failures)
    stage.check(f"{failed} of {load.report.sent} requests failed while the mistakes stood there", failed == 0)
    report = await stage.send("reviews", 1000, Tally(order=("v1", "v2")), version)
    bounds, count = fair(report.sent, weight), report.versions["v2"]
    stage.check(f"the split is what it was: {count} of {report.sent:,} went to v2 (fair: {bounds})", count in bounds)
    return f"{len(MISTAKES)} refused by field and reason, {failed} requests failed"


async def reported(stage: Stage, field: str, word: str) -> Json:
    """The finding that names the field and holds the word; TimeoutError when none comes."""
    found: list[Json] = []

    async def present() -> bool:
        found[:] = [each for each in await of_policy(stage) if field in sentence(each) and word in sentence(each)]
        return bool(found)

    await stage.until(f"a finding about {field}", present)
    return found[0]


async def clean(stage: Stage) -> bool:
    """The policy has no findings."""
    return not await of_policy(stage)


async def of_policy(stage: Stage) -> list[Json]:
    """The findings about the policy of reviews."""
    return [each for each in await stage.fleet.control_plane.problems() if each["name"] == "reviews"]


def sentence(problem: Mapping[str, str]) -> str:
    """A finding as one line: where it is, what is wrong."""
    owner = f"{problem['kind']} {problem['namespace']}/{problem['name']}"
    named = problem["message"].startswith(problem["field"])
    return f"{owner}: {'' if named else problem['field'] + ': '}{problem['message']} ({problem['reason']})"
