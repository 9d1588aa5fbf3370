"""What a request is matched by: path, headers, query parameters, method; the words are Gateway API's.

Place in the flow: part of `http.Route`; `mesh.policy_routes` makes `mesh.routing.RequestMatch` of it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.fields import (
    Flag,
    GrpcMethod,
    GrpcService,
    HeaderName,
    HeaderValue,
    Path,
    Regex,
    Text,
    compiled,
)
from xdscp.resources.mesh_api.part import Part, envoy, refusal

StringMatchType = Literal["Exact", "Prefix", "Suffix", "RegularExpression", "Present"]

_ANY = Annotated[str, Text("text", longest=4096)]


class PathMatch(Part):
    """A match of the path, without the query string."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = Field(
        "PathPrefix",
        description="`PathPrefix` matches whole path elements: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`. "
        "`RegularExpression` must match the whole path.",
    )
    value: _ANY = Field(
        "/",
        description="The path, the prefix, or the RE2 regular expression. A path begins with / and holds no //, /./, "
        "/../, ? or #.",
        json_schema_extra=envoy("RouteMatch.path, path_separated_prefix, safe_regex"),
    )

    @model_validator(mode="after")
    def _value_fits_type(self) -> Self:
        _checked(Regex if self.type == "RegularExpression" else Path, self.value)
        return self


class _ValueMatch(Part):
    type: StringMatchType = Field(
        "Exact", description="How `value` is compared; `Present` asks only that there is one, and takes no `value`."
    )
    value: HeaderValue | None = Field(
        None, description="The text compared, or the RE2 regular expression that must match the whole value."
    )

    @model_validator(mode="after")
    def _value_fits_type(self) -> Self:
        if (self.value is None) != (self.type == "Present"):
            raise refusal("type {type} {need} a value", type=self.type, need="takes no" if self.value else "needs")
        if self.type == "RegularExpression" and self.value is not None:
            compiled(self.value)
        return self


class HeaderMatch(_ValueMatch):
    """A match of a request header. A header that comes more than once is compared as its values joined by commas."""

    name: HeaderName = Field(
        description="The header's name, in any case.", json_schema_extra=envoy("RouteMatch.headers")
    )
    invert: Flag = Field(
        default=False, description="Match when the condition does not hold; a missing header does not hold it."
    )


class QueryParameterMatch(_ValueMatch):
    """A match of a query parameter; of one that comes more than once the first counts."""

    name: Annotated[str, Text("a query parameter's name", r"[\x21-\x7e]+", 256)] = Field(
        description="The parameter's name; case matters.", json_schema_extra=envoy("RouteMatch.query_parameters")
    )


class GrpcMatch(Part):
    """A match of a gRPC call. Without `service` and `method` it matches every gRPC call."""

    type: Literal["Exact", "RegularExpression"] = Field("Exact", description="How `service` and `method` are compared.")
    service: Annotated[str, Text("a gRPC service", longest=1024)] | None = Field(
        None,
        description="Full name of the gRPC service, e.g. `shop.v1.Cart`, or a regular expression; left out: any.",
        json_schema_extra=envoy("RouteMatch.grpc and the path"),
    )
    method: Annotated[str, Text("a gRPC method", longest=1024)] | None = Field(
        None, description="Name of the method, e.g. `AddItem`, or a regular expression; left out: any."
    )

    @model_validator(mode="after")
    def _values_fit_type(self) -> Self:
        exact = self.type == "Exact"
        if self.service is not None:
            _checked(GrpcService if exact else Regex, self.service)
        if self.method is not None:
            _checked(GrpcMethod if exact else Regex, self.method)
        compiled(self.path_pattern)
        return self

    @property
    def path_pattern(self) -> str:
        """The regular expression of the paths `/<service>/<method>` that match; for exact names one of dots escaped."""
        service = self.service or "[^/]+"
        if self.type == "Exact" and self.service is not None:
            service = self.service.replace(".", r"\.")
        return f"/(?:{service})/(?:{self.method or '[^/]+'})"


class Match(Part):
    """One condition of a route: every part given must hold."""

    path: PathMatch | None = Field(None, description="The path; left out: any.")
    headers: tuple[HeaderMatch, ...] = Field((), max_length=64, description="All of these headers must match.")
    query_params: tuple[QueryParameterMatch, ...] = Field(
        (), max_length=64, description="All of these query parameters must match."
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] | None = Field(
        None, description="The HTTP method; left out: any.", json_schema_extra=envoy("RouteMatch.headers :method")
    )
    grpc: GrpcMatch | None = Field(None, description="A gRPC call; instead of `path` and `method`.")

    @model_validator(mode="after")
    def _grpc_stands_alone(self) -> Self:
        if self.grpc is not None and (self.path is not None or self.method is not None):
            raise refusal("grpc stands instead of path and method: give only one of them")
        return self


def _checked(kind: object, value: str) -> None:
    """Raises what the annotated type's own check raises for the value."""
    metadata = kind.__metadata__[0]  # type: ignore[attr-defined]  # Annotated[str, Text(…)]
    assert isinstance(metadata, Text)
    metadata.checked(value)
