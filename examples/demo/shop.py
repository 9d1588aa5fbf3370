"""The folder of YAML: copied with the addresses of this run, read for its pods, edited while xdscp watches it.

Edits are of text, so that comments stay and what changed can be shown as it would look in a review.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

SOURCE = Path(__file__).resolve().parents[1] / "shop"


@dataclass(frozen=True, slots=True)
class PodSpec:
    """What the fleet must run for a Pod of the folder."""

    namespace: str
    name: str
    service: str
    version: str
    ip: str
    app_address: str
    port: int
    file: str

    @property
    def node(self) -> str:
        """The id of its Envoy."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Edit:
    """One file before and after; empty text: there was, or is, no file. `written`: monotonic seconds."""

    file: str
    before: str
    after: str
    written: float

    def diff(self, context: int = 1) -> list[str]:
        """The changed lines with `context` lines around them, each behind `+`, `-` or a blank."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), n=context, lineterm="")
        shown = [" …" if line.startswith("@@") else line for line in lines if not line.startswith(("---", "+++"))]
        return shown[1:]


class Shop:
    """A copy of `SOURCE` in `folder`; `scratch` is a folder on the same file system that is not watched."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self._scratch = scratch

    @classmethod
    def copied(cls, source: Path, folder: Path, addresses: Mapping[str, str]) -> Shop:
        """Copy the YAML of `source`, each text of `addresses` replaced by its value."""
        for path in sorted(source.rglob("*.yaml")):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(replaced(path.read_text(), addresses))
        return cls(folder, folder.parent)

    def pods(self) -> list[PodSpec]:
        """The Pods of the folder, by name."""
        found = [
            pod_spec(manifest, str(path.relative_to(self.folder)))
            for path in self.folder.rglob("*.yaml")
            for manifest in yaml.safe_load_all(path.read_text())
            if manifest["kind"] == "Pod"
        ]
        return sorted(found, key=lambda pod: pod.name)

    def addresses(self) -> dict[str, str]:
        """The virtual IP of each Service by its name."""
        return {
            manifest["metadata"]["name"]: manifest["spec"]["clusterIP"]
            for path in sorted(self.folder.rglob("*.yaml"))
            for manifest in yaml.safe_load_all(path.read_text())
            if manifest["kind"] == "Service"
        }

    def read(self, file: str) -> str:
        """The text of a file; empty when there is none."""
        path = self.folder / file
        return path.read_text() if path.exists() else ""

    def write(self, file: str, text: str) -> Edit:
        """Write a whole file at once: readers see the old or the new text, never a part."""
        before = self.read(file)
        prepared = self._scratch / f".{Path(file).name}"
        prepared.write_text(text)
        written = time.monotonic()
        prepared.replace(self.folder / file)
        return Edit(file, before, text, written)

    def edit(self, file: str, changes: Mapping[str, str]) -> Edit:
        """Replace texts in a file; each must stand in it exactly once."""
        text = self.read(file)
        for old in changes:
            if text.count(old) != 1:
                raise ValueError(f"{file}: {old!r} stands in it {text.count(old)} times")
        return self.write(file, replaced(text, changes))

    def remove(self, file: str) -> Edit:
        before = self.read(file)
        written = time.monotonic()
        (self.folder / file).unlink()
        return Edit(file, before, "", written)


def pod_spec(manifest: Mapping[str, object], file: str) -> PodSpec:
    """What to run for one Pod manifest."""
    metadata, spec, status = (manifest[part] for part in ("metadata", "spec", "status"))
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    assert isinstance(status, dict)
    labels = metadata["labels"]
    return PodSpec(
        namespace=metadata["namespace"],
        name=metadata["name"],
        service=labels["app"],
        version=labels.get("version", ""),
        ip=status["podIP"],
        app_address=metadata.get("annotations", {}).get("xdscp.io/app-address", "127.0.0.1"),
        port=spec["containers"][0]["ports"][0]["containerPort"],
        file=file,
    )


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """`text` with each key of `changes` replaced by its value, in order."""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text
