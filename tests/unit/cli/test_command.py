"""The command line: codes, sentences, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import xdscp
from xdscp import __version__
from xdscp.cli import app, command
from xdscp.resources.core import Key, Problem
from xdscp.settings import Settings

SLOW = (
    "aiohttp", "asyncio", "betterproto2", "envoy_data_plane", "google.protobuf", "grpc", "prometheus_client", "pydantic",
    "pydantic_settings", "re2", "rich", "structlog", "uvloop", "watchfiles", "yaml",
)  # fmt: skip


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for `xdscp.app` that keeps what it was called with."""
    state = SimpleNamespace(settings=None, code=0, problems=[], translation=[])
    module = ModuleType("xdscp.app")

    def run(settings: Settings) -> int:
        state.settings = settings
        return state.code

    module.run = run  # type: ignore[attr-defined]
    module.findings = lambda _: state.problems  # type: ignore[attr-defined]
    module.translation = lambda _, __: state.translation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xdscp.app", module)
    monkeypatch.setattr(xdscp, "app", module, raising=False)
    return state


@pytest.mark.parametrize(
    "arguments", [["version"], ["bootstrap", "shop/web-0"], ["bootstrap", "a/b", "--format", "grpc"]]
)
def test_imports(arguments: list[str]) -> None:
    """verbs that do not translate import nothing that starts slowly."""
    script = (
        "import sys; from xdscp.cli import command; code = command(sys.argv[1:]); "
        f"print([m for m in {SLOW!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """version prints the version."""
    assert command(["version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing command."),
        (["serv"], "No such command 'serv'. Did you mean 'serve'?"),
        (["serve", "--foo"], "No such option: --foo"),
        (["serve"], "no source of objects is given; give --directory PATH (or XDSCP_DIRECTORY)"),
        (["serve", "--kubernetes"], "--kubernetes is not available in this version; give --directory PATH"),
        (["serve", "--directory", "/nope"], '--directory is "/nope": allowed: a directory that exists'),
        (["validate", "/nope"], "DIR is '/nope'; allowed: a directory that exists"),
        (["validate", ".", "--format", "xml"], "--format is 'xml'; allowed: text or json"),
        (["translate", ".", "--node", "web"], "--node is 'web'; allowed: NAMESPACE/POD, two Kubernetes names"),
        (
            ["translate", ".", "--node", "a/b", "--type", "x"],
            "--type is 'x'; allowed: cds or eds or lds or rds or vhds or sds",
        ),
        (["bootstrap", "Web/0"], "NS/POD is 'Web/0'; allowed: NAMESPACE/POD, two Kubernetes names"),
        (["bootstrap", "a/b", "--mode", "x"], "--mode is 'x'; allowed: interception or explicit"),
        (["bootstrap", "a/b", "--role", "grpc"], "--role is 'grpc'; allowed: sidecar or gateway"),
        (["bootstrap", "a/b", "--format", "grpc", "--role", "sidecar"], "--role is 'sidecar'; allowed: grpc"),
        (["bootstrap", "a/b", "--admin-port", "x"], "--admin-port is 'x': allowed: a number from 0 to 65535"),
        (
            ["bootstrap", "a/b", "--readiness-port", "x"],
            "--readiness-port is 'x': allowed: a number from 0 to 65535, or off",
        ),
        (
            ["bootstrap", "a/b", "--admin-port", "0", "--readiness-port", "15021"],
            "--readiness-port is '15021'; allowed: off, since it is answered from the admin port and that is 0",
        ),
        (
            ["bootstrap", "a/b", "--xds", "127.0.0.1:0"],
            (
                "--xds is '127.0.0.1:0': a proxy needs the port that the control plane printed; "
                "allowed: HOST:PORT, [IPv6]:PORT or unix:PATH"
            ),
        ),
    ],
)
def test_usage_error(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], parts: object) -> None:
    """a usage error is one sentence on standard error and exit code 2."""
    code = command(arguments)

    assert code == 2
    assert tuple(capsys.readouterr()) == ("", f"xdscp: {sentence}\n")


def test_serve(parts: SimpleNamespace, tmp_path: Path) -> None:
    """serve gives the settings to the application and exits with its code."""
    parts.code = 1

    code = command(["serve", "--directory", str(tmp_path), "--xds-listen", "unix:/x", "--verify"])

    assert code == 1
    assert str(parts.settings.xds_listen) == "unix:/x"
    assert parts.settings.verify


def test_flags_are_settings() -> None:
    """serve has a flag for each setting, and no other."""
    import inspect

    from xdscp.cli import serve

    assert set(Settings.model_fields) == set(inspect.signature(serve.run).parameters)


def test_validate(parts: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """validate prints a line a finding, in the order of the files, and exits with 1."""
    parts.problems = [
        Problem("Service", Key("shop", "b"), "Invalid", "spec.ports: none", file="b.yaml"),
        Problem("TrafficPolicy", Key("shop", "a"), "Invalid", "first\nsecond\x1b[2J", file="a.yaml", document=1),
    ]

    assert command(["validate", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.yaml[1]: TrafficPolicy shop/a: Invalid: first\\nsecond\\x1b[2J",
        "b.yaml[0]: Service shop/b: Invalid: spec.ports: none",
    ]
    assert command(["validate", str(tmp_path), "--format", "json"]) == 1
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["a", "b"]
    parts.problems = []
    assert command(["validate", str(tmp_path)]) == 0


def test_translate(parts: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """translate prints the resources of the type asked for, decoded, and exits with 1 for an unknown pod."""
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster

    from xdscp.snapshot import Resource, ResourceType

    parts.translation = [
        (Resource(ResourceType.CDS, "out/shop/a/80", "1", bytes(Cluster(name="out/shop/a/80"))), ("Service/shop/a",)),
        (Resource(ResourceType.LDS, "outbound", "2", b""), ()),
    ]

    assert command(["translate", str(tmp_path), "--node", "shop/web-0", "--type", "cds"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "type": "cds",
            "name": "out/shop/a/80",
            "version": "1",
            "sources": ["Service/shop/a"],
            "body": {"name": "out/shop/a/80"},
        }
    ]
    parts.translation = None
    assert command(["translate", str(tmp_path), "--node", "shop/web-0"]) == 1
    assert capsys.readouterr().err == f"xdscp: no pod shop/web-0 is in {tmp_path}\n"


@pytest.mark.parametrize(("verb", "function"), [("crds", "crds"), ("docs", "reference_pages")])
def test_written_files(
    verb: str, function: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """crds and docs print what they have, or write a file each."""
    import xdscp.resources

    files = {"b": "B\n", "a": "A\n"}
    module: Any = ModuleType("xdscp.resources.schema")
    setattr(module, function, lambda: files)
    monkeypatch.setitem(sys.modules, "xdscp.resources.schema", module)
    monkeypatch.setattr(xdscp.resources, "schema", module, raising=False)

    assert command([verb]) == 0
    printed = capsys.readouterr().out
    assert printed.index("A") < printed.index("B")
    assert command([verb, "--out", str(tmp_path / "new")]) == 0
    assert files == {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert command([verb, "--out", str(tmp_path / "new" / "a")]) == 2


def test_help_is_a_sentence() -> None:
    """each verb has a help text."""
    assert all(verb.callback is not None and verb.callback.__doc__ for verb in app.registered_commands)
