"""TLS to a destination outside the mesh, checked against the roots that come with Envoy's image."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource, TransportSocket
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from xdscp.mesh.destination import Protocol
from xdscp.translators.encode import packed

SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
"""In the Debian, Ubuntu, Alpine and distroless images; Envoy does not look for roots by itself."""

_ALPN: Final[dict[Protocol, list[str]]] = {"http": ["http/1.1"], "http2": ["h2"], "tcp": []}


@lru_cache(maxsize=4096)
def transport_socket(sni: str, protocol: Protocol) -> TransportSocket:
    """The peer must have a certificate for `sni` from a public authority."""
    context = UpstreamTlsContext(
        sni=sni,
        common_tls_context=CommonTlsContext(
            alpn_protocols=_ALPN[protocol],
            validation_context=CertificateValidationContext(
                trusted_ca=DataSource(filename=SYSTEM_ROOTS),
                match_typed_subject_alt_names=[
                    SubjectAltNameMatcher(san_type=SubjectAltNameMatcherSanType.DNS, matcher=StringMatcher(exact=sni))
                ],
            ),
        ),
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))
