"""The event log keeps what it accepted, in order, and gives each client its own answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from funcs.errors import Conflict, Terminal, Unavailable, Unsupported
from runtimes.eventing.log import (
    Backlogged,
    DeadLetter,
    DropDeadLetter,
    DropFailure,
    Failure,
    Forget,
    LogFull,
    Retention,
    SaveCursor,
    SaveDeadLetter,
    SaveFailure,
)
from runtimes.eventing.schema import MIGRATIONS, Connection, connect, open_log
from runtimes.eventing.sqlite import LogSettings, SqliteLog

from .events import an_event

NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest_asyncio.fixture
async def log(path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(path)
    yield opened
    await opened.close()


async def append(log: SqliteLog, *numbers: int, broker: str = "default/default", at: float = NOW) -> list[int]:
    return list(await asyncio.gather(*[log.append(broker, an_event(number), at) for number in numbers]))


async def test_what_was_appended_is_read_in_order(log: SqliteLog) -> None:
    assert await append(log, *range(1, 6)) == [1, 2, 3, 4, 5]
    entries = await log.read(2, most=2)
    assert [(entry.seq, entry.attributes()["id"]) for entry in entries] == [(3, "3"), (4, "4")]
    assert entries[0].data == b'{"number": 3}'
    assert await log.read(5) == []


async def test_events_survive_closing(path: Path) -> None:
    first = await SqliteLog.open(path)
    await append(first, 1, 2)
    await append(first, 3)
    await first.close()
    second = await SqliteLog.open(path)
    assert (second.last, second.size) == (3, first.size)
    assert await append(second, 4) == [4]
    assert [entry.seq for entry in await second.read(0)] == [1, 2, 3, 4]
    await second.close()


async def test_many_producers_share_few_commits(log: SqliteLog) -> None:
    commits: list[int] = []
    log.follow(lambda events: commits.append(len(events)))
    await append(log, *range(500))
    assert sum(commits) == 500
    assert len(commits) < 5


async def test_a_cancelled_client_cancels_nobody_else(log: SqliteLog) -> None:
    futures = [log.append("default/default", an_event(number), NOW) for number in range(3)]
    futures[1].cancel()
    assert [await futures[0], await futures[2]] == [1, 2]
    assert [entry.attributes()["id"] for entry in await log.read(0)] == ["0", "2"]


async def test_followers_hear_of_every_commit_before_the_client_does(log: SqliteLog) -> None:
    heard: list[int] = []
    log.follow(lambda events: heard.extend(entry.seq for entry, _ in events))
    (seq,) = await append(log, 1)
    assert heard == [seq]


async def test_what_a_trigger_is_owed_is_recalled(log: SqliteLog) -> None:
    failure = Failure(trigger="t", seq=7, tries=2, due=NOW, error="503")
    await log.save(
        SaveCursor("t", b"x"), SaveFailure(failure), SaveFailure(Failure(trigger="t", seq=8, tries=1, due=1.0))
    )
    await log.save(DropFailure("t", 8))
    recalled = await log.recall("t")
    assert (recalled.cursor, recalled.failures) == (b"x", (failure,))
    assert await log.triggers() == ["t"]
    await log.save(Forget("t"))
    assert (await log.recall("t")).cursor is None
    assert (await log.recall("t")).failures == ()


async def test_dead_letters_rest_until_dropped(log: SqliteLog) -> None:
    letter = DeadLetter(
        trigger="t", seq=1, at=NOW, destination="http://x/", code=500, data=b"why", broker="a/b", head=b"h", body=b"d"
    )
    await log.save(SaveDeadLetter(letter))
    (found,) = await log.dead_letters()
    assert (found.destination, found.code, found.data, found.body) == ("http://x/", 500, b"why", b"d")
    await log.save(DropDeadLetter(found.id))
    assert await log.dead_letters() == []


async def test_a_full_disk_refuses_and_recovers(path: Path) -> None:
    writers: list[Connection] = []

    def tight(at: Path) -> Connection:
        writers.append(connect(at))
        return writers[-1]

    log = await SqliteLog.open(path, connect=tight)
    writers[0].execute("PRAGMA max_page_count=40")
    events = [an_event(number, blob="x" * 8000) for number in range(50)]
    answers = [await asyncio.gather(log.append("a/b", event, NOW), return_exceptions=True) for event in events]
    accepted = [
        event.attributes["id"] for event, (answer,) in zip(events, answers, strict=True) if isinstance(answer, int)
    ]
    assert isinstance(answers[-1][0], LogFull)
    with pytest.raises(LogFull):
        await log.save(SaveCursor("t", b"x" * 20_000))
    writers[0].execute("PRAGMA max_page_count=100000")
    await append(log, 999)
    assert [entry.attributes()["id"] for entry in await log.read(0)] == [*accepted, "999"]
    await log.close()


async def test_the_bound_on_the_log_is_back_pressure(path: Path) -> None:
    log = await SqliteLog.open(path, LogSettings(size=350))
    await append(log, *range(4))
    await append(log, 5)
    with pytest.raises(Backlogged, match="wait for their subscribers"):
        log.append("a/b", an_event(6), NOW)
    await log.trim(log.last, Retention(seconds=0, size=0), NOW)
    await append(log, 7)
    await log.close()


async def test_too_many_waiting_are_refused(path: Path) -> None:
    log = await SqliteLog.open(path, LogSettings(waiting=2))
    accepted = [log.append("a/b", an_event(number), NOW) for number in range(2)]
    with pytest.raises(Backlogged, match="2 events wait"):
        log.append("a/b", an_event(3), NOW)
    await asyncio.gather(*accepted)
    await log.close()


@pytest.mark.parametrize(
    ("below", "retention", "left"),
    [
        pytest.param(3, Retention(seconds=0, size=0), [4], id="what is done with goes"),
        pytest.param(2, Retention(seconds=0, size=0), [3, 4], id="what is not done with stays"),
        pytest.param(4, Retention(seconds=0, size=0), [4], id="the newest stays"),
        pytest.param(3, Retention(seconds=250, size=10_000), [2, 3, 4], id="what is young stays"),
        pytest.param(3, Retention(seconds=1000, size=250), [3, 4], id="unless there is too much of it"),
    ],
)
async def test_trimming(log: SqliteLog, below: int, retention: Retention, left: list[int]) -> None:
    for number, age in ((1, 300), (2, 200), (3, 100), (4, 0)):
        await append(log, number, at=NOW - age)
    freed = await log.trim(below, retention, NOW)
    entries = await log.read(0)
    assert [entry.seq for entry in entries] == left
    assert freed == sum(entry.size for entry in entries) / len(entries) * (4 - len(left))
    assert log.size == sum(entry.size for entry in entries)


async def test_one_process_at_a_time(log: SqliteLog, path: Path) -> None:
    with pytest.raises(Conflict, match="in use by another process"):
        await SqliteLog.open(path)


async def test_a_closed_log_refuses(path: Path) -> None:
    log = await SqliteLog.open(path)
    waiting = log.append("a/b", an_event(1), NOW)
    await log.close()
    assert await waiting == 1
    with pytest.raises(Unavailable, match="closing"):
        log.append("a/b", an_event(2), NOW)


def test_a_newer_format_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Unsupported, match=r"has format 99; this version knows formats up to \d+"):
        open_log(path)


def test_an_older_format_is_backed_up_and_migrated(path: Path) -> None:
    open_log(path).close()
    later = (*MIGRATIONS, "ALTER TABLE cursor ADD COLUMN note TEXT; CREATE TABLE extra (a INTEGER)")
    connection = open_log(path, migrations=later)
    assert list(connection.execute("PRAGMA user_version")) == [(len(later),)]
    connection.execute("INSERT INTO cursor (trigger, cursor, note) VALUES ('t', x'', 'n')")
    connection.close()
    backup = sqlite3.connect(f"{path}.format{len(MIGRATIONS)}")
    assert backup.execute("SELECT count(*) FROM cursor").fetchall() == [(0,)]
    backup.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    open_log(path).close()
    with pytest.raises(Unavailable):
        open_log(path, migrations=(*MIGRATIONS, "CREATE TABLE extra (a INTEGER); ALTER TABLE nothing ADD COLUMN x"))
    connection = open_log(path)
    assert list(connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'")) == [(0,)]
    connection.close()


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"not a database at all")
    with pytest.raises(Terminal, match=r"damaged or not a database") as refused:
        open_log(path)
    assert refused.value.reason == "StoreDamaged"
    assert path.read_bytes() == b"not a database at all"
