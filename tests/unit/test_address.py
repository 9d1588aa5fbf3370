from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from xdscp.address import Address, parsed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:15010", Address("127.0.0.1", 15010)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:15010", Address("::1", 15010)),
        ("xdscp.mesh.svc.cluster.local:15010", Address("xdscp.mesh.svc.cluster.local", 15010)),
        ("unix:/run/xds.sock", Address(path="/run/xds.sock")),
        ("unix:///run/xds.sock", Address(path="/run/xds.sock")),
        ("unix:xds.sock", Address(path="xds.sock")),
    ],
)
def test_forms(text: str, address: Address) -> None:
    """each form that is allowed reads as its address."""
    assert address == parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "15010", "localhost", "localhost:", ":15010", "localhost:65536", "localhost:-1", "localhost:+1",
        "localhost:\u0661", "::1:15010", "[::1]", "[fe80]:1", "[1.2.3.4]:1", "300.1.1.1:80", "1.2.3:80", "a b:80", "-a:80",
        "a_b:80", "unix:", "unix:" + "x" * 108, "unix:a\0b", "http://a:80",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    """what is no address is refused, with the forms allowed."""
    with pytest.raises(ValueError, match=r"allowed: |1 to 107"):
        parsed(text)


@profile(deadline=None)  # the machine may be busy
@given(st.text() | st.from_regex(r"(unix:|\[|[a-z0-9.]+)[^\n]{0,20}:[0-9]{0,6}"))
def test_any_text(text: str) -> None:
    """any text is refused by ValueError, or reads as an address whose own text reads as the same address."""
    with contextlib.suppress(ValueError):
        address = parsed(text)

        assert parsed(str(address)) == address
        assert bool(address.path) != bool(address.host)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True), ("127.9.8.7:1", True), ("[::1]:1", True), ("localhost:1", True), ("unix:/x", True),
        ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
    ],
)  # fmt: skip
def test_local(text: str, local: bool) -> None:
    """loopback addresses and unix sockets are local, and nothing that merely looks so."""
    assert local == parsed(text).local
