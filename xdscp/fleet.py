"""The open streams: whose proxy each is, and the snapshot that each is given.

Place in the flow: between the settled graph and `ads.server`. A node is watched as `proxy_of` while it has a stream; the
proxies that it yields are watched as `snapshot_of`, so replicas of a workload share one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from xdscp import assembly
from xdscp.ads.server import Stream
from xdscp.derive import Derivation, Graph, function_of
from xdscp.mesh.workload import Proxy, proxy_of
from xdscp.resources.core import Key
from xdscp.snapshot import Snapshot

LINGERING = 16
"""So many snapshots are kept after their last stream left: a proxy that reconnects finds its own still derived."""

BREATH = 64
"""After so many streams the event loop gets its turn: ACKs and health checks must not wait for a whole fan-out."""

Identity = tuple[Key, str, str]
"""Node, role and mode: the arguments of `proxy_of`."""

View = tuple[Proxy, bool]
"""Proxy and whether its streams are incremental: the arguments of `snapshot_of`."""


proxy_of_function, snapshot_of_function = function_of(proxy_of), function_of(assembly.snapshot_of)


class Fleet:
    """The registry of `ads.server`: which streams there are, grouped by what they are served."""

    def __init__(self, graph: Graph, other: Callable[[Derivation], None]) -> None:
        """`other` takes the settled derivations that are not the fleet's."""
        self.graph = graph
        self._other = other
        self.ready = False
        """Set once when the sources are synced; until then no stream is answered."""
        self._streams: dict[Identity, dict[Stream, None]] = {}
        self._proxies: dict[Identity, Proxy] = {}
        self._members: dict[View, dict[Stream, None]] = {}
        self._snapshots: dict[View, Snapshot] = {}
        self._lingering: dict[View, None] = {}

    def __iter__(self) -> Iterator[Stream]:
        for streams in self._streams.values():
            yield from streams

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._streams.get(_identity(stream), ())

    def snapshots(self) -> Iterator[tuple[View, Snapshot]]:
        """What is served now, by view."""
        return iter(self._snapshots.items())

    def proxy(self, node: Key) -> tuple[Identity, Proxy] | None:
        """The proxy of a connected node."""
        return next(((identity, proxy) for identity, proxy in self._proxies.items() if identity[0] == node), None)

    # -- streams come and go -------------------------------------------------------------------------------------------

    def join(self, stream: Stream) -> None:
        """Serves a stream whose first request named its client; at once when ready."""
        identity = _identity(stream)
        streams = self._streams.setdefault(identity, {})
        if not streams:
            self.graph.watch(proxy_of, *identity)  # type: ignore[arg-type]  # role and mode were checked by `ads.client`
        streams[stream] = None
        if not self.ready:
            return
        if identity in self._proxies:
            self._serve(stream, self._proxies[identity])
        for each, snapshot in self.settle():
            each.publish(snapshot)

    def leave(self, stream: Stream) -> None:
        """Forgets a closed stream, and with the last one of a node what only that needed."""
        identity = _identity(stream)
        streams = self._streams.get(identity, {})
        if stream not in streams:
            return
        del streams[stream]
        proxy = self._proxies.get(identity)
        if proxy is not None:
            self._withdraw(stream, proxy)
        if not streams:
            del self._streams[identity]
            self._proxies.pop(identity, None)
            self.graph.unwatch(proxy_of, *identity)  # type: ignore[arg-type]  # as above

    # -- the graph settles ---------------------------------------------------------------------------------------------

    def settle(self) -> list[tuple[Stream, Snapshot]]:
        """Brings all watched values up to date and returns what each stream is to be given; publishes to new streams."""
        due: dict[View, Snapshot] = {}
        for derivation in self.graph.settle():
            self._take(derivation, due)
        while len(self._lingering) > LINGERING:
            view = next(iter(self._lingering))
            del self._lingering[view]
            self._snapshots.pop(view, None)
            self.graph.unwatch(assembly.snapshot_of, *view)
        return [(stream, snapshot) for view, snapshot in due.items() for stream in self._members.get(view, ())]

    async def publish(self, due: list[tuple[Stream, Snapshot]]) -> None:
        """Gives each stream what `settle` returned for it."""
        for position, (stream, snapshot) in enumerate(due, 1):
            stream.publish(snapshot)
            if position % BREATH == 0:
                await asyncio.sleep(0)

    def _take(self, derivation: Derivation, due: dict[View, Snapshot]) -> None:
        value: Any = derivation.value
        if isinstance(value, Proxy):
            identity: Any = derivation.arguments
            before = self._proxies.get(identity)
            if before is not None and before.known and not value.known:
                return  # its pod was deleted while it still runs: it drains with the listeners that it has
            self._proxies[identity] = value
            for stream in self._streams.get(identity, ()):
                if before is not None:
                    self._withdraw(stream, before)
                self._serve(stream, value)
        elif isinstance(value, Snapshot):
            view: Any = derivation.arguments
            self._snapshots[view] = value
            due[view] = value
        elif derivation.function is not proxy_of_function and derivation.function is not snapshot_of_function:
            self._other(derivation)

    def _serve(self, stream: Stream, proxy: Proxy) -> None:
        view = (proxy, stream.client.incremental)
        members = self._members.setdefault(view, {})
        if not members and view in self._lingering:
            del self._lingering[view]
        elif not members:
            self.graph.watch(assembly.snapshot_of, *view)
        members[stream] = None
        if view in self._snapshots:
            stream.publish(self._snapshots[view])

    def _withdraw(self, stream: Stream, proxy: Proxy) -> None:
        view = (proxy, stream.client.incremental)
        members = self._members.get(view)
        if members is not None:
            members.pop(stream, None)
            if not members:
                del self._members[view]
                self._lingering[view] = None


def _identity(stream: Stream) -> Identity:
    client = stream.client
    return Key(client.namespace, client.name), client.role, client.mode
