"""Requests from a place: a number of them, or a rate until told to stop; every one is counted exactly.

A request is sent once. What has no answer is counted as status 0 with the error's text. Run as a program
(`python -m examples.demo.load URL --host reviews.shop --count 100`) it prints its report as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import aiohttp

from examples.demo.client import session
from examples.demo.network import Loopback, Place


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request; times in seconds, `sent` on the monotonic clock."""

    status: int
    sent: float
    seconds: float
    instance: str = ""
    version: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Report:
    """What became of a number of requests."""

    outcomes: tuple[Outcome, ...]

    @cached_property
    def sent(self) -> int:
        return len(self.outcomes)

    @cached_property
    def statuses(self) -> Counter[int]:
        return Counter(outcome.status for outcome in self.outcomes)

    @cached_property
    def versions(self) -> Counter[str]:
        return Counter(outcome.version for outcome in self.outcomes if outcome.status == 200)

    @cached_property
    def instances(self) -> Counter[str]:
        return Counter(outcome.instance for outcome in self.outcomes if outcome.status == 200)

    @cached_property
    def failures(self) -> tuple[Outcome, ...]:
        """All that is not 2xx or 3xx, unanswered ones included."""
        return tuple(outcome for outcome in self.outcomes if not 200 <= outcome.status < 400)

    def percentile(self, percent: float) -> float:
        """Latency in seconds under which `percent` of the requests stayed; 0.0 without requests."""
        ordered = sorted(outcome.seconds for outcome in self.outcomes)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0

    def reasons(self) -> str:
        """The failures in short: how many of which status or error."""
        counts = Counter(outcome.error or str(outcome.status) for outcome in self.failures)
        return ", ".join(f"{count} of {reason}" for reason, count in counts.most_common())


Progress = Callable[[Outcome], None]


class Caller:
    """A client at a place that calls one service at one URL; use it as an asynchronous context manager."""

    def __init__(self, place: Place, url: str, host: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._headers = {**({"host": host} if host else {}), **(headers or {})}
        self._session = session(place)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Outcome:
        """Send one GET."""
        sent = time.monotonic()
        try:
            async with self._session.get(self.url + path, headers={**self._headers, **(headers or {})}) as answer:
                body = await answer.read()
                status, seen = answer.status, tuple(answer.headers.items())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Outcome(0, sent, time.monotonic() - sent, error=str(error) or type(error).__name__)
        seconds = time.monotonic() - sent
        instance, version = author(body)
        return Outcome(status, sent, seconds, instance, version, seen)

    async def send(
        self, count: int, *, concurrency: int = 8, path: str = "/", progress: Progress = lambda _: None
    ) -> Report:
        """Send `count` requests, `concurrency` at a time."""
        outcomes: list[Outcome] = []
        numbers = itertools.count()

        async def worker() -> None:
            while next(numbers) < count:
                outcome = await self.call(path)
                outcomes.append(outcome)
                progress(outcome)

        await asyncio.gather(*(worker() for _ in range(min(concurrency, count))))
        return Report(tuple(outcomes))

    async def drive(self, rate: float, stop: asyncio.Event, progress: Progress = lambda _: None) -> Report:
        """Send `rate` requests a second, whether answers come or not, until `stop` is set; wait for all answers."""
        outcomes: list[Outcome] = []
        started = time.monotonic()

        async def one() -> None:
            outcome = await self.call()
            outcomes.append(outcome)
            progress(outcome)

        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                late = started + number / rate - time.monotonic()
                try:
                    async with asyncio.timeout(max(late, 0)):
                        await stop.wait()
                        break
                except TimeoutError:
                    tasks.create_task(one())
        return Report(tuple(outcomes))


def author(body: bytes) -> tuple[str, str]:
    """Instance and version in an application's answer; empty for any other body."""
    try:
        answer = json.loads(body)
        return str(answer["instance"]), str(answer["version"])
    except (ValueError, KeyError, TypeError):
        return "", ""


async def run(arguments: argparse.Namespace) -> None:
    """Send what the command line asks for and print the report."""
    async with Caller(Loopback(), arguments.url, arguments.host) as caller:
        report = await caller.send(arguments.count, concurrency=arguments.concurrency)
    figures = {
        "sent": report.sent,
        "statuses": report.statuses,
        "versions": report.versions,
        "instances": report.instances,
        "p50_ms": round(report.percentile(50) * 1000, 2),
        "p99_ms": round(report.percentile(99) * 1000, 2),
    }
    print(json.dumps(figures, indent=2))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m examples.demo.load", description="send requests, print who answered")
    made.add_argument("url", help="http://127.97.0.1:15001, or in a namespace a Service's virtual IP")
    made.add_argument("--host", default="", help="the Host header, such as reviews.shop")
    made.add_argument("--count", type=int, default=100)
    made.add_argument("--concurrency", type=int, default=8)
    return made


if __name__ == "__main__":
    asyncio.run(run(parser().parse_args()))
