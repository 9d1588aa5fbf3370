"""Addresses of the model as Envoy's: socket addresses and prefixes."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import Address, CidrRange, SocketAddress

from xdscp.translators.construct import unchecked

_address = unchecked(Address)
_socket_address = unchecked(SocketAddress)


def socket_address(address: str, port: int) -> Address:
    """TCP address; `address` is an IP literal, or a host name where the field's owner resolves names."""
    return _address(socket_address=_socket_address(address=address, port_value=port))


def single_address_range(address: str) -> CidrRange:
    """The range that holds this one IP address."""
    return CidrRange(address_prefix=address, prefix_len=128 if ":" in address else 32)
