"""The admin server: health, readiness, metrics, sync status and debug pages over HTTP.

    GET /healthz /readyz /metrics                          anyone who reaches the address
    GET /syncz /debug/objects /debug/resources             loopback peers that name a loopback host only

Place in the flow: a reader of `Facts`. The second group shows configuration, so it is closed to pods and to web pages
that rebind a name to 127.0.0.1, whatever address the server listens on.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from xdscp.address import Address
from xdscp.admin.facts import Facts, StreamState, SyncStatus, TypeSync
from xdscp.admin.rendering import Rendered, rendered_object, rendered_problem, rendered_resource
from xdscp.resources.core import Key
from xdscp.snapshot import ResourceType

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
_SEVERITY = {status: rank for rank, status in enumerate(SyncStatus)}
_GRACE = 2.0
"""Seconds that answers under way have at shutdown; all of a process's shutdown takes at most 5."""


class AdminServer:
    """The admin endpoints on one address.

    `facts`: the state to show; `registry`: the metrics to expose.
    """

    def __init__(self, facts: Facts, registry: CollectorRegistry) -> None:
        self._facts = facts
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self._socket: Path | None = None

    async def start(self, listen: Address) -> Address:
        """Starts to serve; returns the address bound, with the port that the kernel picked for 0.

        Raises OSError with one sentence that names flag, value and cause.
        """
        if not listen.local:
            log.warning("admin opened beyond this machine", address=str(listen), pages=sorted(_OPEN))
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_GRACE)
        await self._runner.setup()
        try:
            return await self._bind(self._runner, listen)
        except OSError as error:
            await self.stop()
            cause = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
            raise OSError(
                f'--admin-listen is "{listen}": {cause}; allowed: an address of this machine that is free'
            ) from error

    async def _bind(self, runner: web.AppRunner, listen: Address) -> Address:
        if listen.path:
            path = Path(listen.path)
            if path.is_socket():
                path.unlink()  # left behind by a process that was killed
            await web.UnixSite(runner, listen.path).start()
            self._socket = path
            return listen
        host = (
            "127.0.0.1" if listen.host == "localhost" else listen.host
        )  # of two addresses port 0 would pick two ports
        await web.TCPSite(runner, host, listen.port).start()
        return Address(host, runner.addresses[0][1])

    async def stop(self) -> None:
        """Stops to serve; answers under way are finished."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)

    def application(self) -> web.Application:
        """The aiohttp application, for `start` and for tests."""
        app = web.Application(middlewares=[_answered_in_json, _closed_to_strangers])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/syncz", self._syncz)
        app.router.add_get("/debug/objects", self._objects)
        app.router.add_get("/debug/resources", self._resources)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._facts.unready()
        return web.Response(text=f"{reason}\n", status=503) if reason else web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _syncz(self, _: web.Request) -> web.Response:
        synced: dict[str, Any] = {
            node: {name: _rendered_sync(sync) for name, sync in sorted(types.items())}
            for node, types in sorted(_by_node(self._facts.streams()).items())
        }
        problems = list(self._facts.problems())
        return await _listed(lambda: synced | {"problems": [rendered_problem(problem) for problem in problems]})

    async def _objects(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind")
        held = self._facts.counts()
        if kind is not None and kind not in held:
            return _error(404, f"no object of kind {kind[:100]!r} is held", kinds=sorted(held))
        states = list(self._facts.objects(kind))
        return await _listed(lambda: [rendered_object(state) for state in states])

    async def _resources(self, request: web.Request) -> web.Response:
        types = [type.value for type in ResourceType]
        namespace, _, pod = request.query.get("node", "").partition("/")
        if not namespace or not pod or "/" in pod:
            return _error(400, "the query parameter node=NAMESPACE/POD is required", types=types)
        wanted = request.query.get("type")
        if wanted is not None and wanted not in types:
            return _error(400, f"type {wanted[:100]!r} is not one of {', '.join(types)}", types=types)
        found = self._facts.resources(Key(namespace, pod), ResourceType(wanted) if wanted else None)
        if found is None:
            nodes = sorted({str(stream.node) for stream in self._facts.streams()})
            return _error(404, f"no pod {f'{namespace}/{pod}'[:300]!r} is known", connected=nodes)
        name = request.query.get("name")
        entries = [Rendered(*entry) for entry in found if name is None or entry[0].name == name]
        if name is not None and not entries:
            return _error(404, f"no resource {name[:300]!r} is served to it; leave name out for the list")
        return await _listed(lambda: [rendered_resource(entry) for entry in entries])


def _by_node(streams: Iterable[StreamState]) -> dict[str, dict[str, TypeSync]]:
    """The types of each node; where a node has several streams, the worst status of each type."""
    nodes: dict[str, dict[str, TypeSync]] = {}
    for stream in streams:
        types = nodes.setdefault(str(stream.node), {})
        for name, sync in stream.types.items():
            if name not in types or _SEVERITY[sync.status] >= _SEVERITY[types[name].status]:
                types[name] = sync
    return nodes


def _rendered_sync(sync: TypeSync) -> dict[str, str]:
    return {
        "status": sync.status.value,
        "version": sync.version,
        "nonce_sent": sync.nonce_sent,
        "nonce_acked": sync.nonce_acked,
        "last_error": sync.last_error,
    }


async def _listed(render: Callable[[], Any]) -> web.Response:
    """What `render` gives, as JSON; both in a thread, since thousands of resources take seconds."""
    text = await asyncio.to_thread(lambda: json.dumps(render()) + "\n")
    return web.Response(text=text, content_type="application/json")


def _error(status: int, message: str, **allowed: Any) -> web.Response:
    text = json.dumps({"error": message} | allowed) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")


@web.middleware
async def _answered_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _error(404, "there is no such page", pages=list(_pages(request.app)))
    except web.HTTPMethodNotAllowed as error:
        return _error(405, f"allowed: {', '.join(sorted(error.allowed_methods))}")


@web.middleware
async def _closed_to_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path in _OPEN or (_is_loopback(request.remote) and _is_loopback(_host(request))):
        return await handler(request)
    return _error(403, "this page shows configuration: it is answered to loopback peers only, by a loopback host name")


def _is_loopback(host: str | None) -> bool:
    if not host or host == "localhost":  # a unix socket's peer has no address
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _host(request: web.Request) -> str:
    """The host that the request names, without port and brackets."""
    host = request.headers.get("Host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _pages(app: web.Application) -> Iterator[str]:
    for resource in app.router.resources():
        yield resource.canonical
