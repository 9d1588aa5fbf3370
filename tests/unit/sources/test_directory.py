"""The directory as a source: real files, links and writers."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from xdscp.resources.core import Problem
from xdscp.sources import directory as module
from xdscp.sources import files
from xdscp.sources.changes import Batch
from xdscp.sources.directory import Directory, DirectoryNotReadable


def node(name: str, zone: str = "a") -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{zone: {zone}}}}}\n"


class Reader:
    """Reads the batches of a directory, and knows what they say."""

    def __init__(self, batches: AsyncIterator[Batch]) -> None:
        self._batches = batches
        self.count = 0
        self.zones: dict[str, str] = {}
        self.problems: dict[str, Problem] = {}

    async def next(self) -> Batch:
        batch = await asyncio.wait_for(anext(self._batches), 10)
        self.count += 1
        for change in batch.changes:
            if change.manifest is None:
                del self.zones[change.key.name]
            else:
                self.zones[change.key.name] = change.manifest["metadata"]["labels"]["zone"]
        for trouble in batch.troubles:
            self.problems.pop(trouble.origin, None)
            if trouble.problem is not None:
                self.problems[trouble.origin] = trouble.problem
        return batch

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.next()


@asynccontextmanager
async def reading(root: Path, *, polling: bool = False) -> AsyncIterator[Reader]:
    batches = Directory(root, polling=polling).batches()
    try:
        reader = Reader(batches)
        assert (await reader.next()).synced
        yield reader
    finally:
        await batches.aclose()


@contextmanager
def writing(path: Path) -> Iterator[Callable[[str], None]]:
    """A file that is written bit by bit, visible to readers at once."""
    with path.open("w") as file:

        def write(text: str) -> None:
            file.write(text)
            file.flush()

        yield write


async def test_the_first_batch_is_the_whole_directory(tmp_path: Path) -> None:
    """All files of all subdirectories are in the first batch; hidden files, editors' copies and other suffixes are not."""
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for path in ("a.yaml", "b/b.yml", "b/c/c.json.yaml", ".hidden.yaml", "x.yaml~", "#x.yaml", "x.txt", ".git/x.yaml"):
        (tmp_path / path).write_text(node(f"n{path[:1]}".replace(".", "h").replace("#", "i")))
    (tmp_path / "d.json").write_text('{"apiVersion":"v1","kind":"Node","metadata":{"name":"nd","labels":{"zone":"a"}}}')
    (tmp_path / "b/c/c.json.yaml").write_text(node("nc"))

    async with reading(tmp_path) as reader:
        assert reader.zones == dict.fromkeys(["na", "nb", "nc", "nd"], "a")
        assert not reader.problems


async def test_an_empty_directory_is_synced(tmp_path: Path) -> None:
    """A directory without files has a first batch, so that readiness does not wait for a file."""
    async with reading(tmp_path) as reader:
        assert reader.zones == {}


async def test_a_missing_directory_is_told_in_a_sentence(tmp_path: Path) -> None:
    """A directory that is not there at the start is an error in one line."""
    with pytest.raises(DirectoryNotReadable, match=r"nowhere: no such file or directory$"):
        await anext(Directory(tmp_path / "nowhere").batches())


@pytest.mark.parametrize("polling", [False, True])
async def test_files_are_followed(tmp_path: Path, polling: bool) -> None:
    """Written, replaced, renamed and deleted files are seen, with and without the file system's events."""
    (tmp_path / "a.yaml").write_text(node("n1"))
    async with reading(tmp_path, polling=polling) as reader:
        (tmp_path / "a.yaml").write_text(node("n1", "b"))
        await reader.until(lambda: reader.zones == {"n1": "b"})

        (tmp_path / "a.yaml.tmp").write_text(node("n1", "c"))
        (tmp_path / "a.yaml.tmp").replace(tmp_path / "a.yaml")
        await reader.until(lambda: reader.zones == {"n1": "c"})

        (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
        await reader.next()
        assert reader.zones == {"n1": "c"}

        (tmp_path / "c.yaml").write_text(node("n2"))
        await reader.until(lambda: reader.zones == {"n1": "c", "n2": "a"})

        (tmp_path / "b.yaml").unlink()
        await reader.until(lambda: reader.zones == {"n2": "a"})


async def test_new_directories_are_followed(tmp_path: Path) -> None:
    """Files of a directory that is made, moved or removed while it is watched are seen."""
    async with reading(tmp_path) as reader:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/x.yaml").write_text(node("n1"))
        await reader.until(lambda: reader.zones == {"n1": "a"})

        (tmp_path / "a").rename(tmp_path / "c")
        await reader.next()
        assert reader.zones == {"n1": "a"}

        (tmp_path / "c/b/x.yaml").write_text(node("n1", "b"))
        await reader.until(lambda: reader.zones == {"n1": "b"})

        shutil.rmtree(tmp_path / "c")
        await reader.until(lambda: reader.zones == {})


async def test_a_file_is_read_when_its_writer_has_closed_it(tmp_path: Path) -> None:
    """While a file is open for writing it keeps what it held, even if the part that is there would be valid."""
    (tmp_path / "a.yaml").write_text(node("n1") + "---\n" + node("n2"))
    async with reading(tmp_path) as reader:
        with writing(tmp_path / "a.yaml") as write:
            write(node("n1", "b"))
            (tmp_path / "b.yaml").write_text(node("n3"))
            await reader.next()
            assert reader.zones == {"n1": "a", "n2": "a", "n3": "a"}
            write("---\n" + node("n2", "b"))

        await reader.next()
        assert reader.zones == {"n1": "b", "n2": "b", "n3": "a"}


async def test_a_file_that_stays_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose writer does not end is a trouble, at the start too, and the rest is served."""
    monkeypatch.setattr(module, "BEING_WRITTEN", 0.05)
    (tmp_path / "b.yaml").write_text(node("n2"))
    with writing(tmp_path / "a.yaml") as write:
        write(node("n1"))
        async with reading(tmp_path) as reader:
            assert reader.zones == {"n2": "a"}
            assert reader.problems["a.yaml"].message == "is open for writing; what it held is still served"


async def test_without_leases_a_file_is_read_when_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not tell of writers, a file that was just written waits a moment."""
    monkeypatch.delattr(files.fcntl, "F_SETLEASE")
    (tmp_path / "a.yaml").write_text(node("n1"))
    async with reading(tmp_path) as reader:
        (tmp_path / "a.yaml").write_text(node("n1", "b"))
        await reader.until(lambda: reader.zones == {"n1": "b"})


async def test_what_is_broken_keeps_what_it_held(tmp_path: Path) -> None:
    """A file that becomes invalid, too large, or something else than a file keeps its objects, and the rest is served."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.yaml").write_text(node(f"n{name}"))
    async with reading(tmp_path) as reader:
        (tmp_path / "a.yaml").write_text("a: [")
        (tmp_path / "b.yaml").write_bytes(b"#" * 10_000_000)
        (tmp_path / "c.yaml").unlink()
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "fifo").rename(tmp_path / "c.yaml")
        (tmp_path / "d.yaml").write_text(node("nd", "b"))
        await reader.until(lambda: len(reader.problems) == 3 and reader.zones["nd"] == "b")

        assert set(reader.zones) == {"na", "nb", "nc", "nd"}
        assert reader.problems["a.yaml"].message == "line 2: did not find expected node content"
        assert "fewer than 10,000,000" in reader.problems["b.yaml"].message
        assert reader.problems["c.yaml"].message == "not a regular file"


async def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says when a file is opened is the trouble of that file, and it keeps what it held."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(node(f"n{name}"))
    async with reading(tmp_path) as reader:
        opened = os.open

        def denied(path: Path, flags: int) -> int:
            if path.name == "a.yaml":
                raise PermissionError(13, "Permission denied")
            return opened(path, flags)

        monkeypatch.setattr(files.os, "open", denied)
        os.utime(tmp_path / "a.yaml")
        await reader.until(lambda: "a.yaml" in reader.problems)
        monkeypatch.undo()

        assert reader.problems["a.yaml"].message == "permission denied"
        assert reader.zones == {"na": "a", "nb": "a"}

        os.utime(tmp_path / "a.yaml")
        await reader.until(lambda: not reader.problems)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """A file and a directory that may not be read are troubles."""
    (tmp_path / "a.yaml").write_text(node("n1"))
    (tmp_path / "a.yaml").chmod(0)
    (tmp_path / "b").mkdir(mode=0)
    async with reading(tmp_path) as reader:
        assert {name: found.message for name, found in reader.problems.items()} == {
            "a.yaml": "permission denied",
            "b": "permission denied",
        }


async def test_an_unreadable_directory_keeps_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The objects below a directory that can no longer be listed stay."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.yaml").write_text(node("n1"))
    async with reading(tmp_path, polling=True) as reader:
        scandir = os.scandir

        def denied(path: Path) -> Iterator[os.DirEntry[str]]:
            if Path(path).name == "b":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(files.os, "scandir", denied)
        await reader.until(lambda: "b" in reader.problems)

        assert reader.problems["b"].message == "permission denied"
        assert reader.zones == {"n1": "a"}


async def test_links_are_followed_and_loops_are_told(tmp_path: Path) -> None:
    """Links to files and directories are read; loops and links to nowhere are troubles, and the rest is served."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x.yaml").write_text(node("n1"))
    (outside / "y.txt").write_text(node("n2"))
    (root / "dir").symlink_to(outside)
    (root / "y.yaml").symlink_to(outside / "y.txt")
    (root / "self.yaml").symlink_to("self.yaml")
    (root / "nowhere.yaml").symlink_to("nothing")
    (outside / "up").symlink_to(root)
    async with reading(root) as reader:
        assert reader.zones == {"n1": "a", "n2": "a"}
        assert {name: found.message for name, found in reader.problems.items()} == {
            "dir/up": "the same directory as the whole directory, which is read",
            "nowhere.yaml": "no such file or directory",
            "self.yaml": reader.problems["self.yaml"].message,
        }
        message = reader.problems["self.yaml"].message.lower()
        assert "loop" in message or "too many levels of symbolic links" in message  # words of 3.11 or 3.13

        (outside / "y.txt").write_text(node("n2", "b"))
        await reader.until(lambda: reader.zones == {"n1": "a", "n2": "b"})


async def test_a_config_map_volume_is_followed(tmp_path: Path) -> None:
    """The kubelet swaps a hidden link to a directory: all files change together, in one batch."""
    for version, zone in (("..1", "a"), ("..2", "b")):
        (tmp_path / version).mkdir()
        for name in ("n1", "n2"):
            (tmp_path / version / f"{name}.yaml").write_text(node(name, zone))
    (tmp_path / "..data").symlink_to("..1")
    for name in ("n1", "n2"):
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    async with reading(tmp_path) as reader:
        assert reader.zones == {"n1": "a", "n2": "a"}

        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await reader.next()

        assert reader.zones == {"n1": "b", "n2": "b"}


async def test_a_lost_directory_keeps_what_it_held(tmp_path: Path) -> None:
    """When the directory itself is gone, all stays, with a trouble; when it comes back it is followed again."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.yaml").write_text(node("n1"))
    async with reading(root) as reader:
        root.rename(tmp_path / "elsewhere")
        await reader.until(lambda: "." in reader.problems)

        assert reader.zones == {"n1": "a"}

        root.mkdir()
        (root / "b.yaml").write_text(node("n2"))
        await reader.until(lambda: not reader.problems and reader.zones == {"n2": "a"})
        (root / "b.yaml").write_text(node("n2", "b"))
        await reader.until(lambda: reader.zones == {"n2": "b"})


async def test_names_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    """A file whose name cannot be printed is a trouble with a name that can."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")).write_text(node("n1"))
    async with reading(tmp_path) as reader:
        assert {name: found.message for name, found in reader.problems.items()} == {
            "\\udcff.yaml": "its name is not UTF-8"
        }


async def test_a_change_is_seen_within_milliseconds(tmp_path: Path) -> None:
    """From a write to its batch it takes a few milliseconds; the bound allows for a busy machine."""
    path = tmp_path / "a.yaml"
    path.write_text(node("n1"))
    loop = asyncio.get_running_loop()
    async with reading(tmp_path) as reader:
        taken = []
        for turn in range(20):
            pending = asyncio.ensure_future(reader.next())
            began = loop.time()
            path.write_text(node("n1", f"z{turn}"))
            await pending
            taken.append(loop.time() - began)
        assert reader.zones == {"n1": "z19"}
        assert sorted(taken)[10] < 0.05
