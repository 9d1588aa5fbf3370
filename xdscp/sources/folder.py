"""What a folder of manifests holds, from the contents of its files: no file is touched here.

Place in the flow: `directory` gives the contents of the files that changed and yields the batch that comes back.

    content of a file -> reading -> claims: (kind, key) -> manifest, per file -> the first file's claim holds -> changes

A file that cannot be read as a whole keeps all that it claimed. One with a document that cannot be read, or that does not
say which object it is, keeps what it claimed and no longer has: that document may be it. Of several documents that claim
an object, the first counts (files by path), the others are troubles, and the next takes over when the first goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from xdscp.resources.core import Key, Problem
from xdscp.resources.kinds import Identity, identity_of
from xdscp.resources.reading import Document, Reading, reading_of
from xdscp.resources.rejection import Rejected
from xdscp.sources.changes import Batch, Change, Trouble


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Stands for the content of a file that is there and cannot be got."""

    message: str


Content = bytes | Unavailable | None
"""The bytes of a file; why they cannot be got; or None: the file is gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a document says an object is. `is_kept`: the file does not say it any more, but is not whole either."""

    origin: str
    manifest: Mapping[str, Any]
    is_kept: bool = False


Claims = dict[Identity, Claim]
Problems = dict[str, Problem]
"""What cannot be read, by origin."""


@dataclass(frozen=True, slots=True)
class _File:
    mark: bytes | Unavailable | None = None
    """Equal for equal contents."""
    claims: Claims = field(default_factory=dict)
    problems: Problems = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


_NOTHING = _File()


class Folder:
    """The state of a folder; `update` takes contents and gives the batch of what changed by them."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._claimants: dict[Identity, set[str]] = {}
        self._held: Claims = {}
        self._duplicates: dict[Identity, Problems] = {}

    @property
    def paths(self) -> frozenset[str]:
        """The files that are held."""
        return frozenset(self._files)

    @property
    def ignored(self) -> Mapping[str, int]:
        """How many documents are of kinds that are not read, by kind."""
        total: Counter[str] = Counter()
        for file in self._files.values():
            total.update(file.ignored)
        return total

    def update(self, contents: Mapping[str, Content]) -> Batch:
        """Takes the contents of files by path, together: what moves between two of them is never gone in between."""
        before: Problems = {}
        after: Problems = {}
        disputed: dict[Identity, None] = {}
        for path in sorted(contents):
            old = self._files.get(path, _NOTHING)
            mark = _mark(contents[path])
            if mark == old.mark:
                continue
            new = _file(path, contents[path], old)
            disputed.update(dict.fromkeys(self._replace(path, old, new)))
            before |= old.problems
            after |= new.problems
        changes: list[Change] = []
        for identity in disputed:
            before |= self._duplicates.pop(identity, {})
            changes.extend(self._settle(identity))
            after |= self._duplicates.get(identity, {})
        origins = sorted(origin for origin in before.keys() | after.keys() if before.get(origin) != after.get(origin))
        return Batch(tuple(changes), tuple(Trouble(origin, after.get(origin)) for origin in origins))

    def _replace(self, path: str, old: _File, new: _File) -> Iterator[Identity]:
        """Holds what a file is now; yields the objects about which it says something else than before."""
        if new.mark is None:
            self._files.pop(path, None)
        else:
            self._files[path] = new
        for identity, claim in new.claims.items():
            self._claimants.setdefault(identity, set()).add(path)
            before = old.claims.get(identity)
            if before is None or claim.is_kept != before.is_kept or not _same(claim, before):
                yield identity
        for identity in [identity for identity in old.claims if identity not in new.claims]:
            self._claimants[identity].discard(path)
            if not self._claimants[identity]:
                del self._claimants[identity]
            yield identity

    def _settle(self, identity: Identity) -> Iterator[Change]:
        """Lets the first claim hold, and notes the other ones as duplicates."""
        paths = self._claimants.get(identity, ())
        claims = [self._files[path].claims[identity] for path in sorted(paths)]
        claims.sort(key=lambda claim: claim.is_kept)  # stable; what is said counts before what was said
        held = self._held.pop(identity, None)
        if not claims:
            yield Change(identity.kind, identity.key, None, held.origin if held is not None else "")
            return
        first = self._held[identity] = claims[0]
        if held is None or not _same(first, held):
            yield Change(identity.kind, identity.key, first.manifest, first.origin)
        duplicates = {claim.origin: _duplicate(claim, identity, first) for claim in claims[1:] if not claim.is_kept}
        if duplicates:
            self._duplicates[identity] = duplicates


def place_of(origin: str) -> tuple[str, int]:
    """The file and the number of the document of an origin; 0 for a whole file."""
    file, separator, place = origin.rpartition("#")
    number = place.partition("[")[0]
    return (file, int(number)) if separator and number.isdecimal() else (origin, 0)


def _mark(content: Content) -> bytes | Unavailable | None:
    return blake2b(content, digest_size=16).digest() if isinstance(content, bytes) else content


def _same(claim: Claim, other: Claim) -> bool:
    # compared as text too: to Python 1, 1.0 and True are equal
    return (
        claim.origin == other.origin
        and claim.manifest == other.manifest
        and repr(claim.manifest) == repr(other.manifest)
    )


def _file(path: str, content: Content, before: _File) -> _File:
    if content is None:
        return _NOTHING
    mark = _mark(content)
    if isinstance(content, Unavailable):
        return replace(before, mark=mark, problems={path: _problem(path, content.message)})
    reading = reading_of(content, is_json=path.endswith(".json"))
    spoiled = [error for error in reading.errors if not error.place]
    if spoiled:
        return replace(before, mark=mark, problems={path: _problem(path, str(spoiled[0]))})
    return _readable_file(path, mark, reading, before)


def _readable_file(path: str, mark: bytes | Unavailable | None, reading: Reading, before: _File) -> _File:
    claims: Claims = {}
    ignored: Counter[str] = Counter()
    problems = {
        origin: _problem(origin, str(error)) for error in reading.errors for origin in (f"{path}#{error.place}",)
    }
    is_whole = not problems
    for document in reading.documents:
        origin = f"{path}#{document.place}"
        try:
            identity = identity_of(document.manifest)
        except Rejected as error:
            problems[origin] = _unidentified(origin, document, error)
            is_whole = False
            continue
        if identity is None:
            ignored[str(document.manifest["kind"])] += 1
        elif identity in claims:
            problems[origin] = _duplicate(Claim(origin, document.manifest), identity, claims[identity])
        else:
            claims[identity] = Claim(origin, document.manifest)
    if not is_whole:
        for identity, claim in before.claims.items():
            claims.setdefault(identity, replace(claim, is_kept=True))
    return _File(mark, claims, problems, ignored)


def _problem(origin: str, message: str, reason: str = "Unreadable", field: str = "") -> Problem:
    file, document = place_of(origin)
    return Problem("File", Key("", origin), reason, message, file, document, field)


def _unidentified(origin: str, document: Document, error: Rejected) -> Problem:
    return _problem(origin, f"line {document.line}: {error}", "Invalid", error.findings[0].field)


def _duplicate(claim: Claim, identity: Identity, first: Claim) -> Problem:
    message = f"{identity.kind} {identity.key} stands in {first.origin} already; this one is not used"
    return _problem(claim.origin, message, "Duplicate")
