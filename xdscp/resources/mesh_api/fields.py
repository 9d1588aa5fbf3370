"""The types of the fields: durations, names, header names and values, paths, regular expressions, numbers.

Each refuses what Envoy would reject or misread, and says in words what is allowed. Bounds that are not Kubernetes'
or Envoy's own are stated beside the type.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import re2
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from xdscp.resources.core import Labels
from xdscp.resources.mesh_api.part import refusal


@dataclass(frozen=True, slots=True)
class Text:
    """A string by pattern (the whole of it), said in words by `allowed`; `check` refuses what a pattern cannot."""

    allowed: str
    pattern: str = ""
    longest: int = 253
    shortest: int = 1
    check: Callable[[str], str] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.checked, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string", "x-allowed": self.allowed, "maxLength": self.longest}
        if self.shortest:
            found["minLength"] = self.shortest
        if self.pattern:
            found["pattern"] = f"^{self.pattern}$"
        return found

    def checked(self, value: str) -> str:
        if not self.shortest <= len(value) <= self.longest:
            raise refusal(
                "must have {shortest} to {longest} characters, has {length}",
                shortest=self.shortest,
                longest=self.longest,
                length=len(value),
            )
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise refusal("must be {allowed}", allowed=self.allowed)
        return self.check(value) if self.check is not None else value


# -- durations -----------------------------------------------------------------------------------------------------------

_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = r"([0-9]{1,5}(h|m|s|ms)){1,4}"


@dataclass(frozen=True, slots=True)
class DurationText:
    """A GEP-2257 duration, from `shortest` to `longest`; `whole_seconds` where the kernel counts in seconds."""

    shortest: timedelta = timedelta(0)
    longest: timedelta = timedelta(hours=4 * 99_999)
    whole_seconds: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._duration,
            serialization=core_schema.plain_serializer_function_ser_schema(duration_text, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_DURATION}$", "maxLength": 32, "x-allowed": self._allowed()}

    def _allowed(self) -> str:
        bounds = f" from {duration_text(self.shortest)}" if self.shortest else ""
        if self.longest < timedelta(hours=99_999):
            bounds += f" to {duration_text(self.longest)}"
        unit = ", in whole seconds" if self.whole_seconds else ""
        return f"a duration such as 250ms, 1s500ms or 1h30m{bounds}{unit}"

    def _duration(self, value: Any) -> timedelta:
        if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
            raise refusal("must be {allowed}", allowed=self._allowed())
        parts = re.findall(r"([0-9]+)(ms|h|m|s)", value)
        found = timedelta(milliseconds=sum(int(count) * _UNITS[unit] for count, unit in parts))
        if not self.shortest <= found <= self.longest or (self.whole_seconds and found.microseconds):
            raise refusal("must be {allowed}", allowed=self._allowed())
        return found


def duration_text(value: timedelta) -> str:
    """A duration as GEP-2257 writes it."""
    rest = value // timedelta(milliseconds=1)
    written = ""
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        while count:  # a number has at most five digits
            written += f"{min(count, 99_999)}{unit}"
            count -= min(count, 99_999)
    return written or "0s"


Duration = Annotated[timedelta, DurationText()]
PositiveDuration = Annotated[timedelta, DurationText(shortest=timedelta(milliseconds=1))]
KernelSeconds = Annotated[timedelta, DurationText(timedelta(seconds=1), timedelta(seconds=32_767), whole_seconds=True)]
"""Linux refuses a TCP keepalive time or interval above 32767 s, and the connection with it."""


# -- numbers -------------------------------------------------------------------------------------------------------------

UINT32 = 2**32 - 1

PortNumber = Annotated[int, Field(strict=True, ge=1, le=65_535)]
Count = Annotated[int, Field(strict=True, ge=0, le=UINT32)]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=UINT32)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
WholePercent = Annotated[int, Field(strict=True, ge=0, le=100)]
Weight = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
"""Gateway API's bound."""
Flag = Annotated[bool, Field(strict=True)]


# -- names ---------------------------------------------------------------------------------------------------------------

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"

DnsLabel = Annotated[str, Text("a DNS label: lower case letters, digits and '-'", _LABEL, 63)]
PortName = Annotated[str, Text("a port's name: lower case letters, digits and '-'", _LABEL, 63)]
PartName = Annotated[
    str, Text("letters, digits, '-', '_' and '.', with a letter or digit at both ends", _LABEL_VALUE, 63)
]
"""Of a subset or route: becomes a part of resource names, so it holds no slash."""
Hostname = Annotated[str, Text("a DNS name in lower case, such as reviews.shop.example", rf"{_LABEL}(\.{_LABEL})*")]
GrpcService = Annotated[
    str, Text("a gRPC service's full name, such as shop.v1.Cart", r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
]
GrpcMethod = Annotated[str, Text("a gRPC method's name, such as AddItem", r"[A-Za-z_][A-Za-z0-9_]*")]


def _address(value: str) -> str:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        raise refusal("must be an IPv4 or IPv6 address") from None
    if getattr(found, "scope_id", None) is not None:
        raise refusal("must be an address without a zone")
    return str(found)


Address = Annotated[str, Text("an IPv4 or IPv6 address", longest=45, check=_address)]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Labels by name in a manifest; sorted pairs in the model, with Kubernetes' syntax."""

    shortest: int = 0

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._labels, serialization=core_schema.plain_serializer_function_ser_schema(dict, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        values = {"type": "string", "maxLength": 63, "pattern": f"^({_LABEL_VALUE})?$"}
        found: dict[str, Any] = {"type": "object", "additionalProperties": values, "x-allowed": "labels by name"}
        return {**found, "minProperties": self.shortest} if self.shortest else found

    def _labels(self, value: Any) -> Labels:
        if not isinstance(value, Mapping):
            raise refusal("must be labels by name, such as version: v1")
        if len(value) < self.shortest:
            raise refusal("must have at least {shortest} label", shortest=self.shortest)
        for name, content in value.items():
            prefix, slash, short = name.rpartition("/") if isinstance(name, str) else ("", "", "")
            domain = not slash or (re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", prefix) and len(prefix) <= 253)
            if not domain or not re.fullmatch(_LABEL_VALUE, short) or len(short) > 63:
                raise refusal(
                    "{name} is no label name: [<DNS name>/]<up to 63 letters, digits, '-', '_', '.'>", name=name
                )
            if not isinstance(content, str) or not re.fullmatch(f"({_LABEL_VALUE})?", content) or len(content) > 63:
                raise refusal(
                    "the value of {name} must be a string of up to 63 letters, digits, '-', '_', '.'", name=name
                )
        return tuple(sorted(value.items()))


LabelPairs = Annotated[Labels, LabelMap()]
SomeLabels = Annotated[Labels, LabelMap(shortest=1)]


# -- HTTP ----------------------------------------------------------------------------------------------------------------

_TOKEN = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"  # noqa: S105  # RFC 9110's word for what a name is made of
_VALUE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
LONGEST_HEADER_VALUE = 16_384
"""Envoy's bound in bytes, of the value as it is written to Envoy: with each `%` doubled."""

UNEDITABLE_HEADERS = frozenset(
    {
        *("connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Envoy refuses `host`; the others are of one hop and Envoy would pass on a message that its framing contradicts."""


def _edited(name: str) -> str:
    if name.lower() in UNEDITABLE_HEADERS:
        hint = "; to change the host use rewrite.hostname" if name.lower() == "host" else ""
        raise refusal(
            "{name} cannot be edited: it belongs to the connection, not to the request{hint}", name=name, hint=hint
        )
    return name.lower()


def _header_value(value: str) -> str:
    if len(value.encode()) + value.count("%") > LONGEST_HEADER_VALUE:
        raise refusal("must have at most {longest} bytes, each '%' counted twice", longest=LONGEST_HEADER_VALUE)
    return value


HeaderName = Annotated[
    str, Text("a header name: letters, digits and any of !#$%&'*+-.^_`|~", _TOKEN, 256, check=str.lower)
]
EditedHeaderName = Annotated[
    str, Text("a header name, not one of the connection's own (host, content-length, …)", _TOKEN, 256, check=_edited)
]
HeaderValue = Annotated[str, Text("text without control characters", _VALUE, LONGEST_HEADER_VALUE, check=_header_value)]
"""Literal text: `%` means itself."""


def _path(value: str) -> str:
    for bad in ("//", "/./", "/../", "%2f", "%2F", "?", "#"):
        if bad in value:
            raise refusal("must not hold {bad}: Envoy matches the normalized path without its query", bad=bad)
    if value.endswith(("/.", "/..")):
        raise refusal("must not end in /. or /..")
    return value


Path = Annotated[
    str, Text("a path that begins with / and holds no //, /./, /../, ? or #", r"/[\x21-\x7e]*", 1024, check=_path)
]
TargetPath = Annotated[str, Text("a path that begins with /, of printable ASCII", r"/[\x21-\x7e]*", 1024)]


# -- regular expressions -------------------------------------------------------------------------------------------------

LARGEST_PROGRAM = 1000
"""RE2 program size; a bootstrap of ours raises Envoy's limit of 100 to it."""

_QUIET = re2.Options()
_QUIET.log_errors = False


def compiled(pattern: str) -> Any:
    """The RE2 pattern; raises when it is none, or when its program is larger than Envoy is told to accept."""
    try:
        found = re2.compile(pattern, _QUIET)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise refusal("is no RE2 regular expression: {reason}", reason=reason) from None
    if found.programsize > LARGEST_PROGRAM:
        raise refusal(
            "is too complex: RE2 program of {size} instructions, allowed {largest}",
            size=found.programsize,
            largest=LARGEST_PROGRAM,
        )
    return found


def _pattern(value: str) -> str:
    compiled(value)
    return value


Regex = Annotated[str, Text("an RE2 regular expression of at most 1,000 instructions", longest=4096, check=_pattern)]
