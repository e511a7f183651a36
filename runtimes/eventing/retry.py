"""Whether and when a delivery is tried again.

Law: pure; seconds are floats. Retried: no answer at all, 5xx, 404, 408, 409, 429 (Knative data plane, "Delivery
attempts"; measured upstream). Attempt n starts at 0 and waits `delay * 2^n` or `delay * n`, so the first linear retry
comes at once. `Retry-After` counts on 429 and 503, only up to `retryAfterMax`, only if that is set. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from funcs.api import period
from funcs.api.delivery import Delivery

LONGEST_PAUSE = 86_400.0
DEFAULT_TIMEOUT = 300.0
_RETRIED_CLIENT_ERRORS = frozenset({404, 408, 409, 429})
_WITH_RETRY_AFTER = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How hard to try: `retries` after the first attempt. Without backoff or delay retries follow at once."""

    retries: int = 0
    backoff: Literal["", "linear", "exponential"] = ""
    delay: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    retry_after_max: float | None = None
    structured: bool = False


def policy_for(own: Delivery | None, fallback: Delivery | None) -> Policy:
    """A trigger's delivery, or else wholly its broker's: the two do not merge."""
    found = own if own is not None else fallback
    if found is None:
        return Policy()
    return Policy(
        retries=found.retry or 0,
        backoff=_backoff(found.backoff_policy),
        delay=period.parse(found.backoff_delay) if found.backoff_delay else 0.0,
        timeout=period.parse(found.timeout) if found.timeout else DEFAULT_TIMEOUT,
        retry_after_max=period.parse(found.retry_after_max) if found.retry_after_max else None,
        structured=found.format == "json",
    )


def _backoff(name: str | None) -> Literal["", "linear", "exponential"]:
    match name:
        case "linear" | "exponential":
            return name
        case _:
            return ""


def is_retried(status: int | None) -> bool:
    """`status` None means that no answer came."""
    return status is None or status >= 500 or status in _RETRIED_CLIENT_ERRORS


def pause(policy: Policy, attempt: int, status: int | None = None, retry_after: float | None = None) -> float:
    """Seconds to wait after attempt number `attempt` (the first is 0) has failed."""
    wait = _backoff_pause(policy, attempt)
    if retry_after is not None and policy.retry_after_max is not None and status in _WITH_RETRY_AFTER:
        wait = max(wait, min(retry_after, policy.retry_after_max))
    return min(wait, LONGEST_PAUSE)


def _backoff_pause(policy: Policy, attempt: int) -> float:
    if policy.backoff == "exponential":
        return policy.delay * 2.0 ** min(attempt, 64)
    return policy.delay * attempt if policy.backoff == "linear" else 0.0


def retry_after(header: str | None, now: float) -> float | None:
    """`Retry-After` in seconds or as an HTTP date (RFC 9110 section 10.2.3), None if absent or unreadable."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
