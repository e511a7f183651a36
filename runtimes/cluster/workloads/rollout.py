"""The arithmetic of a rolling update: how many replicas each replica set of a deployment should have now.

Law: pure; no decision made here leads to more than `desired + max_surge` pods, or to fewer than
`desired - max_unavailable` available ones. Source: the rolling update of Kubernetes' deployment controller. No IO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """One replica set: what it is asked for now, and how many of its pods are available."""

    name: str
    replicas: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Absolute numbers of pods. At least one of the two is above zero."""

    surge: int
    unavailable: int


def bounds(strategy: object, desired: int) -> Bounds:
    """From `spec.strategy.rollingUpdate`: integers or percentages; 25 % each by default, surge rounded up."""
    given = strategy if isinstance(strategy, dict) else {}
    surge = _absolute(given.get("maxSurge", "25%"), desired, math.ceil)
    unavailable = _absolute(given.get("maxUnavailable", "25%"), desired, math.floor)
    return Bounds(surge, unavailable) if surge or unavailable else Bounds(0, 1)


def rolling(desired: int, new: Share, old: Sequence[Share], limits: Bounds) -> dict[str, int]:
    """Wanted replicas by replica set name; `old` is oldest first."""
    if not any(share.replicas for share in old):
        return {new.name: desired} | {share.name: 0 for share in old}
    total = new.replicas + sum(share.replicas for share in old)
    grown = min(desired, new.replicas + max(0, desired + limits.surge - total))
    wanted = {new.name: grown if new.replicas < desired else desired}
    removable = total - (desired - limits.unavailable) - (new.replicas - min(new.available, new.replicas))
    return wanted | _shrink(old, removable)


def recreate(desired: int, new: Share, old: Sequence[Share], old_pods: int) -> dict[str, int]:
    """Strategy Recreate: nothing new while anything old still runs."""
    return {new.name: new.replicas if old_pods else desired} | {share.name: 0 for share in old}


def _shrink(old: Sequence[Share], removable: int) -> dict[str, int]:
    """Unavailable replicas go first, then available ones, oldest set first."""
    wanted = {share.name: share.replicas for share in old}
    for share in old:
        step = min(max(removable, 0), share.replicas - min(share.available, share.replicas))
        wanted[share.name] -= step
        removable -= step
    for share in old:
        step = min(max(removable, 0), wanted[share.name])
        wanted[share.name] -= step
        removable -= step
    return wanted


def _absolute(value: object, desired: int, rounding: Callable[[float], int]) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return rounding(desired * int(value[:-1]) / 100)
    return int(str(value))
