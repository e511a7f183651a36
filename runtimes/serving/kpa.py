"""How many pods a revision wants, from its load: the Knative pod autoscaler as a pure function.

Law: between ticks only `Panic` is remembered, and it is given and returned. Wanted pods never fall while panicking; up
and down are each limited in rate; the bounds (min, initial and max scale) come last. Source: knative.dev/serving,
package autoscaler/scaling. No IO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .settings import Scaling


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen: averages over the stable and the panic window, and pods ready now."""

    stable: float
    panic: float
    ready: int


@dataclass(frozen=True, slots=True)
class Panic:
    """`since` is when load last passed the threshold; `pods` the most wanted since then."""

    since: float | None = None
    pods: int = 0


@dataclass(frozen=True, slots=True)
class Desire:
    """`excess` is the burst the ready pods could still take (EBC); negative when they could not."""

    pods: int
    panic: Panic
    excess: float


def starting(ready: int, now: float) -> Panic:
    """A restarted autoscaler panics at the present scale, so that restarting never scales down."""
    return Panic(now, ready) if ready > 1 else Panic()


def desire(scaling: Scaling, load: Load, panic: Panic, now: float) -> Desire:
    ready = max(1, load.ready)
    most = math.ceil(scaling.max_up_rate * ready)
    least = 0 if scaling.reachable is False else math.floor(ready / scaling.max_down_rate)
    by_stable = math.ceil(load.stable / scaling.target)
    by_panic = math.ceil(load.panic / scaling.target)
    stable = _activated(min(max(by_stable, least), most), by_stable, scaling)
    panicked = _activated(min(max(by_panic, least), most), by_panic, scaling)
    panic = _panic(panic, by_panic / ready >= scaling.panic_threshold, scaling, now)
    wanted = stable
    if panic.since is not None:
        wanted = max(panic.pods, stable, panicked)
        panic = Panic(panic.since, wanted)
    return Desire(wanted, panic, _excess(scaling, load))


def bounded(pods: int, scaling: Scaling, *, initialized: bool) -> int:
    """Within min and max scale; initial scale counts as a minimum until it was reached once."""
    least = 0 if scaling.reachable is False else scaling.min_scale
    if not initialized:
        least = max(least, scaling.initial_scale) if scaling.reachable is not False else scaling.initial_scale
    pods = max(pods, least)
    return min(pods, scaling.max_scale) if scaling.max_scale > 0 else pods


def _activated(pods: int, needed: int, scaling: Scaling) -> int:
    """From zero to at least activation-scale, but only when there is load."""
    return max(pods, scaling.activation_scale) if needed > 0 and scaling.activation_scale > 1 else pods


def _panic(panic: Panic, over: bool, scaling: Scaling, now: float) -> Panic:
    if over:
        return Panic(now, panic.pods)
    if panic.since is not None and now > panic.since + scaling.stable_window:
        return Panic()
    return panic


def _excess(scaling: Scaling, load: Load) -> float:
    if scaling.burst_capacity == 0:
        return 0.0
    if scaling.burst_capacity < 0:
        return -1.0
    return math.floor(load.ready * scaling.total - scaling.burst_capacity - load.panic)
