"""Which of a revision's ready pods takes the next request.

Law: a pod at its containerConcurrency is never chosen. Unlimited pods: the less loaded of two at random; up to 3: the
first with room, so that few stay warm; more: round robin. Source: Knative's activator, package activator/net. No IO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Loaded(Protocol):
    """Something that takes requests."""

    in_flight: int


P = TypeVar("P", bound=Loaded)
FIRST_AVAILABLE_UP_TO = 3


def choose(pods: Sequence[P], concurrency: int, turn: int, random: Callable[[], float]) -> P | None:
    """A pod with room, or None. `turn` counts choices; `random` gives 0 ≤ x < 1."""
    if not pods:
        return None
    if concurrency == 0:
        return _of_two(pods, random)
    start = turn % len(pods) if concurrency > FIRST_AVAILABLE_UP_TO else 0
    for offset in range(len(pods)):
        pod = pods[(start + offset) % len(pods)]
        if pod.in_flight < concurrency:
            return pod
    return None


def _of_two(pods: Sequence[P], random: Callable[[], float]) -> P:
    count = len(pods)
    if count == 1:
        return pods[0]
    first = int(random() * count)
    second = int(random() * (count - 1))
    second += second >= first
    return min(pods[first], pods[second], key=lambda pod: pod.in_flight)
