"""Whether a revision is active, and when it may go to zero.

Law: two steps down: first inactive (nothing has asked for it during a whole stable window), then, after the grace
period and the retention of its last pod, zero. The gateway is always in the path, so nothing has to be moved before
the last pod goes. Source: knative.dev/serving, package reconciler/autoscaling/kpa. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.api.conditions import Condition

from .settings import Scaling

ACTIVE = "Active"
QUEUED = Condition(
    ACTIVE, "Unknown", "Queued", "Requests to the target are being buffered as resources are provisioned."
)
NO_TRAFFIC = Condition(ACTIVE, "False", "NoTraffic", "The target is not receiving traffic.")
TIMED_OUT = Condition(ACTIVE, "False", "TimedOut", "The target could not be activated.")
IS_ACTIVE = Condition(ACTIVE, "True")
_AFTER_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Before:
    """How it stood: the Active condition's status ("" when there is none yet) and how long it has stood so."""

    status: str
    reason: str = ""
    lasted: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """`scale` None leaves the scale as it is; `after` seconds is when to look again at the latest."""

    scale: int | None
    active: Condition
    after: float | None = None


def step(wanted: int, ready: int, before: Before, scaling: Scaling, *, initialized: bool) -> Step:
    """What to do about `wanted` pods (already bounded)."""
    if before.status == "Unknown" and not _reached(ready, scaling, initialized):
        limit = scaling.progress_deadline + _AFTER_DEADLINE
        if before.lasted >= limit:
            return Step(0, TIMED_OUT)
        if wanted == 0:
            return Step(None, QUEUED, limit - before.lasted)
    if wanted == 0:
        return _towards_zero(before, scaling)
    if before.reason == TIMED_OUT.reason and not initialized:
        return Step(0, TIMED_OUT)
    return Step(wanted, IS_ACTIVE if _reached(ready, scaling, initialized) else QUEUED)


def _towards_zero(before: Before, scaling: Scaling) -> Step:
    if before.status == "True":
        if before.lasted < scaling.stable_window:
            return Step(1, IS_ACTIVE, scaling.stable_window - before.lasted)
        return Step(None, NO_TRAFFIC, _grace(scaling))
    inactive = TIMED_OUT if before.reason == TIMED_OUT.reason else NO_TRAFFIC
    if before.status == "False" and before.lasted < _grace(scaling):
        return Step(None, inactive, _grace(scaling) - before.lasted)
    return Step(0, inactive)


def _grace(scaling: Scaling) -> float:
    retention = 0.0 if scaling.reachable is False else scaling.retention
    return max(scaling.grace, retention)


def _reached(ready: int, scaling: Scaling, initialized: bool) -> bool:
    """Enough pods to be called active: the first time all of the initial scale, later any of the least."""
    least = max(1, 0 if scaling.reachable is False else scaling.min_scale)
    return ready >= (least if initialized else max(least, scaling.initial_scale))
