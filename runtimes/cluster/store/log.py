"""The durable log of writes: one thread that commits together whatever queued during the previous commit.

Law: `done` is called once the records are on disk, in order, on the event loop. When a commit fails, every later record
of that epoch fails with it, for it was decided on top of what is not there. History older than a window is compacted to
the newest state of each object. The IO is SQLite's, all of it in the thread.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from funcs.api.meta import Key
from funcs.control.engine import Record
from funcs.errors import FuncsError, Terminal, Unavailable

from .schema import opened, translating

_log = logging.getLogger(__name__)

Done = Callable[[FuncsError | None], None]

_BATCH = 1024

_INSERT = 'INSERT INTO history (version, "group", kind, namespace, name, deleted, data) VALUES (?, ?, ?, ?, ?, ?, ?)'
_SUPERSEDED = """
DELETE FROM history WHERE version IN (
    SELECT older.version FROM history AS newer JOIN history AS older
    ON older."group" = newer."group" AND older.kind = newer.kind AND older.namespace = newer.namespace
    AND older.name = newer.name AND older.version < newer.version
    WHERE newer.version > ? AND newer.version <= ?)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it was kept."""

    version: int
    group: str
    kind: str
    key: Key
    deleted: bool
    data: bytes


class SqliteLog:
    def __init__(self, path: Path, *, synchronous: str, window: int, queued: int) -> None:
        """Opens the file. Raises Terminal, Unavailable."""
        self._path, self._window, self._queued = path, window, queued
        self._connection = opened(path, synchronous)
        (self.floor,) = self._connection.execute("SELECT floor FROM compaction").fetchone()
        self._queue: deque[tuple[Record, Done]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failed_epoch = -1
        self._failure: FuncsError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"log {path.name}", daemon=True)

    def rows(self) -> Iterator[Row]:
        """Everything held, oldest first; before `start`."""
        with translating(self._path):
            for version, group, kind, namespace, name, deleted, data in self._connection.execute(
                'SELECT version, "group", kind, namespace, name, deleted, data FROM history ORDER BY version'
            ):
                yield Row(version, group, kind, Key(namespace, name), bool(deleted), data)

    def start(self) -> None:
        """Begin to take records; they are answered on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def append(self, record: Record, done: Done) -> None:
        """Raises Unavailable when too much is queued."""
        with self._changed:
            if self._closing:
                raise Unavailable("the store is closed")
            if len(self._queue) >= self._queued:
                raise Unavailable(
                    f"{self._queued} writes are waiting for the disk", hint="Write less, or to a faster disk."
                )
            self._queue.append((record, done))
            self._changed.notify()

    async def close(self) -> None:
        """Commit what is queued, then let go of the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _run(self) -> None:
        while batch := self._take():
            answers = self._answers(batch)
            if self._loop is not None:
                self._loop.call_soon_threadsafe(_answer, answers)
            newest, failed = batch[-1][0].version, answers[-1][1] is not None
            if not failed and newest - self.floor >= 2 * self._window:
                self._compact(newest - self._window)

    def _take(self) -> list[tuple[Record, Done]]:
        """What is queued, up to a batch; nothing only at the end."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]

    def _answers(self, batch: list[tuple[Record, Done]]) -> list[tuple[Done, FuncsError | None]]:
        standing = [record for record, _ in batch if record.epoch > self._failed_epoch]
        error = self._commit(standing)
        if error is not None:
            self._failure, self._failed_epoch = error, standing[-1].epoch
        return [(done, self._failure if record.epoch <= self._failed_epoch else None) for record, done in batch]

    def _commit(self, records: list[Record]) -> FuncsError | None:
        if not records:
            return None
        try:
            with translating(self._path), _transaction(self._connection):
                self._connection.executemany(_INSERT, [_values(record) for record in records])
        except (Unavailable, Terminal) as error:
            return error
        except Exception as error:
            _log.exception("%s: %d writes failed, the first of %s", self._path, len(records), records[0].key)
            return Unavailable(f"the store {self._path} failed: {error}")
        return None

    def _compact(self, floor: int) -> None:
        """No writer waits for it: when it fails, it is tried again with the next batch."""
        try:
            with translating(self._path), _transaction(self._connection):
                self._connection.execute(_SUPERSEDED, (self.floor, floor))
                self._connection.execute(
                    "DELETE FROM history WHERE deleted AND version > ? AND version <= ?", (self.floor, floor)
                )
                self._connection.execute("UPDATE compaction SET floor = ?", (floor,))
        except (Unavailable, Terminal) as error:
            _log.warning("%s was not compacted: %s", self._path, error)
            return
        self.floor = floor


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _values(record: Record) -> tuple[int, str, str, str, str, int, bytes]:
    kind, key = record.kind, record.key
    return (record.version, kind.group, kind.kind, key.namespace, key.name, int(record.deleted), record.data)


def _answer(answers: list[tuple[Done, FuncsError | None]]) -> None:
    for done, error in answers:
        done(error)
