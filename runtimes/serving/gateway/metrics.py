"""Counts and times of requests, per revision, in Prometheus' text format.

Law: counting a request is two additions; rendering is somebody else's request. No IO.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from funcs.api.meta import Key

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Figures:
    """Of one revision."""

    __slots__ = ("buckets", "codes", "cold", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.cold = 0

    def count(self, status: int, seconds: float) -> None:
        codes = self.codes
        codes[status] = codes.get(status, 0) + 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


def render(revisions: Iterable[tuple[Key, Figures, int, int]], refused: dict[int, int], connections: int) -> str:
    """`revisions`: key, figures, requests in flight, requests waiting."""
    lines = [
        "# TYPE funcs_gateway_connections gauge",
        f"funcs_gateway_connections {connections}",
        "# TYPE funcs_gateway_refused_total counter",
        *(f'funcs_gateway_refused_total{{code="{code}"}} {count}' for code, count in sorted(refused.items())),
        "# TYPE funcs_gateway_requests_total counter",
        "# TYPE funcs_gateway_request_seconds histogram",
        "# TYPE funcs_gateway_in_flight gauge",
        "# TYPE funcs_gateway_waiting gauge",
        "# TYPE funcs_gateway_cold_starts_total counter",
    ]
    for key, figures, in_flight, waiting in revisions:
        lines += _revision(key, figures, in_flight, waiting)
    return "\n".join(lines) + "\n"


def _revision(key: Key, figures: Figures, in_flight: int, waiting: int) -> Iterable[str]:
    label = f'namespace="{key.namespace}",revision="{key.name}"'
    for code, count in sorted(figures.codes.items()):
        yield f'funcs_gateway_requests_total{{{label},code="{code}"}} {count}'
    total = 0
    for bound, count in zip((*BOUNDS, "+Inf"), figures.buckets, strict=True):
        total += count
        yield f'funcs_gateway_request_seconds_bucket{{{label},le="{bound}"}} {total}'
    yield f"funcs_gateway_request_seconds_sum{{{label}}} {figures.seconds:.6f}"
    yield f"funcs_gateway_request_seconds_count{{{label}}} {total}"
    yield f"funcs_gateway_in_flight{{{label}}} {in_flight}"
    yield f"funcs_gateway_waiting{{{label}}} {waiting}"
    yield f"funcs_gateway_cold_starts_total{{{label}}} {figures.cold}"
