"""A directory tree of manifests as a source: the whole of it first, then each group of changes within milliseconds.

Place in the flow: yields batches to `pipeline`. A thread of its own waits for the file system's events, reads the files and
asks `Folder` what changed; the event loop only gets the batches. Events are hints: whenever they do not tell all (new
directories, links, a lost watch) and every few seconds the tree is listed anew, and files whose signature differs are read.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import structlog
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from xdscp.sources import files
from xdscp.sources.changes import Batch
from xdscp.sources.files import Listing, Signature
from xdscp.sources.folder import Content, Folder, Unavailable

STEP = 3
"""Milliseconds between looks for events; a group of events ends after one without a new one."""
GROUP = 15
"""Milliseconds that a group of events may last."""
RELIST = 10.0
"""Seconds between listings of a tree that is watched; of one that is not, `POLL`."""
POLL = 0.25
RELIST_BEHIND_LINKS = 1.0
SETTLING = 0.05
"""Seconds after which a new directory is listed again: files may have come before the watch of it."""
BEING_WRITTEN = 1.0
"""Seconds after which a file that is still open for writing is reported."""

log = structlog.get_logger(__name__)


class Directories:
    """The directories that files are in, by their paths; found when first asked, for a whole group of events."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = files
        self._found: set[str] | None = None

    def __contains__(self, path: str) -> bool:
        if self._found is None:
            self._found = set()
            for file in self._files:
                while (file := file.rpartition("/")[0]) and file not in self._found:
                    self._found.add(file)
        return path in self._found


class DirectoryNotReadable(Exception):  # noqa: N818  # told to the user as it stands
    """The directory cannot be read at the start."""


class Directory:
    """The source of one directory. `polling`: look every quarter of a second instead of asking for events."""

    def __init__(self, root: Path, *, polling: bool = False) -> None:
        self._root = root.absolute()
        self._polling = polling
        self._folder = Folder()
        self._signatures: dict[str, Signature | None] = {}
        self._written_since: dict[str, float] = {}
        self._notify: RustNotify | None = None
        self._listing = Listing()
        self._watched: tuple[int, int] | None = None
        self._relist_at = 0.0
        self._stop = threading.Event()

    async def batches(self) -> AsyncIterator[Batch]:
        """The batches; the first is the whole directory. Raises `DirectoryNotReadable` before the first only."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="directory")
        try:
            yield await loop.run_in_executor(thread, self._first)
            while True:
                yield await loop.run_in_executor(thread, self._next)
        finally:
            self._stop.set()
            thread.submit(self._unwatch)
            thread.shutdown(wait=False)

    # -- all below runs in the thread --------------------------------------------------------------------------------

    def _first(self) -> Batch:
        try:
            contents = self._relisted()
        except OSError as error:
            raise DirectoryNotReadable(f"{self._root}: {files.reason_of(error)}") from None
        while self._written_since and not self._stop.wait(STEP / 1000):
            contents |= self._read(tuple(self._written_since))
            if all(isinstance(contents.get(path), Unavailable) for path in self._written_since):
                break
        batch = self._folder.update(contents)
        if self._folder.ignored:
            log.debug("kinds ignored", directory=str(self._root), kinds=dict(self._folder.ignored))
        return replace(batch, synced=True)

    def _next(self) -> Batch:
        """Waits for the next batch; an empty one when stopped."""
        while not self._stop.is_set():
            contents = self._contents(self._events())
            if contents and (batch := self._folder.update(contents)):
                return batch
        return Batch()

    def _watch(self) -> None:
        """Asks for the events of the tree, once for each directory that the path names in the course of time."""
        if self._polling:
            return
        found = self._root.stat()
        if self._watched == (found.st_dev, found.st_ino):
            return
        self._unwatch()
        self._watched = found.st_dev, found.st_ino
        try:
            self._notify = RustNotify([str(self._root)], False, False, 0, True, True)
        except (OSError, WatchfilesRustInternalError) as error:
            # no inotify here, or no watch left: listing goes on without
            log.warning("directory not watched", directory=str(self._root), error=str(error))

    def _unwatch(self) -> None:
        self._watched = None
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _events(self) -> set[str]:
        """The paths of the next group of events; empty when it is time to look again without."""
        wait = max(self._relist_at - time.monotonic(), 0)
        if self._written_since:
            is_recent = max(self._written_since.values()) > time.monotonic() - BEING_WRITTEN
            wait = min(wait, STEP / 1000 if is_recent else POLL)
        if self._notify is None:
            self._stop.wait(wait)
            return set()
        try:
            events = self._notify.watch(GROUP, STEP, max(int(wait * 1000), 1), self._stop)
        except WatchfilesRustInternalError as error:
            # a file's name is no text, or the kernel dropped the watch: what happened is seen by listing, with a new watch
            log.warning("watch of directory lost", directory=str(self._root), error=str(error), limit=str(self._root))
            self._unwatch()
            self._relist_at = 0.0
            return set()
        return {path for _, path in events} if isinstance(events, set) else set()

    def _contents(self, events: set[str]) -> dict[str, Content]:
        """The contents of the files that the events, or the time, say to look at."""
        directories = Directories(self._signatures)
        known = [self._manifest(event, directories) for event in events]
        if time.monotonic() >= self._relist_at or None in known:
            try:
                return self._relisted()
            except OSError as error:
                self._unwatch()
                self._relist_at = time.monotonic() + POLL
                return {".": Unavailable(f"{files.reason_of(error)}; what the directory held is still served")}
        return self._read({*self._written_since, *filter(None, known)})

    def _manifest(self, event: str, directories: Directories) -> str | None:
        """The path of the file that an event is about, "" when it is none of ours, None when only a listing can tell."""
        path = Path(event)
        if self._listing.has_links or not path.is_relative_to(self._root) or path == self._root:
            return None
        relative = path.relative_to(self._root).as_posix()
        names = files.parts_of(relative)
        if any(map(files.is_hidden, names)):
            return ""
        if path.is_symlink() or path.is_dir() or (relative not in self._signatures and relative in directories):
            return None
        return relative if files.is_manifest(names[-1]) else ""

    def _relisted(self) -> dict[str, Content]:
        """The contents of all files that differ from the last listing. Raises OSError about the root."""
        began = time.monotonic()
        before = self._listing
        self._watch()  # before looking, so that no change falls in between
        listing = self._listing = files.listing_of(self._root)
        changed = [path for path, signature in listing.files.items() if self._signatures.get(path) != signature]
        contents: dict[str, Content] = {".": None}
        contents |= self._read({*changed, *self._written_since})
        for path, reason in (*listing.unreadable.items(), *listing.skipped.items()):
            contents[path] = Unavailable(reason)
        for path in self._folder.paths - listing.files.keys() - contents.keys():
            if not any(path.startswith(f"{directory}/") for directory in listing.unreadable):
                contents[path] = None
                self._signatures.pop(path, None)
        self._schedule(began, is_new=listing.files.keys() != before.files.keys())
        return contents

    def _schedule(self, began: float, *, is_new: bool) -> None:
        """Sets when to list again: soon after new files, else seldom enough that listing costs little."""
        now = time.monotonic()
        pause = RELIST_BEHIND_LINKS if self._listing.leads_outside or self._root.is_symlink() else RELIST
        if self._notify is None:
            pause = POLL
        elif is_new:
            pause = SETTLING
        self._relist_at = now + max(pause, 20 * (now - began))

    def _read(self, paths: Iterable[str]) -> dict[str, Content]:
        """The contents of files by path, without those that are just being written."""
        contents: dict[str, Content] = {}
        for path in paths:
            found = files.content_of(self._root / path)
            if found is None:
                since = self._written_since.setdefault(path, time.monotonic())
                if time.monotonic() - since > BEING_WRITTEN:
                    contents[path] = Unavailable("is open for writing; what it held is still served")
                continue
            self._written_since.pop(path, None)
            contents[path], self._signatures[path] = found
            if contents[path] is None:
                del self._signatures[path]
        return contents
