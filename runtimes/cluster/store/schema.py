"""The store's files: opening, format, migration.

Law: a database says which format it has (`user_version`) and whose it is (`application_id`). An older format is backed
up beside the file and migrated forward; a newer one, or a file that is not ours, is refused and left as it is. The IO
is SQLite's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from funcs.errors import Terminal, Unavailable

APPLICATION = 0x66756E63  # "func"

# Each takes the format of its index to the next: the first makes an empty database.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE history (
        version INTEGER PRIMARY KEY,
        "group" TEXT NOT NULL,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        deleted INTEGER NOT NULL,
        data BLOB NOT NULL
    ) STRICT;
    CREATE INDEX history_by_key ON history ("group", kind, namespace, name, version);
    CREATE TABLE compaction (floor INTEGER NOT NULL) STRICT;
    INSERT INTO compaction VALUES (0);
    """,
)


def opened(path: Path, synchronous: str, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """A connection that owns the file until it is closed. Raises Terminal, Unavailable."""
    with translating(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        with translating(path):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            _own(connection)
            _bring_forward(connection, path, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        locked = "locked" in str(error)
        hint = "Is another funcs running on this directory?" if locked else "Free space, or make the file writable."
        raise Unavailable(f"the store {path} cannot be used: {error}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise Terminal(
            f"the store {path} is damaged or not a database: {error}",
            reason="StoreDamaged",
            hint="Restore it from a backup, or move it away to begin anew.",
        ) from error
    except OSError as error:
        raise Unavailable(f"the store {path} cannot be opened: {error.strerror}") from error


def _own(connection: sqlite3.Connection) -> None:
    """Take the lock that exclusive locking then keeps."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")


def _bring_forward(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and owner != APPLICATION:
        raise Terminal(f"{path} is a database, but not of funcs", reason="StoreDamaged", hint="Move it away.")
    if found > len(migrations):
        raise Terminal(
            f"the store {path} has format {found}; this funcs knows formats up to {len(migrations)}",
            reason="StoreTooNew",
            hint="Use the newer funcs that wrote it, or another state directory.",
        )
    if found == len(migrations):
        return
    if tables:
        _back_up(connection, path.with_name(f"{path.name}.format-{found}.backup"))
    for step in range(found, len(migrations)):
        connection.executescript(
            f"BEGIN; {migrations[step]}; PRAGMA application_id = {APPLICATION}; "
            f"PRAGMA user_version = {step + 1}; COMMIT;"
        )


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT, 0o600))
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
