"""The broker process: nothing that was accepted is lost, whatever happens to the process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .net import listening, subscriber, until

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def process(log: Path, sock: socket.socket, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A broker on a socket that outlives it, as under the supervisor."""
    sock.listen(1024)
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.eventing.process", str(log), str(sock.fileno()), url,
        cwd=ROOT, pass_fds=[sock.fileno()],
    )  # fmt: skip
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def publish(port: int, accepted: set[str], name: str) -> None:
    """Send events one after another, each until it is accepted, noting those that were."""
    number = 0
    while True:
        number += 1
        event = f"{name}-{number}"
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not await post(port, event):
                await asyncio.sleep(0.02)
            accepted.add(event)


async def post(port: int, id: str) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /default/default HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n"
            b"ce-specversion: 1.0\r\nce-source: /s\r\nce-type: t\r\nce-id: %b\r\n\r\n" % id.encode()
        )
        async with asyncio.timeout(10):
            return (await reader.readuntil(b"\r\n")).split()[1] == b"202"
    finally:
        writer.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_no_accepted_event_is_lost(tmp_path: Path, end: signal.Signals) -> None:
    accepted: set[str] = set()
    sock = listening()
    port = sock.getsockname()[1]
    async with subscriber() as sub:
        async with asyncio.TaskGroup() as tasks:
            publishers = [tasks.create_task(publish(port, accepted, str(number))) for number in range(4)]
            for enough in (100, 200):
                async with process(tmp_path / "log.db", sock, sub.url) as running:
                    await until(lambda enough=enough: len(accepted) >= enough, 20)  # type: ignore[misc]
                    running.send_signal(end)
                    code = await asyncio.wait_for(running.wait(), 15)
                    assert code == (0 if end == signal.SIGTERM else -end)
            for publisher in publishers:
                publisher.cancel()
        async with process(tmp_path / "log.db", sock, sub.url):
            await until(lambda: accepted <= set(sub.ids), 20)
    sock.close()
    assert len(accepted) >= 200
