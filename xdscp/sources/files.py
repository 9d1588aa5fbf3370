"""The files of a directory tree, and the content of one, never half of it.

Place in the flow: below `directory`. Whether someone still writes a file is asked of the kernel: Linux grants a read lease
only on a file that nobody has open for writing. Where there are no leases (other systems, some network file systems,
files of other users), a file counts as written when it has been left alone for `SETTLED` seconds.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from xdscp.resources.reading import MAX_BYTES
from xdscp.sources.folder import Content, Unavailable

SUFFIXES = (".yaml", ".yml", ".json")
SETTLED = 0.02

Signature = tuple[int, int, int, int]
"""Device, inode, size and modification time: what differs when a file has changed."""


@dataclass(slots=True)
class Listing:
    """What a tree has. Paths are relative to its root, with slashes."""

    files: dict[str, Signature] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Files and directories that are there and cannot be read, with the reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Directories that are read under another path, with the reason."""
    has_links: bool = False
    leads_outside: bool = False
    """Symbolic links lead to where no watch of the tree reaches."""


def is_hidden(name: str) -> bool:
    """Whether a file or directory is none of ours: hidden, or an editor's copy."""
    return name.startswith((".", "#")) or name.endswith("~")


def is_manifest(name: str) -> bool:
    """Whether a file's name is one of a file of manifests."""
    return name.endswith(SUFFIXES) and not is_hidden(name)


def signature_of(found: os.stat_result) -> Signature:
    """The signature of a file."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def reason_of(error: OSError) -> str:
    """The operating system's words for an error, without the path."""
    return (error.strerror or str(error)).lower()


def listing_of(root: Path) -> Listing:
    """The files under `root`; symbolic links are followed, each directory is read once. Raises OSError about the root."""
    listing = Listing()
    inside = root.resolve(strict=True)
    seen: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            found = (root / directory).stat()
            if first := seen.get((found.st_dev, found.st_ino)):
                listing.skipped[directory] = f"the same directory as {first}, which is read"
                continue
            seen[found.st_dev, found.st_ino] = directory or "the whole directory"
            with os.scandir(root / directory) as entries:
                names = sorted(entry.name for entry in entries if not is_hidden(entry.name))
        except OSError as error:
            if not directory:
                raise
            listing.unreadable[directory] = reason_of(error)
            continue
        pending.extend(reversed(list(_directories(root, directory, names, (listing, inside)))))
    return listing


def _directories(root: Path, directory: str, names: list[str], into: tuple[Listing, Path]) -> Iterator[str]:
    """Lists the files of a directory; yields the directories in it."""
    listing, inside = into
    for name in names:
        path = f"{directory}/{name}" if directory else name
        try:
            found = os.lstat(root / path)
            if stat.S_ISLNK(found.st_mode):
                listing.has_links = True
                listing.leads_outside |= not (root / path).resolve().is_relative_to(inside)
                found = (root / path).stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, in Python 3.11 and 3.12
            if is_manifest(name):
                listing.unreadable[_printable(path)] = reason_of(error) if isinstance(error, OSError) else str(error)
            continue
        if stat.S_ISDIR(found.st_mode):
            yield path
        elif is_manifest(name):
            if path != _printable(path):
                listing.unreadable[_printable(path)] = "its name is not UTF-8"
            elif stat.S_ISREG(found.st_mode):
                listing.files[path] = signature_of(found)
            else:
                listing.unreadable[path] = "not a regular file"


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def content_of(path: Path) -> tuple[Content, Signature | None] | None:
    """The content of a file with its signature; None while it is being written."""
    try:
        # without O_NONBLOCK, opening a pipe that took the file's place would wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        is_dangling = path.is_symlink()
        return (Unavailable("the link leads nowhere") if is_dangling else None), None
    except OSError as error:
        return Unavailable(reason_of(error)), None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Unavailable("not a regular file"), None
        if before.st_size >= MAX_BYTES:
            message = f"the file has {before.st_size:,} bytes; it must have fewer than {MAX_BYTES:,}"
            return Unavailable(message), signature_of(before)
        if _is_being_written(descriptor, before):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES)
        after = os.fstat(descriptor)
        if signature_of(before) != signature_of(after) or _is_being_written(descriptor, after):
            return None
        return content, signature_of(before)
    except OSError as error:
        return Unavailable(reason_of(error)), None
    finally:
        os.close(descriptor)


def _is_being_written(descriptor: int, found: os.stat_result) -> bool:
    lease = getattr(fcntl, "F_SETLEASE", None)
    if lease is None:
        return _is_fresh(found)
    try:
        # whoever opens the file in this instant makes the kernel signal us: by a signal that does nothing by default
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, lease, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return _is_fresh(found)
    fcntl.fcntl(descriptor, lease, fcntl.F_UNLCK)
    return False


def _is_fresh(found: os.stat_result) -> bool:
    return 0 <= time.time() - found.st_mtime < SETTLED


def parts_of(path: str) -> tuple[str, ...]:
    """The names in a relative path."""
    return PurePosixPath(path).parts
