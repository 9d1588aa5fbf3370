"""What a scene works with: the fleet, the screen, and the record of what was measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from examples.demo.checks import Check
from examples.demo.control_plane import Delivery
from examples.demo.fleet import Fleet, Pod
from examples.demo.load import Outcome, Report
from examples.demo.screen import Screen, Tally
from examples.demo.shop import Edit

CLIENT = "frontend"

Label = Callable[[Outcome], str]
"""Under which name an answer is counted."""


@dataclass(slots=True)
class Driven:
    """Load in the background; `report` is there after the block."""

    seen: list[Outcome] = field(default_factory=list)
    report: Report = field(default_factory=lambda: Report(()))


@dataclass(slots=True)
class Stage:
    """Handed to each scene; `checks` are those of the scene that runs."""

    fleet: Fleet
    screen: Screen
    checks: list[Check] = field(default_factory=list)

    @property
    def client(self) -> Pod:
        """The pod from which all requests are sent."""
        return self.fleet.pods[CLIENT]

    def check(self, text: str, true: bool) -> None:
        """Record and show a claim."""
        made = Check(text, true)
        self.checks.append(made)
        self.screen.check(made)

    async def edit(self, file: str, changes: Mapping[str, str]) -> Delivery:
        """Replace texts in a file of the folder, show the difference, and wait for the last ACK."""
        return await self.deliver(lambda: self.fleet.shop.edit(file, changes))

    async def write(self, file: str, text: str) -> Delivery:
        """Write a file of the folder, show the difference, and wait for the last ACK."""
        return await self.deliver(lambda: self.fleet.shop.write(file, text))

    async def deliver(self, change: Callable[[], Edit], *, shown: bool = True) -> Delivery:
        """Make a change, show it, and wait for the last ACK of what it caused."""
        before = await self.fleet.control_plane.syncz()
        edit = change()
        delivery = await self.fleet.control_plane.delivered(before, edit.written)
        if shown:
            self.screen.edit(edit)
            self.screen.note(f"→ acknowledged by {delivery.proxies} Envoys after {delivery.milliseconds:.1f} ms")
        return delivery

    async def send(self, service: str, count: int, tally: Tally, label: Label, concurrency: int = 8) -> Report:
        """Send `count` requests from the client, counted on the screen."""
        async with self.fleet.caller(CLIENT, service) as caller:
            with self.screen.counting(tally):
                return await caller.send(
                    count, concurrency=concurrency, progress=lambda outcome: tally.count(label(outcome))
                )

    @asynccontextmanager
    async def driven(
        self, service: str, rate: float, tally: Tally | None = None, label: Label | None = None
    ) -> AsyncIterator[Driven]:
        """Load of `rate` requests a second from the client within the block, counted on the screen when `tally` is given."""
        load, stop = Driven(), asyncio.Event()
        label = label or answer

        def progress(outcome: Outcome) -> None:
            load.seen.append(outcome)
            if tally is not None:
                tally.count(label(outcome))

        shown = self.screen.counting(tally) if tally is not None else nullcontext()
        async with self.fleet.caller(CLIENT, service) as caller:
            with shown:
                driving = asyncio.create_task(caller.drive(rate, stop, progress))
                try:
                    yield load
                finally:
                    stop.set()
                    load.report = await driving

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]], timeout: float = 10.0) -> None:
        """Ask again every 20 ms until the condition holds; TimeoutError that says `what` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not await condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"not within {timeout:g} s: {what}") from None


def version(outcome: Outcome) -> str:
    """The label of a good answer is its version, else what went wrong."""
    return outcome.version if outcome.status == 200 else answer(outcome)


def instance(outcome: Outcome) -> str:
    """The label of a good answer is its instance, else what went wrong."""
    return outcome.instance if outcome.status == 200 else answer(outcome)


def answer(outcome: Outcome) -> str:
    """The status as a label."""
    return str(outcome.status) if outcome.status else "no answer"
