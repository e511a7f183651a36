"""Logs: read back as kubectl asks for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from funcs.control.client import LogOptions
from funcs.errors import BadRequest
from runtimes.cluster.logs import stream_log
from runtimes.cluster.node.shim.crilog import LONGEST, LogFile

POD: dict[str, Any] = {"metadata": {"uid": "u", "name": "p"}, "spec": {"containers": [{"name": "main"}]}}
NOW = 1_700_000_000_000_000_000


def written(directory: Path, text: bytes, limit: int = 1 << 20, step: int = 7) -> LogFile:
    place = directory / "u" / "main"
    place.mkdir(parents=True)
    log = LogFile(str(place / "log"), limit)
    for start in range(0, len(text), step):
        log.feed("stdout", text[start : start + step], NOW)
    return log


async def read(directory: Path, **options: Any) -> bytes:
    return b"".join([chunk async for chunk in stream_log(directory, POD, LogOptions(**options), now=1_700_000_010.0)])


async def test_what_was_said_is_read_back(tmp_path: Path) -> None:
    written(tmp_path, b"one\ntwo\nthree\n")
    assert await read(tmp_path) == b"one\ntwo\nthree\n"
    assert await read(tmp_path, tail_lines=2) == b"two\nthree\n"
    assert await read(tmp_path, tail_lines=0) == b""
    assert await read(tmp_path, limit_bytes=5) == b"one\nt"
    assert (await read(tmp_path, timestamps=True)).startswith(b"2023-11-14T22:13:20.000000000Z one\n")
    assert await read(tmp_path, since_seconds=5) == b""
    assert await read(tmp_path, since_seconds=15) == b"one\ntwo\nthree\n"


async def test_a_line_longer_than_a_record_is_one_line_again(tmp_path: Path) -> None:
    line = b"x" * (3 * LONGEST + 5)
    written(tmp_path, b"a\n" + line + b"\nz\n", step=5000)
    assert await read(tmp_path) == b"a\n" + line + b"\nz\n"
    assert await read(tmp_path, tail_lines=2) == line + b"\nz\n"


async def test_a_log_keeps_to_its_size(tmp_path: Path) -> None:
    written(tmp_path, b"0123456789\n" * 1000, limit=4096, step=11)
    sizes = [path.stat().st_size for path in (tmp_path / "u" / "main").iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 4096
    assert (await read(tmp_path)).endswith(b"0123456789\n")


async def test_following_ends_with_the_container_and_misses_nothing(tmp_path: Path) -> None:
    log = written(tmp_path, b"one\n", limit=300)
    heard: list[bytes] = []

    async def follow() -> None:
        async for chunk in stream_log(tmp_path, POD, LogOptions(follow=True)):
            heard.append(chunk)

    async with asyncio.timeout(10):
        following = asyncio.create_task(follow())
        for number in range(20):
            log.feed("stdout", f"line {number}\n".encode(), NOW)
            while f"line {number}\n".encode() not in b"".join(heard):
                await asyncio.sleep(0.001)
        (tmp_path / "u" / "main" / "status.json").write_text('{"state": "exited"}')
        await following
    assert b"".join(heard) == b"one\n" + b"".join(f"line {number}\n".encode() for number in range(20))


async def test_a_container_that_has_not_started_is_said_to_be_waiting(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match='container "main" in pod "p" is waiting to start: ContainerCreating'):
        await read(tmp_path)
