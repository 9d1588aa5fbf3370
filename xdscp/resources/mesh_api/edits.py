"""What a route does to a request or response besides sending it: header edits, rewrite, redirect, direct response, CORS.

Place in the flow: parts of `http.Route`; `mesh.policy_routes` makes values of `mesh.routing` of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import (
    Duration,
    EditedHeaderName,
    Flag,
    HeaderName,
    HeaderValue,
    Hostname,
    PortNumber,
    Regex,
    TargetPath,
    Text,
    compiled,
)
from xdscp.resources.mesh_api.part import Part, envoy, refusal


class Header(Part):
    """A header and its value."""

    name: EditedHeaderName = Field(description="The header's name; not one that belongs to the connection.")
    value: HeaderValue = Field(description="The value, literally: `%` means itself.")


class HeaderEdits(Part):
    """Edits of headers; those of `remove` are done first."""

    add: tuple[Header, ...] = Field(
        (),
        max_length=64,
        description="Values added beside those that are there.",
        json_schema_extra=envoy("headers_to_add, APPEND_IF_EXISTS_OR_ADD"),
    )
    set: tuple[Header, ...] = Field(
        (),
        max_length=64,
        description="Values that replace those that are there.",
        json_schema_extra=envoy("headers_to_add, OVERWRITE_IF_EXISTS_OR_ADD"),
    )
    remove: tuple[EditedHeaderName, ...] = Field(
        (), max_length=64, description="Names of headers taken away.", json_schema_extra=envoy("headers_to_remove")
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for where, names in (("set", tuple(header.name for header in self.set)), ("remove", self.remove)):
            for name in names:
                if names.count(name) > 1:
                    raise refusal("{where} names the header {name} twice", where=where, name=name)
        return self


class RewritePath(Part):
    """The path that the backend sees."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch", "RegularExpression"] = Field(
        description="Replace the whole path, the prefix that a `PathPrefix` match found, or what a regular expression "
        "matches. The query string stays.",
        json_schema_extra=envoy("RouteAction.prefix_rewrite, regex_rewrite"),
    )
    replace_full_path: TargetPath | None = Field(None, description="For `ReplaceFullPath`: the new path.")
    replace_prefix_match: TargetPath | None = Field(None, description="For `ReplacePrefixMatch`: the new prefix.")
    pattern: Regex | None = Field(
        None, description="For `RegularExpression`: what is replaced, everywhere in the path."
    )
    substitution: Annotated[str, Text("a substitution", r"[\x21-\x7e]*", 1024, shortest=0)] | None = Field(
        None, description=r"For `RegularExpression`: the replacement; `\1` is the first group, `\\` a backslash."
    )

    @model_validator(mode="after")
    def _fields_fit_type(self) -> Self:
        given = {name for name in _PATH_FIELDS if getattr(self, name) is not None}
        wanted = _FIELDS_OF_TYPE[self.type]
        if given != wanted:
            raise refusal("type {type} takes exactly {fields}", type=self.type, fields=_written(wanted))
        if self.pattern is not None and self.substitution is not None:
            groups = compiled(self.pattern).groups
            for reference in re.findall(r"\\(.?)", self.substitution):
                if reference != "\\" and not (reference.isdigit() and int(reference) <= groups):
                    raise refusal(
                        "substitution refers to \\{reference}, but pattern has {groups} groups",
                        reference=reference,
                        groups=groups,
                    )
        return self


_FIELDS_OF_TYPE = {
    "ReplaceFullPath": {"replace_full_path"},
    "ReplacePrefixMatch": {"replace_prefix_match"},
    "RegularExpression": {"pattern", "substitution"},
}
_PATH_FIELDS = sorted(set().union(*_FIELDS_OF_TYPE.values()))


def _written(names: set[str]) -> str:
    aliases = {name: field.alias or name for name, field in RewritePath.model_fields.items()}
    return " and ".join(sorted(aliases[name] for name in names))


class Rewrite(Part):
    """Changes the request before it is sent to the backend."""

    hostname: Hostname | None = Field(
        None, description="The host that the backend sees.", json_schema_extra=envoy("RouteAction.host_rewrite_literal")
    )
    path: RewritePath | None = Field(None, description="The path that the backend sees.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.hostname is None and self.path is None:
            raise refusal("needs hostname or path")
        return self


class RedirectPath(Part):
    """The path that the client is sent to."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"] = Field(
        description="Replace the whole path, or the prefix that a `PathPrefix` match found."
    )
    replace_full_path: TargetPath | None = Field(
        None,
        description="For `ReplaceFullPath`: the new path.",
        json_schema_extra=envoy("RedirectAction.path_redirect"),
    )
    replace_prefix_match: TargetPath | None = Field(
        None,
        description="For `ReplacePrefixMatch`: the new prefix.",
        json_schema_extra=envoy("RedirectAction.prefix_rewrite"),
    )

    @model_validator(mode="after")
    def _fields_fit_type(self) -> Self:
        if (self.replace_full_path is not None, self.replace_prefix_match is not None) != (
            self.type == "ReplaceFullPath",
            self.type == "ReplacePrefixMatch",
        ):
            wanted = "replaceFullPath" if self.type == "ReplaceFullPath" else "replacePrefixMatch"
            raise refusal("type {type} takes exactly {wanted}", type=self.type, wanted=wanted)
        return self


class Redirect(Part):
    """Answers with a redirect; what is left out stays as the request had it."""

    scheme: Literal["http", "https"] | None = Field(
        None, description="The new scheme.", json_schema_extra=envoy("RedirectAction.scheme_redirect")
    )
    hostname: Hostname | None = Field(
        None, description="The new host.", json_schema_extra=envoy("RedirectAction.host_redirect")
    )
    port: PortNumber | None = Field(
        None, description="The new port.", json_schema_extra=envoy("RedirectAction.port_redirect")
    )
    path: RedirectPath | None = Field(None, description="The new path.")
    status_code: Literal[301, 302, 303, 307, 308] = Field(
        302, description="The status.", json_schema_extra=envoy("RedirectAction.response_code")
    )

    @model_validator(mode="after")
    def _somewhere_else(self) -> Self:
        if self.scheme is None and self.hostname is None and self.port is None and self.path is None:
            raise refusal("needs scheme, hostname, port or path: else the client is sent where it came from")
        return self


def _body(value: str) -> str:
    if len(value.encode()) > LONGEST_BODY:
        raise refusal(
            "must have at most {longest} bytes, has {length}", longest=LONGEST_BODY, length=len(value.encode())
        )
    return value


LONGEST_BODY = 4096
"""Envoy's bound, in bytes."""


class DirectResponse(Part):
    """Answers in the proxy; no backend is asked."""

    status: Annotated[int, Field(strict=True, ge=200, le=599)] = Field(
        description="The status.", json_schema_extra=envoy("DirectResponseAction.status")
    )
    body: Annotated[str, Text("text of at most 4,096 bytes", longest=LONGEST_BODY, shortest=0, check=_body)] = Field(
        "", description="The body, as plain text.", json_schema_extra=envoy("DirectResponseAction.body")
    )


def _origin(value: str) -> str:
    if value == "*":
        return value
    parts = urlsplit(value)
    host = (parts.hostname or "").removeprefix("*.")
    try:
        port = parts.port
    except ValueError:
        port = 0
    plain = f"{parts.scheme}://{'*.' if (parts.hostname or '').startswith('*.') else ''}{host}" + (
        f":{port}" if port else ""
    )
    if plain != value or port == 0 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", host):
        raise refusal("must be an origin such as https://shop.example, https://*.shop.example or *")
    return value


Origin = Annotated[
    str, Text("<scheme>://<host>[:<port>], where the host may begin with *., or *", r"[\x21-\x7e]+", 253, check=_origin)
]
CorsMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "*"]


class Cors(Part):
    """Answers the preflight requests of browsers, and marks responses for them."""

    allow_origins: tuple[Origin, ...] = Field(
        min_length=1,
        max_length=64,
        description="Origins that may read responses, e.g. `https://shop.example`, `https://*.shop.example`, or `*`.",
        json_schema_extra=envoy("CorsPolicy.allow_origin_string_match"),
    )
    allow_methods: tuple[CorsMethod, ...] = Field(
        (), description="Methods allowed.", json_schema_extra=envoy("CorsPolicy.allow_methods")
    )
    allow_headers: tuple[HeaderName, ...] = Field(
        (), max_length=64, description="Request headers allowed.", json_schema_extra=envoy("CorsPolicy.allow_headers")
    )
    expose_headers: tuple[HeaderName, ...] = Field(
        (),
        max_length=64,
        description="Response headers that pages see.",
        json_schema_extra=envoy("CorsPolicy.expose_headers"),
    )
    max_age: Duration | None = Field(
        None, description="How long a browser may keep the answer.", json_schema_extra=envoy("CorsPolicy.max_age")
    )
    allow_credentials: Flag = Field(
        default=False,
        description="Whether cookies are allowed.",
        json_schema_extra=envoy("CorsPolicy.allow_credentials"),
    )
