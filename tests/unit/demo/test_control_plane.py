"""What is read from /syncz."""

from __future__ import annotations

import pytest

from examples.demo.control_plane import acknowledged, free_port, nonces

SYNCED = {"status": "SYNCED", "nonce_sent": "4", "nonce_acked": "4", "version": "", "last_error": ""}
STALE = {**SYNCED, "status": "STALE", "nonce_acked": "3"}


@pytest.mark.parametrize("status", ["STALE", "NACK"])
def test_one_type_that_waits_or_refused_is_not_acknowledged(status):
    """All nodes and types must stand well."""
    nodes = {"shop/a": {"cds": SYNCED}, "shop/b": {"cds": SYNCED, "vhds": {**STALE, "status": status}}}

    assert not acknowledged(nodes)
    assert acknowledged({"shop/a": {"cds": SYNCED, "eds": {**SYNCED, "status": "IDLE"}}})


def test_nonces_are_those_sent():
    """A new response shows by its nonce before it is acknowledged."""
    assert nonces({"cds": SYNCED, "eds": STALE}) == {"cds": "4", "eds": "4"}


def test_a_free_port_can_be_bound():
    """Nothing listens on it."""
    assert 1024 <= free_port() < 65536
