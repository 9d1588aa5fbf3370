"""Retry policies as Envoy's."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.route.v3 import RetryPolicy, RetryPolicyRetryBackOff, RetryPolicyRetryHostPredicate
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate

from xdscp.mesh.routing import Retry
from xdscp.translators.encode import packed

SAFE_CONDITIONS: Final = ("connect-failure", "refused-stream", "reset-before-request")
"""Where a policy names none: the request cannot have reached the application, whatever its method."""

_STATUS_CODES: Final = "retriable-status-codes"
_DEFAULT_BACK_OFF: Final = timedelta(milliseconds=25)
_HOST_ATTEMPTS: Final = 5
"""How often Envoy picks again to find a host that was not tried; then it takes what it has."""

_OTHER_HOST: Final = RetryPolicyRetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts",
    typed_config=packed(PreviousHostsPredicate()),
)


def retry_policy(retry: Retry) -> RetryPolicy:
    """Of one route. How many retries run at once is bounded by the retry budget of the cluster."""
    return RetryPolicy(
        retry_on=",".join(conditions(retry)),
        num_retries=retry.attempts,
        per_try_timeout=retry.per_try_timeout,
        retriable_status_codes=list(retry.status_codes),
        retry_back_off=back_off(retry),
        retry_host_predicate=[_OTHER_HOST] if retry.other_host else [],
        host_selection_retry_max_attempts=_HOST_ATTEMPTS if retry.other_host else 0,
    )


def conditions(retry: Retry) -> tuple[str, ...]:
    """Status codes count only under the condition that asks for them."""
    if retry.status_codes:
        return tuple(dict.fromkeys((*retry.on, _STATUS_CODES)))
    return retry.on or SAFE_CONDITIONS


def back_off(retry: Retry) -> RetryPolicyRetryBackOff | None:
    """Envoy asks for a base, and a maximum that is not less; a maximum alone keeps Envoy's 25 ms as its base."""
    if retry.backoff is None and retry.backoff_max is None:
        return None
    base = retry.backoff if retry.backoff is not None else _DEFAULT_BACK_OFF
    maximum = retry.backoff_max
    if maximum is not None:
        base = min(base, maximum)
    return RetryPolicyRetryBackOff(base_interval=base, max_interval=maximum)
