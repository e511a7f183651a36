"""The durable broker against the same front on Redis with `appendfsync always`: deliveries a second, 64 producers.

Both are the whole broker (front door, dispatcher with cursors and retries, one Trigger) in a process of its own; only
the log differs: ours in SQLite, or a Redis stream, pipelined and grouped just as ours is. Rounds alternate and medians
are compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from runtimes.http.loop import new_event_loop
from runtimes.http.message import Request, Response
from runtimes.http.server import serve

from .harness import ROOT, Bench, Row, Skipped

PRODUCERS, EVENTS, ROUNDS = 64, 20_000, 3
DATA = b"x" * 1024
EVENT = (
    b"POST /default/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-source: /bench\r\nce-type: t\r\n"
    b"ce-id: %d\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n" + DATA
)


async def rows(bench: Bench) -> list[Row]:
    if shutil.which("redis-server") is None:
        raise Skipped("redis-server is not installed")
    rates: dict[str, list[float]] = {"sqlite": [], "redis": []}
    for _ in range(ROUNDS):
        for kind, measured in rates.items():
            with tempfile.TemporaryDirectory(dir=bench.cache) as scratch:
                measured.append(await asyncio.to_thread(one_round, kind, Path(scratch)))
    ours, theirs = (statistics.median(rates[kind]) for kind in ("sqlite", "redis"))
    ratios = [one / other for one, other in zip(rates["sqlite"], rates["redis"], strict=True)]
    return [
        Row(
            name=f"broker, {PRODUCERS} producers", peer="the same on Redis", ours=ours, theirs=theirs, unit="events/s",
            budget=1.5, spread=(min(ratios), max(ratios)),
        )
    ]  # fmt: skip


def one_round(kind: str, scratch: Path) -> float:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(round_of(kind, scratch))


async def round_of(kind: str, scratch: Path) -> float:
    """Deliveries a second, from the first event sent to the last delivered."""
    done = asyncio.Event()
    seen = 0

    def deliver(request: Request) -> Response:
        nonlocal seen
        seen += 1
        if seen == EVENTS:
            done.set()
        return Response(200)

    sink_socket = bound()
    sink = await serve(deliver, sink_socket)
    front = bound()
    url = f"http://127.0.0.1:{sink_socket.getsockname()[1]}/"
    async with broker(kind, scratch, front, url):
        await ready(front.getsockname()[1])
        started = time.perf_counter()
        share = EVENTS // PRODUCERS
        await asyncio.gather(
            *[produce(front.getsockname()[1], share + (n < EVENTS % PRODUCERS)) for n in range(PRODUCERS)]
        )
        await asyncio.wait_for(done.wait(), 60)
        taken = time.perf_counter() - started
    await sink.close()
    front.close()
    return EVENTS / taken


def bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@contextlib.asynccontextmanager
async def broker(kind: str, scratch: Path, front: socket.socket, url: str) -> AsyncIterator[None]:
    front.listen(1024)
    command = [sys.executable, "-m", "benchmarks.broker_process", kind, str(scratch), str(front.fileno()), url]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, pass_fds=[front.fileno()])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def ready(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await asyncio.sleep(0.5)  # for the Trigger to be programmed


async def produce(port: int, count: int) -> None:
    """Events one after another, each once the one before is accepted."""
    loop = asyncio.get_running_loop()
    producer = Producer(count, loop.create_future())
    await loop.create_connection(lambda: producer, "127.0.0.1", port)
    await producer.finished


class Producer(asyncio.Protocol):
    def __init__(self, count: int, finished: asyncio.Future[None]) -> None:
        self._left = count
        self.finished = finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 202"):
            self.finished.set_exception(RuntimeError(data[:200].decode()))
        elif data.endswith(b"\r\n\r\n"):
            self._send()

    def _send(self) -> None:
        if self._left == 0:
            self._transport.close()
            self.finished.set_result(None)
            return
        self._left -= 1
        self._transport.write(EVENT % self._left)  # type: ignore[attr-defined]
