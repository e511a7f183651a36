"""The dispatcher: every trigger's lane, fed by the log.

Law: each committed event is matched once against the triggers of its broker. Once `program` has returned, every event
accepted from then on will reach the trigger. Cursors are saved within `flush` seconds of a change, so that a crash
repeats little; what every lane is done with is trimmed from the log. IO: through the log, and in the lanes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from funcs.control.clock import Clock
from funcs.errors import FuncsError, Unavailable

from .attempts import Outside
from .cursor import Cursor
from .delivery import Send, Subscription
from .event import Event
from .filters import Index
from .lane import Lane, LaneSettings, Surroundings
from .log import DropFailure, Entry, EventLog, Failure, Forget, Retention, SaveCursor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherSettings:
    """Seconds between flushes of cursors, between trims, and for deliveries under way when draining."""

    lane: LaneSettings = field(default_factory=LaneSettings)
    retention: Retention = field(default_factory=Retention)
    flush: float = 0.05
    trim: float = 30.0
    drain: float = 20.0
    broker_url: str = "http://broker-ingress.knative-eventing.svc.cluster.local"


class Dispatcher:
    """`async with Dispatcher(log, send, clock) as dispatcher:` — leaving it drains and saves every cursor."""

    def __init__(self, log: EventLog, send: Send, clock: Clock, settings: DispatcherSettings | None = None) -> None:
        self._log = log
        self._clock = clock
        self._settings = settings or DispatcherSettings()
        self._lanes: dict[str, Lane] = {}
        self._unclaimed: dict[str, int] = {}
        self._indexes: dict[str, Index[Lane]] = {}
        self._touched: set[Lane] = set()
        self._to_flush = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._own: list[asyncio.Task[None]] = []
        self._around = Surroundings(
            log=log,
            outside=Outside(send=send, ingest=self._reingest, reply_url=self.broker_url),
            clock=clock,
            spawn=self._spawn,
            touched=self._touch,
        )

    async def __aenter__(self) -> Self:
        for trigger in await self._log.triggers():
            recalled = await self._log.recall(trigger)
            cursor = Cursor.decode(recalled.cursor) if recalled.cursor is not None else Cursor()
            self._unclaimed[trigger] = min([cursor.low, *(failure.seq - 1 for failure in recalled.failures)])
        self._log.follow(self._heard)
        await self._tasks.__aenter__()
        self._own = [self._spawn(self._flush(), "flush cursors"), self._spawn(self._trim(), "trim the log")]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drain()
        for task in self._own:
            task.cancel()
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))
        await self._tasks.__aexit__(None, None, None)
        await self._save(self._lanes.values())

    def broker_url(self, broker: str) -> str:
        """The address of a broker, given as `namespace/name`."""
        return f"{self._settings.broker_url}/{broker}"

    async def program(self, subscription: Subscription) -> None:
        """Deliver to this trigger, from its cursor or from now on. Raises LogFull when that cannot be remembered."""
        lane = self._lanes.get(subscription.uid)
        if lane is None:
            await self._begin(subscription)
        elif lane.subscription != subscription:
            lane.update(subscription)
            self._indexes.clear()

    def suspend(self, uid: str) -> None:
        """Keep what the trigger wants, deliver nothing, until it is programmed again."""
        lane = self._lanes.get(uid)
        if lane is not None:
            lane.suspend()

    async def remove(self, uid: str) -> None:
        """The trigger is gone, with its cursor."""
        lane = self._lanes.pop(uid, None)
        if lane is not None:
            self._indexes.clear()
            self._touched.discard(lane)
            await lane.stop()
        if lane is not None or uid in self._unclaimed:
            await self._log.save(Forget(uid))
            self._unclaimed.pop(uid, None)

    async def keep_only(self, uids: Iterable[str]) -> None:
        """Remove what is left of triggers deleted while nobody watched."""
        for uid in set(self._unclaimed) - set(uids):
            await self.remove(uid)

    async def _begin(self, subscription: Subscription) -> None:
        uid = subscription.uid
        recalled = await self._log.recall(uid)
        if recalled.cursor is None:
            cursor = Cursor(self._log.last)
            await self._log.save(SaveCursor(uid, cursor.encode()))
        else:
            cursor = Cursor.decode(recalled.cursor)
        owed = await self._owed(recalled.failures)
        lane = Lane(subscription, cursor, self._around, self._settings.lane)
        self._lanes[uid] = lane
        self._unclaimed.pop(uid, None)
        self._indexes.clear()
        lane.start(owed)

    async def _owed(self, failures: Iterable[Failure]) -> list[tuple[Entry, Failure]]:
        """With their events. One whose event is gone from the log is owed no more."""
        owed: list[tuple[Entry, Failure]] = []
        for failure in failures:
            found = await self._log.read(failure.seq - 1, most=1)
            if found and found[0].seq == failure.seq:
                owed.append((found[0], failure))
            else:
                await self._log.save(DropFailure(failure.trigger, failure.seq))
        return owed

    def _heard(self, events: Sequence[tuple[Entry, Event]]) -> None:
        for entry, event in events:
            index = self._indexes.get(entry.broker)
            if index is None:
                index = self._index(entry.broker)
            for lane in index.match(event.attributes):
                lane.offer(entry)

    def _index(self, broker: str) -> Index[Lane]:
        lanes = [lane for lane in self._lanes.values() if lane.subscription.broker == broker]
        made = self._indexes[broker] = Index((lane, lane.subscription.filter) for lane in lanes)
        return made

    async def _reingest(self, broker: str, event: Event) -> None:
        now = self._clock.now()
        await self._log.append(broker, event.arriving(now), now)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        return self._tasks.create_task(_supervised(work, what), name=what)

    def _touch(self, lane: Lane) -> None:
        self._touched.add(lane)
        self._to_flush.set()

    async def _flush(self) -> None:
        while True:
            await self._to_flush.wait()
            await self._clock.sleep(self._settings.flush)
            self._to_flush.clear()
            touched, self._touched = self._touched, set()
            if not await self._save(touched):
                self._touched |= touched
                self._to_flush.set()
                await self._clock.sleep(1.0)

    async def _save(self, lanes: Iterable[Lane]) -> bool:
        found = [(lane, lane.changes()) for lane in lanes if lane.subscription.uid in self._lanes]
        if not found:
            return True
        try:
            await self._log.save(*(change for _, changes in found for change in changes))
        except Unavailable as error:
            log.warning("cursors are not saved: %s", error)
            for lane, changes in found:
                lane.unsaved(changes)
            return False
        return True

    async def _trim(self) -> None:
        while True:
            await self._clock.sleep(self._settings.trim)
            try:
                await self.trim()
            except FuncsError as error:
                log.warning("the event log is not trimmed: %s", error)

    async def trim(self) -> int:
        """Save every cursor, then drop what is done with and not to be kept. Bytes freed."""
        if not await self._save(list(self._lanes.values())):
            return 0
        lows = [*self._unclaimed.values(), *(lane.low for lane in self._lanes.values())]
        return await self._log.trim(min(lows, default=self._log.last), self._settings.retention, self._clock.now())

    async def _drain(self) -> None:
        """Let the deliveries under way end, for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain):
                await asyncio.gather(*(lane.drain() for lane in self._lanes.values()))


async def _supervised(work: Coroutine[Any, Any, None], what: str) -> None:
    """A delivery that fails in an unforeseen way must not take the others with it; its event stays owed."""
    try:
        await work
    except Exception:
        log.exception("%s failed", what)
