"""The log's file: its format number, and how an older one becomes this one.

Law: a file carries its format in `PRAGMA user_version`; an older one is backed up beside itself and migrated forward, a
newer one is refused. One process at a time holds it. IO: SQLite and the lock file.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from funcs.errors import Conflict, Terminal, Unavailable, Unsupported

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE batch (
        first INTEGER PRIMARY KEY, last INTEGER NOT NULL, at REAL NOT NULL, size INTEGER NOT NULL, events BLOB NOT NULL
    );
    CREATE TABLE cursor (trigger TEXT PRIMARY KEY, cursor BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE failure (
        trigger TEXT NOT NULL, seq INTEGER NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL, error TEXT NOT NULL,
        PRIMARY KEY (trigger, seq)
    ) WITHOUT ROWID;
    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trigger TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
        destination TEXT NOT NULL, code INTEGER NOT NULL, data BLOB NOT NULL,
        broker TEXT NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL, UNIQUE (trigger, seq)
    );
    """,
)


class Connection(Protocol):
    """What the log needs of a database connection; `sqlite3` and `apsw` both have it."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Iterable[tuple[Any, ...]]: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...

    def close(self) -> None: ...


Connect = Callable[[Path], Connection]


def connect(path: Path) -> Connection:
    """A connection for any one thread at a time, without transactions of its own making."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


def lock(path: Path) -> IO[bytes]:
    """Hold the file for this process until closed. Raises Conflict when another process has it."""
    held = Path(f"{path}.lock").open("ab")  # noqa: SIM115 - lives as long as the log
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise Conflict(
            f"{path} is in use by another process", reason="LogInUse", hint="Stop the other broker first."
        ) from error
    return held


def open_log(path: Path, connect: Connect = connect, migrations: Sequence[str] = MIGRATIONS) -> Connection:
    """A writing connection to a file of the present format. Raises Unsupported (it is newer), Terminal, Unavailable."""
    new = not path.exists()
    with _translating(path):
        connection = _opened(path, connect, migrations)
    if new:
        _sync_directory(path.parent)
    return connection


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "Free space, or make the file writable."
        raise Unavailable(f"the event log {path} cannot be used: {error}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise Terminal(
            f"the event log {path} is damaged or not a database: {error}",
            reason="StoreDamaged",
            hint="Restore it from a backup, or move it away to begin anew: events not yet delivered are in it.",
        ) from error


def _opened(path: Path, connect: Connect, migrations: Sequence[str]) -> Connection:
    connection = connect(path)
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=2000",
            "journal_size_limit=67108864",
        ):
            list(connection.execute(f"PRAGMA {pragma}"))
        _migrate(path, connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(path: Path, connection: Connection, migrations: Sequence[str]) -> None:
    ((found,),) = connection.execute("PRAGMA user_version")
    if found > len(migrations):
        raise Unsupported(
            f"{path} has format {found}; this version knows formats up to {len(migrations)}",
            reason="NewerFormat",
            hint="Run the version of funcs that wrote it, or a newer one.",
        )
    if 0 < found < len(migrations):
        _back_up(connection, Path(f"{path}.format{found}"))
    for number, script in enumerate(migrations[found:], found + 1):
        _in_transaction(connection, [*_statements(script), f"PRAGMA user_version={number}"])


def _back_up(connection: Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    list(connection.execute("VACUUM INTO ?", (str(target),)))


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";") if statement.strip()]


def _in_transaction(connection: Connection, statements: Iterable[str]) -> None:
    list(connection.execute("BEGIN IMMEDIATE"))
    try:
        for statement in statements:
            list(connection.execute(statement))
    except BaseException:
        list(connection.execute("ROLLBACK"))
        raise
    list(connection.execute("COMMIT"))


def _sync_directory(directory: Path) -> None:
    """So that a power cut cannot lose the file's name."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
