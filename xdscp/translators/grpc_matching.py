"""Request matches for gRPC clients: paths are `/service/method`, there is one method, and no query.

A client ignores a route whose match it does not understand, so that a later route would take its requests. Hence each
match is said in words that it knows, or is known never to match and left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Final

from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher, RouteMatch

from xdscp.mesh.routing import PathMatch, RequestMatch, ValueMatch
from xdscp.translators import matching

_METHOD: Final = "POST"


def requests(match: RequestMatch) -> Iterator[RouteMatch]:
    """The matches that together say what `match` does; none when no gRPC request can match."""
    if match.method not in ("", _METHOD) or any(not _is_absent(each) for each in match.query):
        return
    for headers in itertools.product(*map(_alternatives, match.headers)):
        yield _with_path(RouteMatch(headers=list(headers)), match.path)


def _is_absent(query: ValueMatch) -> bool:
    """Whether the match holds for a request that has no query."""
    return query.invert


def _alternatives(header: ValueMatch) -> tuple[HeaderMatcher, ...]:
    """A negated match holds without the header too, which gRPC says by a match of its own."""
    if header.type == "Present" or not header.invert:
        return (matching.header(header),)
    there = HeaderMatcher(name=header.name, string_match=matching.string(header), invert_match=True)
    absent = HeaderMatcher(name=header.name, present_match=True, invert_match=True)
    return (there, absent)


def _with_path(found: RouteMatch, path: PathMatch) -> RouteMatch:
    elements = matching.prefix_elements(path.value)
    match path.type:
        case "Exact":
            found.path = path.value
        case "RegularExpression":
            found.safe_regex = matching.regex(path.value)
        case "PathPrefix" if not elements:
            found.prefix = ""
        case "PathPrefix" if elements.count("/") == 1:
            found.prefix = elements + "/"
        case "PathPrefix":
            found.safe_regex = matching.regex(f"{re.escape(elements)}(/.*)?")
    return found
