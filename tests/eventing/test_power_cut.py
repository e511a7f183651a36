"""No accepted event is lost: neither to a power cut nor to kill -9.

A power cut is simulated: every write and sync that SQLite makes is recorded; at any moment between two of them the disk
may hold what was synced, and of the rest any part. kill -9 is the real thing.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from runtimes.eventing import rows
from runtimes.eventing.schema import connect, open_log
from runtimes.eventing.sqlite import SqliteLog

from .events import an_event

ROOT = Path(__file__).parents[2]


class Recorder(apsw.VFS):
    """A file system that writes down what is done to it."""

    def __init__(self) -> None:
        super().__init__("recording", "")
        self.trace: list[tuple[Any, ...]] = []

    def xOpen(self, name: Any, flags: Any) -> File:  # noqa: N802 - SQLite's name
        return File(self.trace, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self.trace.append(("delete", Path(name).name))
        super().xDelete(name, sync)


class File(apsw.VFSFile):
    def __init__(self, trace: list[tuple[Any, ...]], name: Any, flags: Any) -> None:
        super().__init__("", name, flags)
        self.trace = trace
        self.name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.trace.append(("write", self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.trace.append(("sync", self.name))
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.trace.append(("truncate", self.name, size))
        super().xTruncate(size)


class Disk:
    """What a disk holds after a part of a trace: per file what is synced, and what may or may not have arrived."""

    def __init__(self) -> None:
        self.durable: dict[str, bytearray] = {}
        self.pending: dict[str, list[tuple[Any, ...]]] = {}

    def replay(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("sync", name):
                for pending in self.pending.pop(name, []):
                    self._apply(pending)
            case ("delete", name):
                self.durable.pop(name, None)
                self.pending.pop(name, None)
            case ("write" | "truncate", name, *_):
                self.pending.setdefault(name, []).append(step)

    def cut(self, chance: random.Random) -> dict[str, bytearray]:
        for pending in self.pending.values():
            for step in pending:
                if chance.random() < 0.5:
                    self._apply(step)
        return self.durable

    def _apply(self, step: tuple[Any, ...]) -> None:
        data = self.durable.setdefault(step[1], bytearray())
        if step[0] == "truncate":
            del data[step[2] :]
            return
        data.extend(bytes(max(0, step[2] - len(data))))
        data[step[2] : step[2] + len(step[3])] = step[3]


async def recorded(directory: Path, chance: random.Random, synchronous: str) -> list[tuple[Any, ...]]:
    """What a log did to its disk, and when it told clients that their events were accepted."""
    recorder = Recorder()
    directory.mkdir()
    log = await SqliteLog.open(directory / "log.db", connect=lambda path: apsw.Connection(str(path), vfs="recording"))
    log._writer.execute(f"PRAGMA synchronous={synchronous}")
    log._writer.execute("PRAGMA wal_autocheckpoint=20")
    for number in range(40):
        appended = [log.append("a/b", an_event(number), 0.0) for _ in range(chance.randint(1, 5))]
        recorder.trace += [("accepted", seq) for seq in await asyncio.gather(*appended)]
    trace = list(recorder.trace)
    await log.close()
    return trace


def lost_in_a_cut(trace: list[tuple[Any, ...]], directory: Path, chance: random.Random) -> set[int]:
    """Which accepted events a log opened after a power cut, at some moment, does not have."""
    first = next(at for at, step in enumerate(trace) if step[0] == "accepted")
    before = trace[: chance.randint(first, len(trace))]
    disk = Disk()
    for step in before:
        disk.replay(step)
    directory.mkdir()
    for name, data in disk.cut(chance).items():
        (directory / name).write_bytes(data)
    connection = open_log(directory / "log.db")
    found = {entry.seq for entry in rows.read(connection, 0, 1_000_000)}
    assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
    connection.close()
    return {step[1] for step in before if step[0] == "accepted"} - found


@pytest.mark.parametrize("seed", range(4))
async def test_a_power_cut_loses_no_accepted_event(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    trace = await recorded(tmp_path / "before", chance, "FULL")
    for number in range(50):
        assert lost_in_a_cut(trace, tmp_path / f"after{number}", chance) == set()


async def test_the_simulation_does_lose_what_was_not_synced(tmp_path: Path) -> None:
    chance = random.Random(0)
    trace = await recorded(tmp_path / "before", chance, "NORMAL")
    assert any(lost_in_a_cut(trace, tmp_path / f"after{number}", chance) for number in range(50))


_APPENDER = """
import asyncio, sys
from pathlib import Path
from runtimes.eventing.sqlite import SqliteLog
from tests.eventing.events import an_event

async def produce(log, first):
    for number in range(first, 10**9, 16):
        await log.append("a/b", an_event(number), 0.0)
        print(number, flush=True)

async def main():
    log = await SqliteLog.open(Path(sys.argv[1]))
    await asyncio.gather(*[produce(log, first) for first in range(16)])

asyncio.run(main())
"""


def test_kill_9_loses_no_accepted_event(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    process = subprocess.Popen(
        [sys.executable, "-c", _APPENDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        accepted = {process.stdout.readline().strip() for _ in range(2000)}
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait(timeout=10)
    accepted |= set(rest.splitlines()[:-1])
    connection = connect(path)
    found: set[str] = set()
    after = 0
    while page := rows.read(connection, after, 10_000):
        found |= {entry.attributes()["id"] for entry in page}
        after = page[-1].seq
    connection.close()
    assert len(accepted) >= 1999
    assert accepted <= found
