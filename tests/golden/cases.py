"""The golden cases: folders `<topic>/<case>` of in.yaml, case.yaml (optional) and out.yaml.

in.yaml     manifests as for kubectl apply; the first line is a comment that says what the case shows
case.yaml   proxies: [{node: shop/client, role: sidecar, mode: interception, variant: delta}]
            show: {cds: [patterns of names], ...}; a list of types shows all of them
            environment: fields of `mesh.environment.Environment`
out.yaml    by proxy and type the resources decoded, and the problems; written by `pytest tests/golden --update`
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from xdscp.mesh.environment import Environment
from xdscp.resources.core import Key

FOLDER = Path(__file__).parent

DEFAULT_SHOW = {"cds": ["out/*", "ext/*"], "eds": ["*"], "vhds": ["*.*"]}
"""What belongs to services; the catch-alls, the tables and the listeners are the same in most cases."""


@dataclass(frozen=True)
class Client:
    """A proxy that asks; `variant`: `delta`, or `sotw` whose route tables hold their virtual hosts."""

    node: str = "shop/client"
    role: str = "sidecar"
    mode: str = "interception"
    variant: str = "delta"

    @property
    def identity(self) -> tuple[Key, Any, Any]:
        namespace, _, name = self.node.partition("/")
        return Key(namespace, name), self.role, self.mode

    @property
    def incremental(self) -> bool:
        return self.variant == "delta"

    def __str__(self) -> str:
        return f"{self.node} {self.role} {self.mode} {self.variant}"


@dataclass(frozen=True)
class Case:
    folder: Path
    settings: dict[str, Any] = field(hash=False, compare=False)

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @cached_property
    def text(self) -> str:
        return (self.folder / "in.yaml").read_text()

    @cached_property
    def documents(self) -> tuple[bytes, ...]:
        """The documents of in.yaml, each as a file of its own would hold it."""
        return tuple(part.encode() for part in re.split(r"(?m)^---\n", self.text))

    @property
    def output(self) -> Path:
        return self.folder / "out.yaml"

    @property
    def clients(self) -> tuple[Client, ...]:
        return tuple(Client(**each) for each in self.settings.get("proxies", [{}]))

    @property
    def environment(self) -> Environment:
        return Environment(**self.settings.get("environment", {}))

    def shows(self, type: str, name: str) -> bool:
        """Whether out.yaml holds the resource."""
        show = self.settings.get("show", DEFAULT_SHOW)
        patterns = (["*"] if type in show else []) if isinstance(show, list) else show.get(type, [])
        return any(fnmatchcase(name, pattern) for pattern in patterns)


def all_cases() -> list[Case]:
    """Every folder that has any of a case's files."""
    found = []
    for folder in sorted({path.parent for path in FOLDER.glob("*/*/*.yaml")}):
        path = folder / "case.yaml"
        settings = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
        assert settings.keys() <= {"proxies", "show", "environment"}, f"{path} has unknown settings"
        found.append(Case(folder, settings))
    return found
