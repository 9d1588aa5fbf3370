"""Path rewrites: what to do to a path so that the result is what Gateway API's table for prefix replacement says.

Envoy replaces the matched characters and knows nothing of path elements, so a plain replacement gives `//bar` or
`/foobar` where the prefix or its replacement is the root. Such cases become a regular expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from envoy_data_plane.envoy.type.matcher.v3 import RegexMatchAndSubstitute

from xdscp.mesh.routing import PathMatch
from xdscp.translators.matching import prefix_elements, regex

_WHOLE = "^.*$"


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """Envoy's `prefix_rewrite` or `regex_rewrite`; neither: the path stays."""

    prefix: str = ""
    regex: RegexMatchAndSubstitute | None = None


def full(path: str) -> PathRewrite:
    """The whole path, not the query, becomes `path`."""
    return PathRewrite(regex=substitution(_WHOLE, _escaped(path)))


def prefix(matched: PathMatch, replacement: str) -> PathRewrite:
    """The matched prefix becomes `replacement`; a match that is no prefix is replaced as a whole."""
    new = prefix_elements(replacement)
    if matched.type != "PathPrefix":
        return full(new or "/")
    old = prefix_elements(matched.value)
    match bool(old), bool(new):
        case True, True:
            return PathRewrite(prefix=new)
        case False, True:
            return PathRewrite(prefix=new + "/")
        case True, False:
            return PathRewrite(regex=substitution(f"^{_quoted(old)}/*", "/"))
    return PathRewrite()


def substitution(pattern: str, replacement: str) -> RegexMatchAndSubstitute:
    """All matches of an RE2 `pattern` become `replacement`, in which a backslash and a digit stand for a group."""
    return RegexMatchAndSubstitute(pattern=regex(pattern), substitution=replacement)


def _quoted(text: str) -> str:
    """As a regular expression; Python's quoting of ASCII is RE2's too, other characters stand for themselves."""
    return re.escape(text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\")
