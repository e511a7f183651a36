"""The event log in SQLite: WAL, `synchronous=FULL`, one row for each commit.

Law: one thread writes, and commits whatever came while it wrote the commit before; nobody waits for company. Each event
has a future of its own, so a client that goes away takes nobody with it. A commit that fails is answered to everyone in
it, and the next one is tried afresh. IO: the database, on the writer's thread and on the reader's.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from funcs.errors import FuncsError, Unavailable

from . import rows
from .event import Event
from .log import Backlogged, Change, DeadLetter, Entry, LogFull, Recollection, Retention
from .schema import Connect, Connection, connect, lock, open_log

T = TypeVar("T")
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Bounds. `size` in bytes of events is when `append` refuses, and is to be larger than what retention keeps."""

    size: int = 4 * 1024 * 1024 * 1024
    waiting: int = 20_000
    batch: int = 1024
    batch_size: int = 16 * 1024 * 1024


@dataclass(slots=True)
class _Commit:
    """What one transaction holds, and who waits for it."""

    events: list[tuple[Entry, Event]] = field(default_factory=list)
    accepted: list[asyncio.Future[int]] = field(default_factory=list)
    works: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    size: int = 0


class SqliteLog:
    """`runtimes.eventing.log.EventLog`, in one file."""

    def __init__(self, held: IO[bytes], writer: Connection, reader: Connection, settings: LogSettings) -> None:
        self._held = held
        self._writer = writer
        self._reader = reader
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[Sequence[tuple[Entry, Event]]], None]] = []
        self._waiting: list[tuple[str, Event, float, asyncio.Future[int]]] = []
        self._works: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = []
        self._busy = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.last, self.size = rows.extent(reader)
        self._next = self.last + 1
        self._commits: queue.SimpleQueue[_Commit | None] = queue.SimpleQueue()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path, settings: LogSettings | None = None, connect: Connect = connect) -> SqliteLog:
        """Raises Conflict when another process has the file, Unsupported when its format is newer."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = lock(path)
        try:
            writer = await asyncio.to_thread(open_log, path, connect)
        except BaseException:
            held.close()
            raise
        return cls(held, writer, connect(path), settings or LogSettings())

    async def close(self) -> None:
        """Commit what was accepted, then let go of the file."""
        if self._closing:
            return
        self._closing = True
        await self._idle.wait()
        self._commits.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reading.shutdown()
        self._reader.close()
        self._writer.close()
        self._held.close()

    def append(self, broker: str, event: Event, at: float) -> asyncio.Future[int]:
        self._refuse_if_closing()
        if self.size > self._settings.size:
            raise Backlogged(
                f"{self.size} bytes of events wait for their subscribers", hint="Mend or delete the Triggers that fail."
            )
        if len(self._waiting) >= self._settings.waiting:
            raise Backlogged(f"{len(self._waiting)} events wait to be written")
        accepted: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((broker, event, at, accepted))
        self._kick_soon()
        return accepted

    def follow(self, listener: Callable[[Sequence[tuple[Entry, Event]]], None]) -> None:
        self._listeners.append(listener)

    async def save(self, *changes: Change) -> None:
        await self._in_commit(lambda connection: rows.save(connection, changes))

    async def trim(self, below: int, retention: Retention, now: float) -> int:
        freed = await self._in_commit(lambda connection: rows.trim(connection, below, retention, now))
        self.size -= freed
        return freed

    async def read(self, after: int, *, most: int = 256) -> Sequence[Entry]:
        return await self._in_reader(lambda: rows.read(self._reader, after, most))

    async def recall(self, trigger: str) -> Recollection:
        return await self._in_reader(lambda: rows.recall(self._reader, trigger))

    async def triggers(self) -> Sequence[str]:
        return await self._in_reader(lambda: rows.triggers(self._reader))

    async def dead_letters(self, *, after: int = 0, most: int = 256) -> Sequence[DeadLetter]:
        return await self._in_reader(lambda: rows.dead_letters(self._reader, after, most))

    async def _in_reader(self, work: Callable[[], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._reading, work)
        except sqlite3.Error as error:
            raise Unavailable(f"the event log cannot be read: {error}", reason="LogFailed") from error

    async def _in_commit(self, work: Callable[[Connection], T]) -> T:
        """Have `work` done as part of the next transaction."""
        self._refuse_if_closing()
        done: asyncio.Future[T] = self._loop.create_future()
        self._works.append((work, done))
        self._kick_soon()
        return await done

    def _refuse_if_closing(self) -> None:
        if self._closing:
            raise Unavailable("the event log is closing", reason="ShuttingDown")

    def _kick_soon(self) -> None:
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._kick)  # after the others that are ready now

    def _kick(self) -> None:
        commit = _Commit(works=self._works)
        self._works = []
        taken = 0
        for broker, event, at, accepted in self._waiting[: self._settings.batch]:
            taken += 1
            if accepted.cancelled():
                continue
            entry = Entry(self._next, broker, at, event.ttl, event.head(), event.data)
            self._next += 1
            commit.events.append((entry, event))
            commit.accepted.append(accepted)
            commit.size += entry.size
            if commit.size >= self._settings.batch_size:
                break
        del self._waiting[:taken]
        self._commits.put(commit)

    def _write(self) -> None:
        """The writer's thread."""
        while (commit := self._commits.get()) is not None:
            error: Exception | None = None
            try:
                commit.results = rows.commit(
                    self._writer, [entry for entry, _ in commit.events], [work for work, _ in commit.works]
                )
            except Exception as caught:
                error = caught
            self._loop.call_soon_threadsafe(self._done, commit, error)

    def _done(self, commit: _Commit, error: Exception | None) -> None:
        if error is not None:
            self._fail(commit, error)
        else:
            self._succeed(commit)
        if self._waiting or self._works:
            self._loop.call_soon(self._kick)
        else:
            self._busy = False
            self._idle.set()

    def _succeed(self, commit: _Commit) -> None:
        if commit.events:
            self.last = commit.events[-1][0].seq
            self.size += commit.size
            for listener in self._listeners:
                listener(commit.events)
        for (entry, _), accepted in zip(commit.events, commit.accepted, strict=True):
            if not accepted.done():
                accepted.set_result(entry.seq)
        for (_, done), result in zip(commit.works, commit.results, strict=True):
            if not done.done():
                done.set_result(result)

    def _fail(self, commit: _Commit, error: Exception) -> None:
        told = _translated(error)
        for waiter in (*commit.accepted, *(done for _, done in commit.works)):
            if not waiter.done():
                waiter.set_exception(told)


def _translated(error: Exception) -> FuncsError:
    told: FuncsError
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _FULL:
        told = LogFull(f"the event log cannot be written: {error}", hint="Free space on the disk that holds the log.")
    else:
        told = Unavailable(f"the event log failed: {error}", reason="LogFailed")
    told.__cause__ = error
    return told
