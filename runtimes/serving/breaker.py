"""How many requests one revision may have in its pods, and how many may wait.

Law: admitted requests never exceed the capacity of the ready pods, waiting ones never exceed the queue; whoever waits
longest goes first. Pure bookkeeping: it hands out pods and says who is next; waiting is the caller's. Source: Knative's
queue-proxy breaker and activator throttler. No IO.
"""

from __future__ import annotations

UNLIMITED_QUEUE = 10_000
QUEUE_FULL = "pending request queue full"
DEADLINE = "context deadline exceeded"
TOO_LATE = "request timeout"


def queue_depth(concurrency: int, pods: int) -> int:
    """10 x containerConcurrency for each pod, never less than for one; 10 000 where concurrency is unlimited."""
    return 10 * concurrency * max(1, pods) if concurrency else UNLIMITED_QUEUE
