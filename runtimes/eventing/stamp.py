"""What every pass through a broker does to an event.

Law: pure. `knativearrivaltime` is always overwritten with the time of arrival; the time to live is one less than it
was, and at 0 the event goes no further. Source: Knative's broker ingress. No IO.
"""

from __future__ import annotations

from datetime import UTC, datetime

from .event import Event


def stamped(event: Event, now: float, ttl: int) -> Event:
    """As it is stored. `now` in Unix seconds."""
    return event.arriving(datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), ttl)
