"""The work queue: which key to look at next.

Law: it holds keys only, each at most once; a key being worked on is not handed out again until it is done, and one that
was added meanwhile comes up again then. Failures back off exponentially per key and are forgotten on success. `take`
and `add` decide on times given to them; only `run` sleeps.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from enum import StrEnum

from funcs.api.meta import Key
from funcs.errors import Conflict, Invalid, NotFound, Terminal

from .clock import Clock

FIRST_DELAY = 0.005  # seconds; controller-runtime's
LONGEST_DELAY = 300.0


class Action(StrEnum):
    """What to do with a key whose reconcile failed."""

    SOON = "again at once"
    DROP = "wait until it changes"
    BACK_OFF = "again after a while"


def action_after(error: BaseException) -> Action:
    """The class of the error is the decision."""
    if isinstance(error, Conflict):
        return Action.SOON
    if isinstance(error, NotFound | Terminal | Invalid):
        return Action.DROP
    return Action.BACK_OFF


class Queue:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._working: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._serial = itertools.count()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._scheduled = asyncio.Event()

    def __repr__(self) -> str:
        return f"Queue(ready={len(self._ready)}, working={len(self._working)}, later={len(self._due)})"

    @property
    def idle(self) -> bool:
        """Nothing to do now, and nothing being done."""
        return not self._queued and not self._working

    def add(self, key: Key) -> None:
        if key not in self._queued:
            self._queued.add(key)
            if key not in self._working:
                self._ready.append(key)
                self._wake_worker()

    def add_after(self, key: Key, seconds: float) -> None:
        """Once, `seconds` from now; the earlier of two wishes wins."""
        due = self._clock.monotonic() + max(0.0, seconds)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._serial), key))
            self._scheduled.set()

    def back_off(self, key: Key, first: float = FIRST_DELAY) -> float:
        """Again later, twice as late as the last time. The delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(LONGEST_DELAY, first * 2.0 ** min(failures - 1, 30))
        self.add_after(key, delay)
        return delay

    def failures(self, key: Key) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """The key succeeded."""
        self._failures.pop(key, None)

    def take(self) -> Key | None:
        """The next key, now being worked on; None if there is none."""
        self._promote()
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._queued.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._queued:
            self._ready.append(key)
            self._wake_worker()

    async def next(self) -> Key:
        """`take`, waiting until there is one."""
        while True:
            key = self.take()
            if key is not None:
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_worker()  # it was meant for whoever waits next
                raise

    async def run(self) -> None:
        """Bring up keys when they are due, until cancelled."""
        while True:
            self._promote()
            self._scheduled.clear()
            if not self._later:
                await self._scheduled.wait()
                continue
            await self._until(self._later[0][0])

    async def _until(self, due: float) -> None:
        """Until then, or until something may be due earlier."""
        alarm = asyncio.ensure_future(self._clock.sleep(due - self._clock.monotonic()))
        earlier = asyncio.ensure_future(self._scheduled.wait())
        try:
            await asyncio.wait((alarm, earlier), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            earlier.cancel()
            await asyncio.wait((alarm, earlier))

    def _promote(self) -> None:
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _wake_worker(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
