"""Access logs: one JSON object a line, for HTTP and for opaque connections."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.extensions.access_loggers.file.v3 import FileAccessLog
from envoy_data_plane.google.protobuf import Struct, Value

from xdscp.translators.encode import packed

_CONNECTION: Final = {
    "start_time": "%START_TIME%",
    "duration": "%DURATION%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "upstream": "%UPSTREAM_HOST%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
}
_REQUEST: Final = {
    "method": "%REQ(:METHOD)%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "route": "%ROUTE_NAME%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "user_agent": "%REQ(USER-AGENT)%",
}


def http(path: str) -> list[AccessLog]:
    """A line a request, written to `path`; none for an empty path."""
    return [_log(path, of_requests=True)] if path else []


def tcp(path: str) -> list[AccessLog]:
    """A line a connection, written to `path`; none for an empty path."""
    return [_log(path, of_requests=False)] if path else []


@lru_cache(maxsize=64)
def _log(path: str, *, of_requests: bool) -> AccessLog:
    fields = {**_CONNECTION, **_REQUEST} if of_requests else _CONNECTION
    line = Struct(fields={name: Value(string_value=text) for name, text in fields.items()})
    return AccessLog(
        name="envoy.access_loggers.file",
        typed_config=packed(
            FileAccessLog(path=path, log_format=SubstitutionFormatString(json_format=line, omit_empty_values=True))
        ),
    )
