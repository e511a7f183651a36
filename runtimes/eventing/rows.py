"""The log's SQL: entries and changes as rows, and back.

Law: `commit` is all or nothing; the newest batch is never trimmed, so that sequence numbers are not used twice. Every
function is called on the thread that has the connection. IO: SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from .log import (
    Change,
    DeadLetter,
    DropDeadLetter,
    DropFailure,
    Entry,
    Failure,
    Forget,
    Recollection,
    Retention,
    SaveCursor,
    SaveDeadLetter,
    SaveFailure,
)
from .schema import Connection

_PAGE_BYTES = 8 * 1024 * 1024
_Record = tuple[int, str, float, int, bytes, bytes]
_decoder = msgspec.msgpack.Decoder(list[_Record])


def commit(connection: Connection, entries: Sequence[Entry], works: Iterable[Callable[[Connection], Any]]) -> list[Any]:
    """Append the entries as one row, do the works, in one transaction. What the works returned."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if entries:
            _append(connection, entries)
        results = [work(connection) for work in works]
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    return results


def _append(connection: Connection, entries: Sequence[Entry]) -> None:
    records = [(entry.seq, entry.broker, entry.at, entry.ttl, entry.head, entry.data) for entry in entries]
    connection.execute(
        "INSERT INTO batch (first, last, at, size, events) VALUES (?, ?, ?, ?, ?)",
        (
            entries[0].seq,
            entries[-1].seq,
            entries[-1].at,
            sum(entry.size for entry in entries),
            msgspec.msgpack.encode(records),
        ),
    )


def _roll_back(connection: Connection) -> None:
    """SQLite has rolled back by itself after some errors, a full disk among them."""
    if getattr(connection, "in_transaction", False):
        connection.execute("ROLLBACK")


def extent(connection: Connection) -> tuple[int, int]:
    """The newest sequence number, and the bytes of events held."""
    ((last, size),) = connection.execute("SELECT coalesce(max(last), 0), coalesce(sum(size), 0) FROM batch")
    return last, size


def read(connection: Connection, after: int, most: int) -> list[Entry]:
    """Entries after `after`, oldest first; whole batches stop being read beyond a page's bytes."""
    found: list[Entry] = []
    size = 0
    for (blob,) in connection.execute(
        "SELECT events FROM batch WHERE first >= "
        "(SELECT coalesce(max(first), 0) FROM batch WHERE first <= ?) AND last > ? ORDER BY first",
        (after + 1, after),
    ):
        entries = [Entry(*record) for record in _decoder.decode(blob) if record[0] > after]
        found += entries[: most - len(found)]
        size += len(blob)
        if len(found) >= most or size >= _PAGE_BYTES:
            break
    return found


def save(connection: Connection, changes: Iterable[Change]) -> None:
    for change in changes:
        _save(connection, change)


def _save(connection: Connection, change: Change) -> None:
    match change:
        case SaveCursor(trigger, cursor):
            connection.execute("INSERT OR REPLACE INTO cursor (trigger, cursor) VALUES (?, ?)", (trigger, cursor))
        case SaveFailure(failure):
            connection.execute(
                "INSERT OR REPLACE INTO failure (trigger, seq, tries, due, error) VALUES (?, ?, ?, ?, ?)",
                (failure.trigger, failure.seq, failure.tries, failure.due, failure.error),
            )
        case DropFailure(trigger, seq):
            connection.execute("DELETE FROM failure WHERE trigger = ? AND seq = ?", (trigger, seq))
        case SaveDeadLetter(letter):
            connection.execute(
                "INSERT OR REPLACE INTO dead_letter (trigger, seq, at, destination, code, data, broker, head, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (letter.trigger, letter.seq, letter.at, letter.destination, letter.code, letter.data,
                 letter.broker, letter.head, letter.body),
            )  # fmt: skip
        case DropDeadLetter(id):
            connection.execute("DELETE FROM dead_letter WHERE id = ?", (id,))
        case Forget(trigger):
            connection.execute("DELETE FROM cursor WHERE trigger = ?", (trigger,))
            connection.execute("DELETE FROM failure WHERE trigger = ?", (trigger,))


def recall(connection: Connection, trigger: str) -> Recollection:
    cursors = list(connection.execute("SELECT cursor FROM cursor WHERE trigger = ?", (trigger,)))
    owed = connection.execute("SELECT seq, tries, due, error FROM failure WHERE trigger = ? ORDER BY seq", (trigger,))
    failures = [Failure(trigger=trigger, seq=row[0], tries=row[1], due=row[2], error=row[3]) for row in owed]
    return Recollection(cursors[0][0] if cursors else None, tuple(failures))


def triggers(connection: Connection) -> list[str]:
    return [trigger for (trigger,) in connection.execute("SELECT trigger FROM cursor ORDER BY trigger")]


def dead_letters(connection: Connection, after: int, most: int) -> list[DeadLetter]:
    found = connection.execute(
        "SELECT id, trigger, seq, at, destination, code, data, broker, head, body FROM dead_letter "
        "WHERE id > ? ORDER BY id LIMIT ?",
        (after, most),
    )
    names = ("id", "trigger", "seq", "at", "destination", "code", "data", "broker", "head", "body")
    return [DeadLetter(**dict(zip(names, row, strict=True))) for row in found]


def trim(connection: Connection, below: int, retention: Retention, now: float) -> int:
    """Drop the oldest batches that are done with and not kept. Bytes freed."""
    _, held = extent(connection)
    cut, freed = 0, 0
    batches = connection.execute(
        "SELECT last, at, size FROM batch WHERE last <= ? AND first < (SELECT max(first) FROM batch) ORDER BY first",
        (below,),
    )
    for last, at, size in batches:
        if at > now - retention.seconds and held - freed <= retention.size:
            break
        cut, freed = last, freed + size
    if cut:
        connection.execute("DELETE FROM batch WHERE last <= ?", (cut,))
    return freed
