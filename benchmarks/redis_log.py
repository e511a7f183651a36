"""An event log in a Redis stream, for comparison: `appendfsync always`, pipelined, grouped as the SQLite log groups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from runtimes.eventing.event import Event
from runtimes.eventing.log import Change, DeadLetter, Entry, Recollection, Retention, SaveCursor

Pending = tuple[str, Event, float, asyncio.Future[int]]


@asynccontextmanager
async def redis_log(scratch: Path) -> AsyncIterator[RedisLog]:
    path = scratch / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(scratch), "--save", "",
               "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        reader, writer = await connected(path)
        yield RedisLog(reader, writer)
        writer.close()
    finally:
        process.terminate()
        await process.wait()


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(100):
        try:
            return await asyncio.open_unix_connection(path)
        except OSError:
            await asyncio.sleep(0.05)
    raise RuntimeError("redis-server did not start")


class RedisLog:
    """As much of an EventLog as the benchmark's broker uses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._listeners: list[Callable[[Sequence[tuple[Entry, Event]]], None]] = []
        self._pending: list[Pending] = []
        self._task: asyncio.Task[None] | None = None
        self._connection = asyncio.Lock()
        self.last = 0
        self.size = 0

    def append(self, broker: str, event: Event, at: float) -> asyncio.Future[int]:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending.append((broker, event, at, accepted))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit())
        return accepted

    async def _commit(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:1024], self._pending[1024:]
            entries = [
                Entry(self.last + number, broker, at, event.ttl, event.head(), event.data)
                for number, (broker, event, at, _) in enumerate(batch, 1)
            ]
            await self._pipeline(
                [(b"XADD", b"log", b"%d-1" % entry.seq, b"h", entry.head, b"d", entry.data) for entry in entries]
            )
            self.last = entries[-1].seq
            for listener in self._listeners:
                listener([(entry, event) for entry, (_, event, _, _) in zip(entries, batch, strict=True)])
            for entry, (_, _, _, accepted) in zip(entries, batch, strict=True):
                accepted.set_result(entry.seq)

    async def _pipeline(self, commands: Sequence[tuple[bytes, ...]]) -> None:
        """Each command has an answer of one line, or of a length and a line."""
        parts: list[bytes] = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
        async with self._connection:
            self._writer.write(b"".join(parts))
            for _ in commands:
                line = await self._reader.readline()
                if line.startswith(b"$"):
                    await self._reader.readexactly(int(line[1:]) + 2)
                elif line.startswith(b"-"):
                    raise RuntimeError(line.decode())

    def follow(self, listener: Callable[[Sequence[tuple[Entry, Event]]], None]) -> None:
        self._listeners.append(listener)

    async def save(self, *changes: Change) -> None:
        cursors = [change for change in changes if isinstance(change, SaveCursor)]
        await self._pipeline([(b"HSET", b"cursors", change.trigger.encode(), change.cursor) for change in cursors])

    async def read(self, after: int, *, most: int = 256) -> Sequence[Entry]:
        raise RuntimeError("the window is to be large enough for this benchmark")

    async def recall(self, trigger: str) -> Recollection:
        return Recollection(None)

    async def triggers(self) -> Sequence[str]:
        return ()

    async def dead_letters(self, *, after: int = 0, most: int = 256) -> Sequence[DeadLetter]:
        return ()

    async def trim(self, below: int, retention: Retention, now: float) -> int:
        return 0
