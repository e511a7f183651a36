"""A lane: the deliveries of one trigger, from the log to its subscriber.

Law: what is taken is settled: accepted by the subscriber, its reply on disk; or taken by the dead letter sink; or laid
down as a dead letter. Until then either the cursor holds it or a failure is written down for it, so a crash at any
moment repeats it and never loses it. What is held in memory is bounded (`window`, `held`); a lane that is full lets the
log run ahead and reads from disk later. IO: through the log and the attempts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from funcs.control.clock import Clock
from funcs.errors import Unavailable

from . import retry
from .attempts import Attempts, Outside
from .cursor import Cursor
from .delivery import Refusal, Subscription
from .log import Change, DeadLetter, DropFailure, Entry, EventLog, Failure, SaveCursor, SaveDeadLetter, SaveFailure

log = logging.getLogger(__name__)

_PAGE = 256
_PARKED = 4  # idle workers kept
_LOG_PAUSE = 1.0  # seconds until a log that failed is asked again


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """Bounds of each trigger: deliveries at once, events and bytes held in memory, and how many may be acknowledged
    beyond the oldest that is under way before that one is written down as owed."""

    parallel: int = 32
    window: int = 512
    held: int = 32 * 1024 * 1024
    widest: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all lanes share. `touched` is told that there are `changes` to be saved."""

    log: EventLog
    outside: Outside
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    touched: Callable[[Lane], None]


class Lane:
    """`offer` it what its trigger wants, in order; `changes` is what is to be remembered of it."""

    def __init__(
        self, subscription: Subscription, cursor: Cursor, around: Surroundings, settings: LaneSettings
    ) -> None:
        self.subscription = subscription
        self.cursor = cursor
        self._around = around
        self._settings = settings
        self._queue: deque[Entry] = deque()
        self._open: dict[int, Entry] = {}
        self._held = 0
        self._written: set[int] = set()
        self._dropped: list[int] = []
        self._position: int | None = None
        self._workers = 0
        self._parked: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._draining = False
        self._attempts = Attempts(subscription, around.outside, settings.parallel)

    def __repr__(self) -> str:
        where = f"behind at {self._position}" if self._position is not None else "live"
        return f"Lane({self.subscription.namespace}/{self.subscription.name}, {where}, {self.cursor!r})"

    @property
    def low(self) -> int:
        """Nothing at or below this is needed of the log any more."""
        return min(self.cursor.low, min(self._written, default=self.cursor.low + 1) - 1)

    def update(self, subscription: Subscription) -> None:
        """From the next delivery on. Without a subscriber, deliveries wait."""
        self.subscription = subscription
        self._attempts.update(subscription)

    def start(self, failures: Iterable[tuple[Entry, Failure]] = ()) -> None:
        """Go on where the cursor stands, and with what is owed."""
        for entry, failure in failures:
            self._hold(entry)
            self._written.add(entry.seq)
            self.cursor.skip(entry.seq)
            self._spawn(self._resume(entry, failure), f"retry {entry.seq}")
        self._fall_behind(self.cursor.low)

    def offer(self, entry: Entry) -> None:
        """An event that the trigger wants, newer than all before."""
        if self._position is None:
            if self._is_full():
                self._fall_behind(entry.seq - 1)
            else:
                self._take(entry)

    def changes(self) -> list[Change]:
        """What there is to save, once; `unsaved` takes back what could not be."""
        self.cursor.see(self._around.log.last if self._position is None else self._position)
        dropped, self._dropped = self._dropped, []
        trigger = self.subscription.uid
        return [SaveCursor(trigger, self.cursor.encode()), *(DropFailure(trigger, seq) for seq in dropped)]

    def unsaved(self, changes: Iterable[Change]) -> None:
        self._dropped += [change.seq for change in changes if isinstance(change, DropFailure)]

    def suspend(self) -> None:
        """Keep what is wanted and deliver nothing, until the next `update`."""
        self.update(replace(self.subscription, subscriber=None))

    async def drain(self) -> None:
        """Start no further deliveries; return when those under way have ended."""
        self._draining = True
        await self._attempts.drain()

    async def stop(self) -> None:
        """Cancel everything."""
        self._draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._around.spawn(work, f"{self.subscription.namespace}/{self.subscription.name} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_full(self) -> bool:
        return len(self._open) >= self._settings.window or self._held >= self._settings.held

    def _take(self, entry: Entry) -> None:
        if not self.cursor.take(entry.seq):
            return
        self._hold(entry)
        self._queue.append(entry)
        while self._parked:
            parked = self._parked.pop()
            if not parked.done():
                parked.set_result(None)
                return
        if self._workers < self._settings.parallel and not self._draining:
            self._workers += 1
            self._spawn(self._work(), "deliver")

    def _hold(self, entry: Entry) -> None:
        self._open[entry.seq] = entry
        self._held += entry.size

    def _fall_behind(self, position: int) -> None:
        self._position = position
        self._spawn(self._catch_up(), "catch up")

    async def _catch_up(self) -> None:
        """Read from disk until the lane has seen everything that was committed."""
        while self._position is not None and not self._draining:
            if self._position >= self._around.log.last:
                self.cursor.see(self._position)
                self._position = None
                return
            await self._until_room()
            self._take_page(await self._page(self._position))

    async def _until_room(self) -> None:
        while self._is_full():
            self._room.clear()
            await self._room.wait()

    async def _page(self, after: int) -> Iterable[Entry]:
        while True:
            try:
                return await self._around.log.read(after, most=_PAGE)
            except Unavailable as error:
                log.warning("%s: %s", self.subscription.uid, error)
                await self._around.clock.sleep(_LOG_PAUSE)

    def _take_page(self, page: Iterable[Entry]) -> None:
        wanted = self.subscription.filter.matches
        for entry in page:
            if self._is_full():
                break
            if entry.broker == self.subscription.broker and wanted(entry.attributes()):
                self._take(entry)
            self._position = entry.seq
        self._around.touched(self)

    async def _work(self) -> None:
        """Deliver what is queued, then wait for more beside a few others."""
        try:
            while not self._draining:
                while self._queue and not self._draining:
                    await self._deliver(self._queue.popleft())
                if len(self._parked) >= _PARKED:
                    return
                parked = asyncio.get_running_loop().create_future()
                self._parked.append(parked)
                await parked
        finally:
            self._workers -= 1

    async def _deliver(self, entry: Entry) -> None:
        refusal = await self._attempts.deliver(entry)
        if refusal is None:
            self._settle(entry)
        else:
            self._spawn(self._recover(entry, refusal, 1), f"retry {entry.seq}")

    async def _resume(self, entry: Entry, failure: Failure) -> None:
        """After a restart: go on with what is owed, when it is due."""
        refusal = None
        if failure.tries:
            try:
                refusal = Refusal.decode(failure.error)
            except msgspec.DecodeError:
                refusal = Refusal(self.subscription.subscriber or "", 0)
        if refusal is None or (refusal.retried and failure.tries <= self.subscription.policy.retries):
            await self._around.clock.sleep(max(0.0, failure.due - self._around.clock.now()))
            refusal = await self._attempts.deliver(entry)
            if refusal is None:
                self._settle(entry)
                return
        await self._recover(entry, refusal, failure.tries + 1)

    async def _recover(self, entry: Entry, refusal: Refusal, tries: int) -> None:
        """Retry while the policy and the refusals allow, then lay it to rest."""
        clock = self._around.clock
        while refusal.retried and tries <= self.subscription.policy.retries:
            after = retry.retry_after(refusal.retry_after, clock.now())
            pause = retry.pause(self.subscription.policy, tries - 1, refusal.code or None, after)
            await self._write_down(entry, tries, clock.now() + pause, refusal)
            await clock.sleep(pause)
            again = await self._attempts.deliver(entry)
            if again is None:
                self._settle(entry)
                return
            refusal, tries = again, tries + 1
        await self._write_down(entry, tries, clock.now(), refusal)
        await self._bury(entry, refusal)

    async def _write_down(self, entry: Entry, tries: int, due: float, refusal: Refusal | None) -> None:
        """So that the cursor may pass it. If the log has no room, the cursor goes on holding it."""
        error = refusal.encode() if refusal is not None else ""
        failure = Failure(trigger=self.subscription.uid, seq=entry.seq, tries=tries, due=due, error=error)
        try:
            await self._around.log.save(SaveFailure(failure))
        except Unavailable as problem:
            log.warning("%s: event %d is owed and not written down: %s", self.subscription.uid, entry.seq, problem)
            if tries == 0:
                self._written.discard(entry.seq)
            return
        if entry.seq in self._open:
            self._written.add(entry.seq)
            self.cursor.ack(entry.seq)
        else:
            self._dropped.append(entry.seq)
        self._around.touched(self)

    async def _bury(self, entry: Entry, refusal: Refusal) -> None:
        """To the dead letter sink, with the retries of any delivery; where that fails, to rest in the log."""
        tries = 0
        clock, policy = self._around.clock, self.subscription.policy
        while (sink := self.subscription.dead_letter_sink) is not None:
            answer = await self._attempts.bury(sink, entry, refusal)
            if answer is None:
                self._settle(entry)
                return
            if not answer.retried or tries >= policy.retries:
                break
            await clock.sleep(retry.pause(policy, tries, answer.code or None))
            tries += 1
        await self._lay_down(entry, refusal)

    async def _lay_down(self, entry: Entry, refusal: Refusal) -> None:
        trigger = self.subscription.uid
        letter = DeadLetter(
            trigger=trigger, seq=entry.seq, at=self._around.clock.now(), destination=refusal.destination,
            code=refusal.code, data=refusal.data, broker=entry.broker, head=entry.head, body=entry.data,
        )  # fmt: skip
        while True:
            try:
                await self._around.log.save(SaveDeadLetter(letter), DropFailure(trigger, entry.seq))
                break
            except Unavailable as error:
                log.warning("%s: a dead letter waits for the log: %s", trigger, error)
                await self._around.clock.sleep(_LOG_PAUSE)
        log.warning("%s: event %d is a dead letter: %d from %s", trigger, entry.seq, refusal.code, refusal.destination)
        self._written.discard(entry.seq)
        self._settle(entry)

    def _settle(self, entry: Entry) -> None:
        """Done with: nothing is owed any more."""
        if self._open.pop(entry.seq, None) is None:
            return
        self._held -= entry.size
        if entry.seq in self._written:
            self._written.discard(entry.seq)
            self._dropped.append(entry.seq)
        self.cursor.ack(entry.seq)
        if not self._is_full():
            self._room.set()
        self._around.touched(self)
        if self.cursor.width > self._settings.widest:
            self._write_down_oldest()

    def _write_down_oldest(self) -> None:
        """One slow delivery must not make the rest of the cursor grow for ever."""
        oldest = self._open.get(self.cursor.oldest or 0)
        if oldest is not None and oldest.seq not in self._written:
            self._written.add(oldest.seq)
            self._spawn(self._write_down(oldest, 0, self._around.clock.now(), None), f"write down {oldest.seq}")
