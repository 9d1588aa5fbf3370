"""A world of manifests for tests of the model: apply YAML, ask derived functions."""

from __future__ import annotations

import yaml

from xdscp.derive import Graph
from xdscp.mesh.environment import ENVIRONMENT, Environment
from xdscp.resources.core import Key
from xdscp.resources.kinds import INDEXES, identity_of, parse
from xdscp.store import Store, Write


class World:
    def __init__(self, text: str = "", environment: Environment | None = None) -> None:
        self.store = Store(INDEXES)
        self.graph = Graph(self.store)
        self._write(Write("Environment", ENVIRONMENT, environment or Environment()))
        self.apply(text)

    def apply(self, text: str) -> None:
        """Holds the objects of a YAML text."""
        for manifest in yaml.safe_load_all(text):
            if manifest:
                identity = identity_of(manifest)
                self._write(Write(identity.kind, identity.key, parse(identity.kind, identity.key, manifest)))

    def delete(self, kind: str, key: Key) -> None:
        self._write(Write(kind, key, None))

    def ask(self, function, *args):
        """The value of a derived function."""
        return self.graph.value(function, *args)

    def _write(self, write: Write) -> None:
        self.graph.touch(self.store.apply([write]))
