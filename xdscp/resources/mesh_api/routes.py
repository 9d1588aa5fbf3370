"""A route of a TrafficPolicy: matches, and what is done with the request.

Place in the flow: part of `traffic_policy.TrafficPolicySpec`; `mesh.policy_routes` makes `mesh.routing.Route` of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from xdscp.resources.mesh_api.edits import Cors, DirectResponse, HeaderEdits, Redirect, Rewrite
from xdscp.resources.mesh_api.fields import (
    Count,
    DnsLabel,
    Duration,
    PartName,
    Percent,
    PortNumber,
    PositiveDuration,
    Weight,
)
from xdscp.resources.mesh_api.matches import Match
from xdscp.resources.mesh_api.part import Part, envoy, refusal

RetryCondition = Literal[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "envoy-ratelimited",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]

StatusCode = Annotated[int, Field(strict=True, ge=200, le=599)]


class BackendReference(Part):
    """A port of a service, or a subset of it."""

    name: DnsLabel | None = Field(None, description="The Service; left out: the one that the policy targets.")
    namespace: DnsLabel | None = Field(None, description="The Service's namespace; left out: the policy's.")
    port: PortNumber | None = Field(
        None, description="The Service's port; left out: the port that the request came for."
    )
    subset: PartName | None = Field(
        None, description="A subset that a TrafficPolicy of the Service defines; left out: all endpoints."
    )

    @model_validator(mode="after")
    def _namespace_of_a_name(self) -> Self:
        if self.namespace is not None and self.name is None:
            raise refusal("namespace needs name")
        return self


class Backend(BackendReference):
    """Where a share of the requests goes."""

    weight: Weight = Field(
        1,
        description="The share, relative to the sum of the weights; 0 gets nothing.",
        json_schema_extra=envoy("WeightedCluster.ClusterWeight.weight"),
    )
    request_headers: HeaderEdits = Field(
        default_factory=HeaderEdits, description="Edits of the headers of requests to this backend."
    )
    response_headers: HeaderEdits = Field(
        default_factory=HeaderEdits, description="Edits of the headers of responses of this backend."
    )


class Mirror(BackendReference):
    """Gets a copy of requests; its answers are thrown away."""

    percent: Percent = Field(
        100.0,
        description="How many of a hundred requests are copied.",
        json_schema_extra=envoy("RequestMirrorPolicy.runtime_fraction"),
    )


class Timeouts(Part):
    """Bounds of time; `0s` is none."""

    request: Duration | None = Field(
        None,
        description="The whole request with all retries; left out or `0s`: unbounded.",
        json_schema_extra=envoy("RouteAction.timeout"),
    )
    per_try: Duration | None = Field(
        None,
        description="Each try, where `retry` is given; at most `request`.",
        json_schema_extra=envoy("RetryPolicy.per_try_timeout"),
    )
    idle: Duration | None = Field(
        None,
        description="A stream on which nothing moves; left out: unbounded, at a gateway five minutes.",
        json_schema_extra=envoy("RouteAction.idle_timeout"),
    )

    @model_validator(mode="after")
    def _try_within_request(self) -> Self:
        if self.request and self.per_try and self.per_try > self.request:
            raise refusal("perTry must not be longer than request")
        return self


class RetryBudget(Part):
    """A bound on the retries to a destination, so that they cannot multiply an overload.

    It holds for a destination as a whole: of several routes to it, the largest budget counts.
    """

    percent: Percent = Field(
        20.0,
        description="Retries at a time, of a hundred active requests.",
        json_schema_extra=envoy("CircuitBreakers.Thresholds.retry_budget.budget_percent"),
    )
    min_retries: Count = Field(
        10,
        description="Retries at a time that are always allowed.",
        json_schema_extra=envoy("CircuitBreakers.Thresholds.retry_budget.min_retry_concurrency"),
    )


class Retry(Part):
    """Tries again, on another endpoint where there is one."""

    attempts: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        1,
        description="Retries after the first try; 0: none, also where a MeshPolicy gives a default.",
        json_schema_extra=envoy("RetryPolicy.num_retries"),
    )
    retry_on: tuple[RetryCondition, ...] = Field(
        ("connect-failure", "refused-stream", "reset-before-request"),
        min_length=1,
        description="What is tried again, in Envoy's words for HTTP and gRPC. The default repeats only what no application "
        "has seen. A file may also say `on`, which YAML tools such as kubectl read as a boolean.",
        json_schema_extra=envoy("RetryPolicy.retry_on"),
    )
    codes: tuple[StatusCode, ...] = Field(
        (),
        max_length=64,
        description="HTTP statuses that are tried again too.",
        json_schema_extra=envoy("RetryPolicy.retriable_status_codes"),
    )
    backoff: PositiveDuration | None = Field(
        None,
        description="Base of the exponential, jittered pause between tries; left out: 25ms.",
        json_schema_extra=envoy("RetryPolicy.retry_back_off.base_interval"),
    )
    backoff_max: PositiveDuration | None = Field(
        None,
        description="Longest pause; left out: ten times `backoff`.",
        json_schema_extra=envoy("RetryPolicy.retry_back_off.max_interval"),
    )
    budget: RetryBudget | None = Field(
        None,
        description="Bounds the retries to a destination by its active requests; left out: by `circuitBreaker.maxRetries`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _on(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "retryOn" not in given:
            for name in ("on", True):
                if name in given:
                    return {("retryOn" if key is name or key == name else key): value for key, value in given.items()}
        return given

    @model_validator(mode="after")
    def _backoffs_in_order(self) -> Self:
        if self.backoff_max is not None and self.backoff is None:
            raise refusal("backoffMax needs backoff")
        if self.backoff and self.backoff_max and self.backoff_max < self.backoff:
            raise refusal("backoffMax must not be shorter than backoff")
        return self


class Delay(Part):
    """Holds a share of the requests back."""

    duration: PositiveDuration = Field(description="How long.", json_schema_extra=envoy("HTTPFault.delay.fixed_delay"))
    percent: Percent = Field(
        100.0, description="How many of a hundred requests.", json_schema_extra=envoy("HTTPFault.delay.percentage")
    )


class Abort(Part):
    """Fails a share of the requests in the proxy."""

    http_status: StatusCode | None = Field(
        None, description="The HTTP status given.", json_schema_extra=envoy("HTTPFault.abort.http_status")
    )
    grpc_status: Annotated[int, Field(strict=True, ge=1, le=16)] | None = Field(
        None,
        description="The gRPC status given, by number, e.g. 14 for unavailable.",
        json_schema_extra=envoy("HTTPFault.abort.grpc_status"),
    )
    percent: Percent = Field(
        100.0, description="How many of a hundred requests.", json_schema_extra=envoy("HTTPFault.abort.percentage")
    )

    @model_validator(mode="after")
    def _one_status(self) -> Self:
        if (self.http_status is None) == (self.grpc_status is None):
            raise refusal("needs exactly one of httpStatus and grpcStatus")
        return self


class Fault(Part):
    """Faults put in on purpose; a delayed request may be aborted too."""

    delay: Delay | None = Field(None, description="Holds requests back.")
    abort: Abort | None = Field(None, description="Fails requests.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.delay is None and self.abort is None:
            raise refusal("needs delay or abort")
        return self


FORWARDING = ("backends", "rewrite", "mirrors", "timeouts", "retry")
"""Parts that mean something only where the request is sent on."""


class Route(Part):
    """Requests that match are sent to `backends`, redirected, or answered directly."""

    name: PartName | None = Field(
        None, description="Shown in logs and metrics, unique in the policy; left out: the position in the list."
    )
    matches: tuple[Match, ...] = Field(
        (),
        max_length=64,
        description="Any of these must match; none given: every request. On a TCP port only a route without matches counts.",
    )
    backends: tuple[Backend, ...] = Field(
        (),
        max_length=128,
        description="Where requests go, by weight; none given: to the service itself. A backend that does not exist "
        "loses its share to the others; where none exists the answer is 500.",
        json_schema_extra=envoy("RouteAction.cluster, weighted_clusters"),
    )
    request_headers: HeaderEdits = Field(
        default_factory=HeaderEdits,
        description="Edits of the request's headers.",
        json_schema_extra=envoy("Route.request_headers_to_add, request_headers_to_remove"),
    )
    response_headers: HeaderEdits = Field(
        default_factory=HeaderEdits,
        description="Edits of the response's headers.",
        json_schema_extra=envoy("Route.response_headers_to_add, response_headers_to_remove"),
    )
    rewrite: Rewrite | None = Field(None, description="Changes host or path on the way to the backend.")
    redirect: Redirect | None = Field(
        None, description="Answers with a redirect, instead of backends.", json_schema_extra=envoy("Route.redirect")
    )
    direct_response: DirectResponse | None = Field(
        None, description="Answers in the proxy, instead of backends.", json_schema_extra=envoy("Route.direct_response")
    )
    fault: Fault | None = Field(
        None, description="Faults put in on purpose.", json_schema_extra=envoy("HTTPFault in typed_per_filter_config")
    )
    mirrors: tuple[Mirror, ...] = Field(
        (),
        max_length=16,
        description="Where copies of requests go.",
        json_schema_extra=envoy("RouteAction.request_mirror_policies"),
    )
    cors: Cors | None = Field(
        None,
        description="Cross-origin requests of browsers.",
        json_schema_extra=envoy("CorsPolicy in typed_per_filter_config"),
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Bounds of time.")
    retry: Retry | None = Field(
        None,
        description="Tries again; left out: as the MeshPolicy says.",
        json_schema_extra=envoy("RouteAction.retry_policy"),
    )

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        answers = [name for name in ("redirect", "direct_response") if getattr(self, name) is not None]
        if len(answers) == 2:
            raise refusal("redirect and directResponse exclude each other")
        if answers:
            extra = [name for name in FORWARDING if name in self.model_fields_set and getattr(self, name)]
            if extra:
                answer = "redirect" if self.redirect else "directResponse"
                raise refusal("{extra} means nothing beside {answer}", extra=" and ".join(extra), answer=answer)
        return self

    @model_validator(mode="after")
    def _weights_sum(self) -> Self:
        if self.backends and not any(backend.weight for backend in self.backends):
            raise refusal("backends need a weight above 0")
        return self

    @model_validator(mode="after")
    def _prefix_to_replace(self) -> Self:
        paths = [self.rewrite.path if self.rewrite else None, self.redirect.path if self.redirect else None]
        if any(path is not None and path.type == "ReplacePrefixMatch" for path in paths):
            for match in self.matches:
                if match.grpc is not None or (match.path is not None and match.path.type != "PathPrefix"):
                    raise refusal("ReplacePrefixMatch needs every match's path to be of type PathPrefix")
        return self
