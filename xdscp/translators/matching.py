"""Matches of the model as Envoy's: text, headers, query parameters, paths.

Regular expressions are RE2 and match the whole text, in the model as in Envoy.
"""

from __future__ import annotations

from collections.abc import Callable

from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    QueryParameterMatcher,
    RouteMatch,
    RouteMatchGrpcRouteMatchOptions,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

from xdscp.mesh.routing import PathMatch, RequestMatch, ValueMatch
from xdscp.translators.construct import unchecked

_route_match = unchecked(RouteMatch)

_STRINGS: dict[str, Callable[[str], StringMatcher]] = {
    "Exact": lambda value: StringMatcher(exact=value),
    "Prefix": lambda value: StringMatcher(prefix=value),
    "Suffix": lambda value: StringMatcher(suffix=value),
    "RegularExpression": lambda value: StringMatcher(safe_regex=regex(value)),
}


def regex(pattern: str) -> RegexMatcher:
    """The engine is left out: RE2 is Envoy's only one and the field that names it is deprecated."""
    return RegexMatcher(regex=pattern)


def string(match: ValueMatch) -> StringMatcher:
    """The text of `match`; not for `Present`."""
    return _STRINGS[match.type](match.value)


def header(match: ValueMatch) -> HeaderMatcher:
    """A header's match; negated, it matches a request without the header too, which Envoy by itself would not."""
    if match.type == "Present":
        return HeaderMatcher(name=match.name, present_match=True, invert_match=match.invert)
    return HeaderMatcher(
        name=match.name,
        string_match=string(match),
        invert_match=match.invert,
        treat_missing_header_as_empty=match.invert,
    )


def query(match: ValueMatch) -> QueryParameterMatcher:
    """A query parameter's match. Raises ValueError for a negated text match, which Envoy cannot express."""
    if match.type == "Present":
        return QueryParameterMatcher(name=match.name, present_match=not match.invert)
    if match.invert:
        raise ValueError(f"query parameter {match.name!r}: only Present can be negated")
    return QueryParameterMatcher(name=match.name, string_match=string(match))


def method(name: str) -> HeaderMatcher:
    return HeaderMatcher(name=":method", string_match=StringMatcher(exact=name))


def prefix_elements(value: str) -> str:
    """A path prefix without its trailing slashes: `/foo/` and `/foo` are the same prefix; empty for the root."""
    return value.rstrip("/")


def request(match: RequestMatch) -> RouteMatch:
    """A request's match; all parts must match."""
    conditions = [header(each) for each in match.headers]
    if match.method:
        conditions.append(method(match.method))
    return _with_path(
        _route_match(
            headers=conditions,
            query_parameters=[query(each) for each in match.query],
            grpc=RouteMatchGrpcRouteMatchOptions() if match.grpc else None,
        ),
        match.path,
    )


def _with_path(found: RouteMatch, path: PathMatch) -> RouteMatch:
    match path.type:
        case "Exact":
            found.path = path.value
        case "RegularExpression":
            found.safe_regex = regex(path.value)
        case "PathPrefix" if elements := prefix_elements(path.value):
            found.path_separated_prefix = elements
        case "PathPrefix":
            # Envoy's path_separated_prefix cannot be the root.
            found.prefix = "/"
    return found
