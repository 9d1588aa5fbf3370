"""What a route does, as Envoy's actions: forward, redirect, or answer directly."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    RedirectAction,
    RedirectActionRedirectResponseCode,
    RouteAction,
    RouteActionHashPolicy,
    RouteActionHashPolicyConnectionProperties,
    RouteActionHashPolicyCookie,
    RouteActionHashPolicyHeader,
    RouteActionHashPolicyQueryParameter,
    RouteActionRequestMirrorPolicy,
    WeightedCluster,
    WeightedClusterClusterWeight,
)

from xdscp.mesh.destination import Hash
from xdscp.mesh.routing import Backend, DirectResponse, Forward, HeaderEdits, Mirror, PathMatch, Redirect, Rewrite
from xdscp.translators import headers, rewriting
from xdscp.translators.construct import unchecked
from xdscp.translators.durations import NONE
from xdscp.translators.fractions import runtime_fraction
from xdscp.translators.retry import retry_policy
from xdscp.translators.rewriting import PathRewrite

_REDIRECT_CODES: Final = {
    301: RedirectActionRedirectResponseCode.MOVED_PERMANENTLY,
    302: RedirectActionRedirectResponseCode.FOUND,
    303: RedirectActionRedirectResponseCode.SEE_OTHER,
    307: RedirectActionRedirectResponseCode.TEMPORARY_REDIRECT,
    308: RedirectActionRedirectResponseCode.PERMANENT_REDIRECT,
}
NO_EDITS: Final = HeaderEdits()

_route_action = unchecked(RouteAction)


def weighted(backends: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """The backends that can be chosen; Envoy refuses a sum of zero."""
    return tuple(backend for backend in backends if backend.weight > 0)


def edits_headers(backends: tuple[Backend, ...]) -> bool:
    """Whether any backend has header edits of its own."""
    return any(backend.request_headers != NO_EDITS or backend.response_headers != NO_EDITS for backend in backends)


def with_route_edits(backend: Backend, request: HeaderEdits, response: HeaderEdits) -> Backend:
    """The backend with its route's edits before its own: Envoy by itself lets the route overrule the backend."""
    return replace(
        backend,
        request_headers=headers.merged(request, backend.request_headers),
        response_headers=headers.merged(response, backend.response_headers),
    )


def forward(action: Forward, path: PathMatch) -> RouteAction:
    """Send on; at least one backend has a weight. `path` is what the request was matched by, for prefix rewrites."""
    found = _route_action(
        # Without `max_stream_duration`, beside which Envoy's router ignores the timeout: a gRPC client ends its stream
        # by itself at its deadline, and retries and the upstream stop with it.
        timeout=action.timeout or NONE,
        idle_timeout=action.idle_timeout,
        retry_policy=None if action.retry is None else retry_policy(action.retry),
        request_mirror_policies=[mirror_policy(mirror) for mirror in action.mirrors],
        hash_policy=[hash_policy(each) for each in action.hashes],
    )
    _choose(found, weighted(action.backends))
    if action.rewrite is not None:
        _rewrite(found, action.rewrite, path)
    return found


def _choose(found: RouteAction, backends: tuple[Backend, ...]) -> None:
    if len(backends) == 1 and not edits_headers(backends):
        found.cluster = backends[0].destination
    else:
        found.weighted_clusters = WeightedCluster(clusters=[_cluster_weight(backend) for backend in backends])


def _cluster_weight(backend: Backend) -> WeightedClusterClusterWeight:
    return WeightedClusterClusterWeight(
        name=backend.destination,
        weight=backend.weight,
        request_headers_to_add=headers.options(backend.request_headers),
        request_headers_to_remove=list(backend.request_headers.remove),
        response_headers_to_add=headers.options(backend.response_headers),
        response_headers_to_remove=list(backend.response_headers.remove),
    )


def _rewrite(found: RouteAction, rewrite: Rewrite, path: PathMatch) -> None:
    if rewrite.host:
        found.host_rewrite_literal = rewrite.host
    if rewrite.path_regex:
        found.regex_rewrite = rewriting.substitution(rewrite.path_regex, rewrite.path_substitution)
        return
    new = path_rewrite(path, rewrite.path_full, rewrite.path_prefix)
    found.prefix_rewrite = new.prefix
    found.regex_rewrite = new.regex


def path_rewrite(path: PathMatch, full: str | None, prefix: str | None) -> PathRewrite:
    """The rewrite that a policy asks for by a full path or by a replaced prefix, at most one of the two."""
    if full is not None:
        return rewriting.full(full)
    if prefix is not None:
        return rewriting.prefix(path, prefix)
    return PathRewrite()


def mirror_policy(mirror: Mirror) -> RouteActionRequestMirrorPolicy:
    """A copy of a share of the requests; the host stays as it was, where Envoy would append `-shadow`."""
    return RouteActionRequestMirrorPolicy(
        cluster=mirror.destination,
        runtime_fraction=runtime_fraction(mirror.percent),
        disable_shadow_host_suffix_append=True,
    )


def hash_policy(hash: Hash) -> RouteActionHashPolicy:
    """One part of what a consistent hash is made of."""
    found = RouteActionHashPolicy(terminal=hash.terminal)
    match hash.source:
        case "header":
            found.header = RouteActionHashPolicyHeader(header_name=hash.name)
        case "cookie":
            # Without a time to live Envoy only reads the cookie; zero makes it set one for the session.
            found.cookie = RouteActionHashPolicyCookie(name=hash.name, ttl=hash.ttl, path=hash.path)
        case "sourceIP":
            found.connection_properties = RouteActionHashPolicyConnectionProperties(source_ip=True)
        case "query":
            found.query_parameter = RouteActionHashPolicyQueryParameter(name=hash.name)
    return found


def redirect(action: Redirect, path: PathMatch) -> RedirectAction:
    """Answer with another location; what the policy leaves out is taken from the request."""
    new = path_rewrite(path, action.path_full, action.path_prefix)
    found = RedirectAction(
        host_redirect=action.host,
        port_redirect=action.port or 0,
        response_code=_REDIRECT_CODES[action.code],
    )
    if action.scheme:
        found.scheme_redirect = action.scheme
    if new.prefix:
        found.prefix_rewrite = new.prefix
    elif new.regex is not None:
        found.regex_rewrite = new.regex
    return found


def direct_response(action: DirectResponse) -> DirectResponseAction:
    """Answer here; no upstream is asked."""
    return DirectResponseAction(
        status=action.code,
        body=DataSource(inline_string=action.body) if action.body else None,
    )
