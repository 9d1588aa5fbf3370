"""Transcripts of exchanges: each file in transcripts/ is played against a session.

A step is one of `publish` (type: {name: content} or {name: [content, cluster, ...]}), `ask` (type, names, unsubscribe,
known), `ack` (a type), `nack` (type, message), `expire`, `retry`, followed by `sends`: what the session writes then,
in order, as `type: +sent -removed`; nothing when it is left out. `modes` are the protocols; a `sends` may differ by
mode.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.protocol.fixtures import URL, resource, snapshot
from xdscp.ads.client import Client
from xdscp.ads.responses import Responses
from xdscp.ads.session import Send, Session
from xdscp.ads.wire import Request
from xdscp.snapshot import ResourceType

CASES = [
    pytest.param(case, mode, id=f"{case['case']}-{mode}")
    for file in sorted((Path(__file__).parent / "transcripts").glob("*.yaml"))
    for case in yaml.safe_load(file.read_text())
    for mode in case.get("modes", ["delta", "sotw"])
]


class Player:
    """A session, and what was last sent of each type."""

    def __init__(self, mode, role):
        self.incremental = mode == "delta"
        self.session = Session(Client("shop", "pod", role, "explicit", self.incremental), Responses())
        self.nonces, self.names = {}, {}

    def publish(self, types):
        resources = []
        for type, named in types.items():
            for name, content in named.items():
                text, *refers = content if isinstance(content, list) else [content]
                resources.append(resource(ResourceType(type), name, str(text), refers))
        return self.session.publish(snapshot(*resources))

    def ask(self, type, names=(), unsubscribe=(), known=None, nonce=""):
        self.names[type] = tuple(names)
        versions = {name: resource(ResourceType(type), name, str(text)).version for name, text in (known or {}).items()}
        return self.session.receive(
            Request(URL[type], tuple(names), tuple(unsubscribe), nonce, None, versions if self.incremental else {})
        )

    def ack(self, type, error=None):
        names = () if self.incremental else self.names.get(type, ())
        return self.session.receive(Request(URL[type], names, (), self.nonces[type], error))

    def play(self, step):
        """The commands of a step."""
        if "publish" in step:
            return self.publish(step["publish"])
        if "ask" in step:
            return self.ask(**step["ask"])
        if "ack" in step:
            return self.ack(step["ack"])
        if "nack" in step:
            return self.ack(step["nack"]["type"], step["nack"]["message"])
        return self.session.expire() if "expire" in step else self.session.retry()


@pytest.mark.parametrize(("case", "mode"), CASES)
def test_transcript(case, mode):
    """The session writes what the transcript says after every step, and nothing else."""
    player = Player(mode, case.get("role", "sidecar"))
    for number, step in enumerate(case["steps"]):
        sent = []
        for command in player.play(step):
            if isinstance(command, Send):
                player.nonces[command.type] = command.response.nonce
                names = [f"+{one.name}" for one in sorted(command.response.resources, key=lambda one: one.name)]
                removed = [f"-{name}" for name in sorted(command.response.removed)]
                sent.append(" ".join([f"{command.type}:", *names, *removed]))
        expected = step.get("sends", [])
        if isinstance(expected, dict):
            expected = expected[mode]
        assert sent == expected, f"step {number}: {step}"
