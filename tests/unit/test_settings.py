from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from xdscp.address import Address
from xdscp.settings import Settings, SettingsError, settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that tests run on."""
    import os

    for name in list(os.environ):
        if name.startswith("XDSCP_"):
            monkeypatch.delenv(name)


def test_defaults(tmp_path: Path) -> None:
    """with a folder alone, xDS and admin listen on loopback at the ports of the contract."""
    read = settings({"directory": str(tmp_path)})

    assert tmp_path == read.directory
    assert Address("127.0.0.1", 15010) == read.xds_listen
    assert Address("127.0.0.1", 15014) == read.admin_listen
    assert (read.log_format, read.log_level) == ("auto", "info")
    assert read.trust_domain == read.cluster_domain == "cluster.local"
    assert read.loopback_allowed
    assert not read.verify


def test_every_flag_is_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """each setting is read from its variable."""
    values = {
        "directory": str(tmp_path),
        "xds_listen": "unix:/run/x.sock",
        "admin_listen": "0.0.0.0:0",
        "log_format": "json",
        "log_level": "debug",
        "trust_domain": "mesh.example",
        "cluster_domain": "k8s.example",
        "loopback_endpoints": "refuse",
        "verify": "1",
    }
    assert set(Settings.model_fields) - {"kubernetes"} == set(values)
    for name, value in values.items():
        monkeypatch.setenv(f"XDSCP_{name.upper()}", value)

    read = settings({})

    assert values | {"directory": tmp_path, "verify": True} == {
        name: str(getattr(read, name)) if "listen" in name else getattr(read, name) for name in values
    }
    assert not read.loopback_allowed


def test_flag_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a flag wins over its variable, even one that is not allowed."""
    monkeypatch.setenv("XDSCP_LOG_LEVEL", "loud")

    assert settings({"directory": str(tmp_path), "log_level": "error"}).log_level == "error"


def test_variables_of_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """variables that Kubernetes sets for a Service named xdscp are left alone."""
    for name, value in {
        "XDSCP_SERVICE_HOST": "10.96.0.9", "XDSCP_SERVICE_PORT": "15010", "XDSCP_PORT": "tcp://10.96.0.9:15010",
        "XDSCP_PORT_15010_TCP_ADDR": "10.96.0.9", "XDSCP_SERVICE_PORT_XDS": "15010",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    assert settings({"directory": str(tmp_path)}).xds_listen.port == 15010


def test_frozen(tmp_path: Path) -> None:
    """settings do not change."""
    read = settings({"directory": str(tmp_path)})

    with pytest.raises(ValidationError, match="frozen"):
        read.verify = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({}, "no source of objects is given; give --directory PATH (or XDSCP_DIRECTORY)"),
        ({"kubernetes": True}, "--kubernetes is not available in this version; give --directory PATH"),
        (
            {"xds_listen": "0.0.0.0:15010"},
            (
                '--xds-listen is "0.0.0.0:15010": xDS in plaintext is served to this machine only; '
                "allowed: 127.0.0.0/8, [::1], localhost and unix:PATH"
            ),
        ),
        (
            {"xds_listen": "15010"},
            (
                '--xds-listen is "15010": the port is a number from 0 to 65535; '
                "allowed: HOST:PORT, [IPv6]:PORT or unix:PATH"
            ),
        ),
        ({"directory": "/nope"}, '--directory is "/nope": allowed: a directory that exists'),
        ({"log_level": "loud"}, '--log-level is "loud": allowed: debug, info, warning or error'),
        ({"verify": "maybe"}, '--verify is "maybe": allowed: true or false'),
        ({"loopback_endpoints": ""}, '--loopback-endpoints is "": allowed: auto, allow or refuse'),
        (
            {"trust_domain": "Mesh_1"},
            '--trust-domain is "Mesh_1": allowed: a DNS name in lower case, such as cluster.local',
        ),
    ],
)
def test_refused(flags: dict[str, object], sentence: str) -> None:
    """what is not allowed is refused in one sentence with the flag, the value and what is allowed."""
    with pytest.raises(SettingsError) as refused:
        settings(flags)

    assert sentence == str(refused.value)


def test_refused_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """a variable that is not allowed is called by its own name."""
    monkeypatch.setenv("XDSCP_LOG_FORMAT", "xml")

    with pytest.raises(SettingsError, match=r'^XDSCP_LOG_FORMAT is "xml": allowed: auto, json or console$'):
        settings({})


def test_two_sources(tmp_path: Path) -> None:
    """two sources are refused."""
    with pytest.raises(SettingsError, match="exclude each other"):
        settings({"directory": str(tmp_path), "kubernetes": True})


@profile(deadline=None)  # the machine may be busy
@given(st.sampled_from(sorted(Settings.model_fields)), st.text())
def test_any_text(field: str, text: str) -> None:
    """any text for any setting is read, or refused in one line of bounded length."""
    try:
        settings({"directory": ".", field: text})
    except SettingsError as refused:
        assert len(str(refused)) < 2000
        assert "\n" not in str(refused)
