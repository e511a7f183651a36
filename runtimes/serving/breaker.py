"""How many requests of one revision may wait, and the words of those that may not.

Law: the queue is bounded by what the ready pods could take; the texts are those that clients of Knative know. What is
admitted is `gateway.backend`'s to count. Source: Knative's queue-proxy breaker and activator throttler. No IO.
"""

from __future__ import annotations

UNLIMITED_QUEUE = 10_000
QUEUE_FULL = "pending request queue full"
DEADLINE = "context deadline exceeded"
TOO_LATE = "request timeout"


def queue_depth(concurrency: int, pods: int) -> int:
    """10 x containerConcurrency for each pod, never less than for one; 10 000 where concurrency is unlimited."""
    return 10 * concurrency * max(1, pods) if concurrency else UNLIMITED_QUEUE
