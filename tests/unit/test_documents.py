"""The pages in docs/ against the code that they describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.admin.fake import FixedFacts
from xdscp.admin.facts import SyncStatus
from xdscp.admin.server import AdminServer
from xdscp.cli import app
from xdscp.resources.core import Key
from xdscp.settings import Settings
from xdscp.translators import names

CONTRACT = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without code marks."""
    section = CONTRACT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_settings() -> None:
    """the contract has each setting with its flag, variable and default."""
    listed = {cells[0]: cells[1:3] for cells in rows("Settings of `xdscp serve`")[1:]}

    assert set(listed) == {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        variable, default = listed[f"--{name.replace('_', '-')}"]
        assert variable == f"XDSCP_{name.upper()}"
        assert default == ("" if field.default is None else str(field.default).replace("False", "false"))


def test_verbs() -> None:
    """the contract has each verb."""
    listed = {cells[0].split()[1] for cells in rows("Commands") if cells[0].startswith("xdscp ")}

    assert listed == {verb.name for verb in app.registered_commands}


def test_pages() -> None:
    """the contract has each page of the admin server."""
    listed = {cells[0].partition("[")[0].partition("?")[0] for cells in rows("Admin HTTP") if cells[0].startswith("/")}

    router = AdminServer(FixedFacts(), CollectorRegistry()).application().router
    assert listed == {resource.canonical for resource in router.resources()}


def test_statuses() -> None:
    """the contract has each status of /syncz."""
    assert {status.value for status in SyncStatus} <= {cells[0] for cells in rows("Admin HTTP")}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        (names.cluster(Key("NS", "SVC"), 80), "out/<namespace>/<service>/<port>"),
        (names.cluster(Key("NS", "SVC"), 80, "SUB"), "out/<namespace>/<service>/<port>/<subset>"),
        (names.external_cluster(Key("NS", "NAME"), 80), "ext/<namespace>/<name>/<port>"),
        (names.inbound_cluster(80), "in/<port>"),
        (names.PASSTHROUGH, "passthrough"),
        (names.BLACKHOLE, "blackhole"),
        (names.OUTBOUND, "outbound"),
        (names.INBOUND, "inbound"),
        (names.route_table(80), "out/<port>"),
        (names.route_table(names.EXPLICIT), "out/explicit"),
        (names.virtual_host(80, Key("NS", "SVC"), 80), "out/<port>/<namespace>.<service>"),
        (names.virtual_host(names.EXPLICIT, Key("NS", "SVC"), 80), "out/explicit/<namespace>.<service>.<port>"),
        (names.external_virtual_host(80, Key("NS", "NAME"), 80), "out/<port>/ext.<namespace>.<name>.<port>"),
        (names.gateway(80), "gateway/<port>"),
        (
            names.grpc_server("<address>", 80).removesuffix(":80"),
            "grpc/server?xds.resource.listening_address=<address>",
        ),
        (names.catch_all(80), "out/<port>/any"),
        (names.grpc_route_table(Key("NS", "SVC"), 80), "grpc/<namespace>/<service>/<port>"),
    ],
)
def test_names(name: str, form: str) -> None:
    """the contract has each form of name, and names are made in that form."""
    parts = {"<namespace>": "NS", "<service>": "SVC", "<name>": "NAME", "<port>": "80", "<subset>": "SUB"}
    made = form
    for placeholder, value in parts.items():
        made = made.replace(placeholder, value)
    listed = {each.strip() for cells in rows("Names") for each in cells[1].split(",")}
    tables = {each.replace("<table>", table) for each in listed for table in ("<port>", "explicit")}

    assert name == made
    assert form in listed | tables
