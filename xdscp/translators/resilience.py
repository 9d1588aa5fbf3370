"""Circuit breakers and outlier detection as Envoy's, so that exactly what a policy says happens.

Envoy's own defaults are in the way of that: limits that nobody asked for (1,024 connections and requests, 3 retries at
once), and detectors that only count (`enforcing_…` of zero) or that run unasked (success rate).
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    CircuitBreakersThresholdsRetryBudget,
)
from envoy_data_plane.envoy.config.cluster.v3 import OutlierDetection as EnvoyOutlierDetection
from envoy_data_plane.envoy.type.v3 import Percent

from xdscp.mesh.destination import CircuitBreaker, OutlierDetection

UNLIMITED: Final = 2**32 - 1

RETRY_BUDGET_PERCENT: Final = 20.0
"""Of the active requests may be retries, where a policy says nothing: retries help against a failing instance and
do not multiply the load of a failing service."""
RETRY_BUDGET_MINIMUM: Final = 10

_BASE_EJECTION: Final = timedelta(seconds=30)
"""Envoy's, where a policy names none."""

_ALWAYS: Final = 100
_NEVER: Final = 0


@lru_cache(maxsize=1024)
def circuit_breakers(breaker: CircuitBreaker) -> CircuitBreakers:
    """What is not limited by the policy is not limited; retries are limited by a number, or else by a budget."""
    return CircuitBreakers(
        thresholds=[
            CircuitBreakersThresholds(
                max_connections=_limit(breaker.max_connections),
                max_pending_requests=_limit(breaker.max_pending_requests),
                max_requests=_limit(breaker.max_requests),
                max_retries=breaker.max_retries,
                retry_budget=_retry_budget(breaker),
            )
        ]
    )


def _limit(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit


def _retry_budget(breaker: CircuitBreaker) -> CircuitBreakersThresholdsRetryBudget | None:
    percent, minimum = breaker.retry_budget_percent, breaker.retry_budget_minimum
    if breaker.max_retries is not None and percent is None and minimum is None:
        return None  # a budget would make Envoy ignore the number
    return CircuitBreakersThresholdsRetryBudget(
        budget_percent=Percent(value=RETRY_BUDGET_PERCENT if percent is None else percent),
        min_retry_concurrency=RETRY_BUDGET_MINIMUM if minimum is None else minimum,
    )


@lru_cache(maxsize=1024)
def outlier_detection(policy: OutlierDetection) -> EnvoyOutlierDetection:
    """The detectors that the policy names are enforced, the others are off; naming none means five 5xx in a row."""
    found = EnvoyOutlierDetection(
        interval=policy.interval,
        base_ejection_time=policy.base_ejection,
        max_ejection_percent=policy.max_ejection_percent,
        # The percentage of a small service is less than one endpoint; then one may go, unless none was asked for.
        always_eject_one_host=policy.max_ejection_percent != 0,
        enforcing_consecutive_5xx=_NEVER,
        enforcing_success_rate=_NEVER,
    )
    if policy.max_ejection is not None:
        # Envoy refuses a maximum under the base.
        found.max_ejection_time = max(policy.max_ejection, policy.base_ejection or _BASE_EJECTION)
    _consecutive(found, policy)
    _statistical(found, policy)
    return found


def is_statistical(policy: OutlierDetection) -> bool:
    """Whether the policy compares an endpoint's share of failures; the rest looks at failures in a row."""
    return policy.failure_percentage_threshold is not None or policy.success_rate_stdev_factor is not None


def _consecutive(found: EnvoyOutlierDetection, policy: OutlierDetection) -> None:
    named = (
        policy.consecutive_5xx,
        policy.consecutive_gateway_errors,
        policy.consecutive_local_origin_failures,
        policy.failure_percentage_threshold,
        policy.success_rate_stdev_factor,
    )
    if policy.consecutive_5xx is not None or not any(each is not None for each in named):
        found.consecutive_5xx = policy.consecutive_5xx
        found.enforcing_consecutive_5xx = _ALWAYS
    if policy.consecutive_gateway_errors is not None:
        found.consecutive_gateway_failure = policy.consecutive_gateway_errors
        found.enforcing_consecutive_gateway_failure = _ALWAYS
    if policy.consecutive_local_origin_failures is not None:
        # Apart from this, a connection that fails counts as a 5xx.
        found.split_external_local_origin_errors = True
        found.consecutive_local_origin_failure = policy.consecutive_local_origin_failures
        found.enforcing_consecutive_local_origin_failure = _ALWAYS
        found.enforcing_local_origin_success_rate = _NEVER


def _statistical(found: EnvoyOutlierDetection, policy: OutlierDetection) -> None:
    if policy.success_rate_stdev_factor is not None:
        found.success_rate_stdev_factor = policy.success_rate_stdev_factor
        found.success_rate_minimum_hosts = policy.minimum_hosts
        found.enforcing_success_rate = _ALWAYS
    if policy.failure_percentage_threshold is not None:
        found.failure_percentage_threshold = policy.failure_percentage_threshold
        found.failure_percentage_minimum_hosts = policy.minimum_hosts
        found.enforcing_failure_percentage = _ALWAYS
