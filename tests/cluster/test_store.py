"""What the store adds to the contract: what returned is on disk, and a full disk loses nothing that was promised."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from funcs.api import catalog, meta
from funcs.api.core import CONFIG_MAP, EVENT
from funcs.api.meta import Object
from funcs.control.client import Selection
from funcs.control.clock import ManualClock
from funcs.control.engine import EngineSettings
from funcs.control.ids import SerialIds
from funcs.errors import Expired, Terminal, Unavailable
from runtimes.cluster.store import StoreClient, StoreSettings, schema


@asynccontextmanager
async def opened(
    directory: Path, window: int = 8192, clock: ManualClock | None = None, queued: int = 1000
) -> AsyncIterator[StoreClient]:
    settings = StoreSettings(window=window, queued=queued, engine=EngineSettings(window=window))
    store = await StoreClient.open(directory, catalog.KINDS, clock or ManualClock(), SerialIds(), settings)
    try:
        yield store
    finally:
        await store.close()


def config(name: str, **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


async def watched(store: StoreClient, version: str, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10), aclosing(store.watch(CONFIG_MAP, resource_version=version)) as events:  # type: ignore[type-var]
        async for event in events:
            found.append(f"{event.type} {meta.name(event.object)}")
            if len(found) == count:
                break
    return found


async def test_everything_is_as_it_was_after_reopening(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(CONFIG_MAP, config("a", x="1"))
        await store.create(CONFIG_MAP, config("b"))
        await store.patch(CONFIG_MAP, "a", {"data": {"x": "2"}})
        await store.delete(CONFIG_MAP, "b")
        before = await store.list(CONFIG_MAP)
    async with opened(tmp_path) as store:
        assert await store.list(CONFIG_MAP) == before
        made = await store.create(CONFIG_MAP, config("c"))
        assert int(meta.resource_version(made)) == int(before.resource_version) + 1


async def test_a_watch_goes_on_where_it_was_after_reopening(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        first = await store.create(CONFIG_MAP, config("a"))
        await store.patch(CONFIG_MAP, "a", {"data": {"x": "2"}})
        await store.delete(CONFIG_MAP, "a")
    async with opened(tmp_path) as store:
        assert await watched(store, meta.resource_version(first), 2) == ["MODIFIED a", "DELETED a"]


async def test_history_is_compacted_and_older_watches_expire(tmp_path: Path) -> None:
    async with opened(tmp_path, window=8) as store:
        first = await store.create(CONFIG_MAP, config("kept"))
        await store.create(CONFIG_MAP, config("gone"))
        await store.delete(CONFIG_MAP, "gone")
        for n in range(60):
            await store.patch(CONFIG_MAP, "kept", {"data": {"n": str(n)}})
        with pytest.raises(Expired):
            await watched(store, meta.resource_version(first), 1)
    connection = sqlite3.connect(tmp_path / "objects.db")
    (rows,) = connection.execute("SELECT count(*) FROM history").fetchone()
    connection.close()
    assert rows <= 3 * 8
    async with opened(tmp_path, window=8) as store:
        found = (await store.list(CONFIG_MAP)).items
        assert [(meta.name(obj), obj["data"]["n"]) for obj in found] == [("kept", "59")]
        with pytest.raises(Expired):
            await watched(store, meta.resource_version(first), 1)
        assert await watched(store, str(store.version - 1), 1) == ["MODIFIED kept"]


async def test_many_writers_share_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        made = await asyncio.gather(*(store.create(CONFIG_MAP, config(f"c-{n}")) for n in range(300)))
        assert sorted(int(meta.resource_version(obj)) for obj in made) == list(range(1, 301))
    async with opened(tmp_path) as store:
        assert len((await store.list(CONFIG_MAP)).items) == 300


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(CONFIG_MAP, config("before"))
        connection = store._objects.log._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = "x" * 100_000
        racing = [
            store.create(CONFIG_MAP, config("big", x=big)),
            store.patch(CONFIG_MAP, "before", {"data": {"a": big}}),
        ]
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
        assert "full" in str(outcomes[0])
        assert [meta.name(obj) for obj in (await store.list(CONFIG_MAP)).items] == ["before"]
        connection.execute("PRAGMA max_page_count = 1000000")
        made = await store.create(CONFIG_MAP, config("after"))
        assert int(meta.resource_version(made)) == 2
    async with opened(tmp_path) as store:
        assert [meta.name(obj) for obj in (await store.list(CONFIG_MAP)).items] == ["after", "before"]


async def test_too_many_waiting_writes_are_refused_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with opened(tmp_path, queued=5) as store:
        racing = (store.create(CONFIG_MAP, config(f"c-{n}")) for n in range(200))
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
        assert refused
        assert "waiting for the disk" in str(refused[0])
        assert len((await store.list(CONFIG_MAP)).items) == 200 - len(refused)
        for n in range(200):
            await store.apply(CONFIG_MAP, config(f"c-{n}"))


async def test_a_cancelled_writer_does_not_take_others_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        tasks = [asyncio.create_task(store.create(CONFIG_MAP, config(f"c-{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, dict) for outcome in outcomes) == 19


async def test_closing_commits_what_is_under_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        writing = asyncio.create_task(store.create(CONFIG_MAP, config("a")))
        await asyncio.sleep(0)
        await store.close()
        await writing
        with pytest.raises(Unavailable):
            await store.create(CONFIG_MAP, config("b"))
    async with opened(tmp_path) as store:
        assert len((await store.list(CONFIG_MAP)).items) == 1


async def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(Unavailable, match="locked") as caught:
            await StoreClient.open(tmp_path, catalog.KINDS, ManualClock(), SerialIds())
        assert "another funcs" in (caught.value.hint or "")


async def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(CONFIG_MAP, config("a"))
    connection = sqlite3.connect(tmp_path / "objects.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Terminal, match="has format 99") as caught:
        await StoreClient.open(tmp_path, catalog.KINDS, ManualClock(), SerialIds())
    assert caught.value.reason == "StoreTooNew"


async def test_an_older_format_is_backed_up_and_brought_forward(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.create(CONFIG_MAP, config("a"))
    path = tmp_path / "objects.db"
    newer = (*schema.MIGRATIONS, "ALTER TABLE history ADD COLUMN more TEXT")
    connection = schema.opened(path, "FULL", newer)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT name, more FROM history").fetchall() == [("a", None)]
    connection.close()
    backup = sqlite3.connect(tmp_path / "objects.db.format-1.backup")
    assert backup.execute("PRAGMA user_version").fetchone() == (1,)
    assert backup.execute("SELECT name FROM history").fetchall() == [("a",)]
    backup.close()


@pytest.mark.parametrize("content", [b"this is no database, and long enough to look at" * 20])
async def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "objects.db").write_bytes(content)
    with pytest.raises(Terminal) as caught:
        await StoreClient.open(tmp_path, catalog.KINDS, ManualClock(), SerialIds())
    assert caught.value.reason == "StoreDamaged"
    assert (tmp_path / "objects.db").read_bytes() == content


async def test_the_files_are_private(tmp_path: Path) -> None:
    async with opened(tmp_path / "store"):
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "store").iterdir()}
    assert set(modes.values()) == {0}, modes


async def test_events_have_a_file_of_their_own_and_do_not_last(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock=clock) as store:
        await store.create(EVENT, {"metadata": {"name": "old"}, "lastTimestamp": meta.timestamp(clock.now())})
        await clock.advance(3000)
        await store.create(EVENT, {"metadata": {"name": "new"}})
        assert store.version == 0
        await clock.advance(700)
        assert await store.expire_events(EVENT) == 1
        assert [meta.name(obj) for obj in (await store.list(EVENT)).items] == ["new"]


WRITER = """
import asyncio, sys
from pathlib import Path
from funcs.api import catalog
from funcs.api.core import CONFIG_MAP
from funcs.control.clock import SystemClock
from funcs.control.ids import RandomIds
from runtimes.cluster.store import StoreClient

async def main():
    store = await StoreClient.open(Path(sys.argv[1]), catalog.KINDS, SystemClock(), RandomIds())
    async def write(worker):
        for n in range(1000):
            made = await store.create(CONFIG_MAP, {"metadata": {"name": f"w{worker}-{n}"}})
            print(made["metadata"]["name"], flush=True)
    await asyncio.gather(*map(write, range(8)))
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    acknowledged: list[str] = []
    try:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 100:
                os.kill(writer.pid, signal.SIGKILL)
    finally:
        writer.kill()
        writer.communicate()
    async with opened(tmp_path) as store:
        kept = {meta.name(obj) for obj in (await store.list(CONFIG_MAP, Selection())).items}
    assert len(acknowledged) >= 100
    assert set(acknowledged) <= kept
