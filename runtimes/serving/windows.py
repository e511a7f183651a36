"""Load over time: one-second buckets, averaged over a window; and the greatest of recent decisions.

Law: `now` is an argument and never goes back; a window that is not yet full is averaged over the seconds that have
passed; after a silence as long as the window it starts anew. No IO.
"""

from __future__ import annotations

from collections import deque


class Window:
    """The sum of what is recorded, second by second, as far back as `longest` seconds."""

    __slots__ = ("_buckets", "_first", "_last", "longest")

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self._buckets: deque[tuple[int, float]] = deque()
        self._first = 0
        self._last: int | None = None

    def record(self, now: float, value: float) -> None:
        second = int(now)
        if self._last is None or second - self._last > self.longest:
            self._buckets.clear()
            self._first = second
        self._last = second if self._last is None else max(second, self._last)
        if self._buckets and self._buckets[-1][0] >= second:
            at, present = self._buckets[-1]
            self._buckets[-1] = (at, present + value)
        else:
            self._buckets.append((second, value))
        while self._buckets[0][0] <= second - self.longest:
            self._buckets.popleft()

    def average(self, now: float, window: float) -> float:
        """Per second, over the last `window` seconds or as many as have passed since the first."""
        second = int(now)
        if self._last is None or second - self._last >= window:
            return 0.0
        elapsed = min(window, second - self._first + 1)
        oldest = second - window
        return sum(value for at, value in self._buckets if at > oldest) / elapsed

    @property
    def is_silent(self) -> bool:
        """Nothing has ever been recorded."""
        return self._last is None


class Greatest:
    """The greatest of the values given within the last `delay` seconds."""

    __slots__ = ("_falling", "delay")

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._falling: deque[tuple[float, int]] = deque()

    def of(self, now: float, value: int) -> int:
        """Give a value, have the greatest back."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        while self._falling[0][0] < now - self.delay:
            self._falling.popleft()
        return self._falling[0][1]
