"""`python -m examples.demo`: start the mesh, play the scenes, print what was measured.

Exit code 0: all that was shown was measured true; 1: something was not; 2: the machine lacks what was asked for;
130: ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence

from examples.demo.checks import Result
from examples.demo.envoy import installed_version
from examples.demo.fleet import OUTBOUND_PORT, Fleet
from examples.demo.network import missing
from examples.demo.processes import ProcessEnded
from examples.demo.scenes import SCENES, Scene
from examples.demo.screen import Screen
from examples.demo.stage import CLIENT, Stage

LIMIT = 40.0
"""Seconds that one scene may take."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m examples.demo", description="xdscp with real Envoys, in a minute")
    made.add_argument(
        "--mode",
        choices=("auto", "namespaces", "explicit"),
        default="auto",
        help="pods as network namespaces with interception (root, iproute2, iptables), or on loopback addresses",
    )
    made.add_argument("--keep", action="store_true", help="leave all running until Ctrl-C, and print the addresses")
    made.add_argument(
        "--plain", action="store_true", help="no colours, nothing that moves (always so without a terminal)"
    )
    made.add_argument(
        "--pace", type=float, metavar="S", help="seconds to read between scenes; 1.5 on a terminal, else 0"
    )
    made.add_argument("--scene", type=int, action="append", metavar="N", help="play this scene only; may be repeated")
    return made


async def run(arguments: argparse.Namespace) -> int:
    """Play the demo and return the exit code."""
    screen = Screen(plain=arguments.plain)
    lacking = missing()
    if arguments.mode == "namespaces" and lacking:
        screen.failure(f"pods cannot be network namespaces here: {lacking}")
        return 2
    mode = "explicit" if arguments.mode == "explicit" or lacking else "interception"
    try:
        version = await installed_version()
    except (OSError, RuntimeError) as error:
        screen.failure(f"Envoy cannot be run: {error}")
        return 2
    started, good = time.monotonic(), False
    fleet = Fleet.prepared(mode)
    try:
        screen.title("xdscp: a folder of YAML drives real Envoys", described(fleet, version, lacking))
        try:
            with screen.waiting("starting the control plane, the applications and their Envoys"):
                await fleet.start()
        except (ProcessEnded, RuntimeError, TimeoutError) as error:
            screen.failure(f"the mesh did not start: {error or type(error).__name__}")
            return 1
        screen.note(f"{len(fleet.pods)} pods ready after {time.monotonic() - started:.1f} s")
        pace = arguments.pace if arguments.pace is not None else 1.5 * screen.moving
        results = await played(Stage(fleet, screen), chosen(arguments.scene), pace)
        good = all(result.good for result in results)
        screen.results(results)
        claims = [check.true for result in results for check in result.checks]
        seconds = time.monotonic() - started
        screen.verdict(f"{sum(claims)} of {len(claims)} claims measured true, in {seconds:.0f} s", good=good)
        if arguments.keep:
            invite(screen, fleet)
            await asyncio.Event().wait()
        return 0 if good else 1
    except asyncio.CancelledError:
        good = True  # stopped by its user: nothing is to be looked into
        raise
    finally:
        if not good:
            screen.note(f"logs, until the next run: {fleet.folder}")
        await fleet.stop(keep_logs=not good)


async def played(stage: Stage, scenes: Sequence[tuple[int, Scene]], pace: float) -> list[Result]:
    """Play the scenes, `pace` seconds apart; one that breaks is a failed claim, and the next is played all the same."""
    results: list[Result] = []
    for number, scene in scenes:
        stage.checks, found = [], ""
        began = time.monotonic()
        stage.screen.heading(number, scene.title, scene.explanation)
        try:
            async with asyncio.timeout(LIMIT):
                found = await scene.play(stage)
        except Exception as error:  # the others must still be shown
            stage.check(f"the scene broke: {type(error).__name__} {error}".strip(), true=False)
        results.append(Result(scene.title, found, tuple(stage.checks), time.monotonic() - began))
        await asyncio.sleep(pace)
    return results


def chosen(numbers: Sequence[int] | None) -> list[tuple[int, Scene]]:
    """The scenes of these numbers, all without any."""
    return [(number, scene) for number, scene in enumerate(SCENES, 1) if not numbers or number in numbers]


def described(fleet: Fleet, version: str, lacking: str) -> str:
    """What runs here, in a line or two."""
    if fleet.mode == "interception":
        where = "pods are network namespaces; iptables sends their connections through 15001 and 15006"
    else:
        where = "pods are loopback addresses, requests go to Envoy by Host (explicit mode)"
        where += f"; no network namespaces: {lacking}" if lacking else ""
    return f"{len(fleet.shop.pods())} applications, a real Envoy {version} beside each, one control plane\n{where}"


def invite(screen: Screen, fleet: Fleet) -> None:
    """What one can do with a mesh that runs."""
    client = fleet.pods[CLIENT]
    if fleet.mode == "interception":
        enter = " ".join(client.place.command("curl", "-sH"))
        call = f"{enter} 'Host: reviews.shop' http://{fleet.shop.addresses()['reviews']}/"
        admin = " ".join(client.place.command("curl", "-s", f"{client.envoy.admin}/clusters"))
    else:
        call = f"curl -sH 'Host: reviews.shop' http://{client.place.address}:{OUTBOUND_PORT}/"
        admin = f"curl -s {client.envoy.admin}/clusters"
    lines = {
        "edit the folder": str(fleet.shop.folder),
        "call as frontend": call,
        "frontend's Envoy": admin,
        "who is in sync": f"curl -s {fleet.control_plane.admin}/syncz",
        "what is sent": f"curl -s '{fleet.control_plane.admin}/debug/resources?node={client.spec.node}'",
        "logs": str(fleet.folder),
    }
    screen.note("all keeps running until Ctrl-C:")
    for name, value in lines.items():
        screen.console.print(f"  {name:17} {value}", soft_wrap=True)


def main() -> int:
    """Run until done; Ctrl-C and SIGTERM stop everything that was started."""
    arguments = parser().parse_args()

    async def guarded() -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run(arguments)

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        return asyncio.run(guarded())
    return 130


if __name__ == "__main__":
    sys.exit(main())
