"""The control plane: every long-lived part, made in the order of the flow, and run until it is told to stop.

    source -> pipeline (store, graph, fleet) -> ads server
                  '-> reading -> admin server

Place in the flow: called by `cli.serve` with the settings; `cli.translate` and `cli.validate` run the same pipeline once.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog
import uvloop

from xdscp import logging
from xdscp.address import Address
from xdscp.admin.lag import watch_lag
from xdscp.admin.server import AdminServer
from xdscp.ads.server import Server
from xdscp.batching import gathered
from xdscp.mesh.environment import Environment
from xdscp.metrics import Metrics
from xdscp.pipeline import Pipeline
from xdscp.reading import Reading
from xdscp.resources.core import Key, Problem
from xdscp.settings import Settings
from xdscp.snapshot import Resource
from xdscp.sources.directory import Directory, DirectoryNotReadable

log = structlog.get_logger()

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

GRACE = 4.0
"""Seconds that open streams have at shutdown; with all else it must end within 5."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    logging.configure(settings.log_format, settings.log_level)
    _return_freed_memory()
    try:
        uvloop.run(serve(settings))
    except (OSError, DirectoryNotReadable) as error:
        sys.stderr.write(f"xdscp: {error}\n")
        return 2
    return 0


def _return_freed_memory() -> None:
    """Lets glibc give large blocks back to the kernel, always.

    By default it raises its threshold with the sizes that it sees: after a storm of first configurations 300 KB a stream
    were kept for ever.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 128 << 10)
        mallopt(M_TRIM_THRESHOLD, 128 << 10)


async def serve(settings: Settings) -> None:
    """Runs the control plane until a signal. Raises OSError or DirectoryNotReadable when it cannot start."""
    assert settings.directory is not None
    metrics = Metrics()
    environment = Environment(settings.cluster_domain, settings.loopback_allowed)
    pipeline = Pipeline(environment, metrics, verify=settings.verify)
    reading = Reading(pipeline)
    metrics.watch(reading)
    streams = Server(pipeline)
    admin = AdminServer(reading, metrics.registry)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    address = await admin.start(settings.admin_listen)
    log.info("admin listening", address=str(address))
    try:
        try:
            (port,) = await streams.start(str(settings.xds_listen))
        except OSError:
            raise OSError(f"--xds-listen is {settings.xds_listen}: it is in use, or may not be bound") from None
        listening = settings.xds_listen if settings.xds_listen.path else Address(settings.xds_listen.host, port)
        log.info("xds listening", address=str(listening))
        await _until(stop, _feed(pipeline, Directory(settings.directory)), watch_lag(metrics.loop_lag.observe))
    finally:
        reading.stopping = True
        log.info("stopping", streams=len(streams.streams))
        await streams.stop(GRACE)
        await admin.stop()
        log.info("stopped")


async def _feed(pipeline: Pipeline, source: Directory) -> None:
    async for batch in gathered(source.batches()):
        await pipeline.take(batch)


async def _until(stop: asyncio.Event, *parts: object) -> None:
    """Runs the parts until `stop` is set or one of them raises."""
    tasks = [asyncio.ensure_future(part) for part in parts]  # type: ignore[call-overload]  # coroutines, made by the caller
    stopped = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in [stopped, *tasks]:
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)


def _read_once(directory: Path) -> Reading:
    """The state that a directory gives, without serving it."""
    pipeline = Pipeline(Environment(loopback_endpoints=True), Metrics())

    async def first() -> None:
        batches = Directory(directory).batches()
        try:
            await pipeline.take(await anext(batches))
        finally:
            await batches.aclose()  # type: ignore[attr-defined]  # it is an async generator

    logging.configure("console", "error")
    asyncio.run(first())
    return Reading(pipeline)


def translation(directory: Path, node: Key) -> list[tuple[Resource, tuple[str, ...]]] | None:
    """The resources that a pod's proxy would be served from a directory, each with its sources; None for no such pod."""
    found = _read_once(directory).resources(node)
    return list(found) if found is not None else None


def findings(directory: Path) -> Iterable[Problem]:
    """All that is wrong with the objects of a directory."""
    return _read_once(directory).problems()
