"""One decision about one revision's scale, and what is remembered between decisions.

Law: `decide` is a function of the scaling, what is observed, what is remembered and the time. Nothing is scaled down on
the word of a window that has not been watched in full: after a restart, or with no gateway reporting, the present scale
stands. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.api.conditions import Condition

from . import kpa
from .activity import Before, step
from .settings import Scaling
from .windows import Greatest, Window


@dataclass(frozen=True, slots=True)
class Observed:
    """`reporting`: at least one gateway is telling its load."""

    replicas: int
    ready: int
    before: Before
    initialized: bool
    reporting: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """`scale` None leaves it; `desired` is what is shown (-1: not known); `after`: look again at the latest then."""

    scale: int | None
    desired: int
    active: Condition
    initialized: bool
    after: float | None = None


class Memory:
    """Of one revision: its load over time, panic, and recent wishes. Made anew when the windows change."""

    __slots__ = ("_concurrency", "_requests", "at_zero", "greatest", "panic", "shape", "since")

    def __init__(self, scaling: Scaling, ready: int, now: float) -> None:
        self.shape = self.shape_of(scaling)
        self._concurrency = Window(scaling.stable_window)
        self._requests = Window(scaling.stable_window)
        self.panic = kpa.starting(ready, now)
        self.greatest = Greatest(scaling.scale_down_delay)
        self.since = now
        self.at_zero = False

    @staticmethod
    def shape_of(scaling: Scaling) -> tuple[float, float]:
        return scaling.stable_window, scaling.scale_down_delay

    @property
    def is_silent(self) -> bool:
        return self._concurrency.is_silent

    def record(self, now: float, concurrency: float, requests: float) -> None:
        self._concurrency.record(now, concurrency)
        self._requests.record(now, requests)

    def load(self, scaling: Scaling, ready: int, now: float) -> kpa.Load:
        window = self._requests if scaling.metric == "rps" else self._concurrency
        return kpa.Load(window.average(now, scaling.stable_window), window.average(now, scaling.panic_window), ready)


def decide(scaling: Scaling, observed: Observed, memory: Memory, now: float) -> Plan:
    """Changes `memory`: panic, and the wishes that scale-down-delay looks back on."""
    wanted = _wanted(scaling, observed, memory, now)
    initialized = observed.initialized or observed.ready >= scaling.initial_scale
    bounded = kpa.bounded(wanted, scaling, initialized=initialized)
    taken = step(bounded, observed.ready, observed.before, scaling, initialized=initialized)
    scale = taken.scale
    return Plan(
        scale=scale,
        desired=bounded if scale is None else scale,
        active=taken.active,
        initialized=initialized,
        after=taken.after,
    )


def _wanted(scaling: Scaling, observed: Observed, memory: Memory, now: float) -> int:
    desire = kpa.desire(scaling, memory.load(scaling, observed.ready, now), memory.panic, now)
    memory.panic = desire.panic
    wanted = memory.greatest.of(now, desire.pods) if scaling.reachable is not False else desire.pods
    if not observed.reporting:
        memory.since = now
    if wanted < observed.replicas and now - memory.since < scaling.stable_window:
        return observed.replicas
    return wanted
