# ruff: noqa: E501 - tables read best in rows
"""The broker's front door, asked with raw requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from funcs.control.clock import ManualClock
from runtimes.eventing.ingress import Ingress
from runtimes.eventing.sqlite import LogSettings, SqliteLog
from runtimes.http.server import serve
from runtimes.http.settings import Limits

from .net import listening, raw

BINARY = b"ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n"
STRUCTURED = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}}).encode()


@dataclass
class Door:
    port: int
    log: SqliteLog

    async def post(self, path: str, headers: bytes = BINARY, body: bytes = b"{}", method: str = "POST") -> bytes:
        request = b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n%b\r\n%b"
        return await raw(self.port, request % (method.encode(), path.encode(), len(body), headers, body))


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    log = await SqliteLog.open(tmp_path / "log.db", LogSettings(size=20_000))
    sock = listening()
    server = await serve(Ingress(log, {"default/default"}, ManualClock()), sock, limits=Limits(body=1000))
    yield Door(sock.getsockname()[1], log)
    await server.close()
    await log.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "says"),
    [
        pytest.param("POST", "/default/default", BINARY, b"{}", 202, b"", id="binary"),
        pytest.param("POST", "/default/default/", BINARY, b"{}", 202, b"", id="a slash at the end"),
        pytest.param("POST", "/default/default", b"content-type: application/cloudevents+json\r\n", STRUCTURED, 202, b"", id="structured"),
        pytest.param("POST", "/default/default", b"content-type: application/cloudevents-batch+json\r\n", b"[]", 400, b"batches are not accepted", id="batch"),
        pytest.param("POST", "/default/default", b"", b"{}", 400, b"not a CloudEvent", id="no event"),
        pytest.param("POST", "/default/default", BINARY.replace(b"ce-id: 1\r\n", b""), b"", 400, b"header ce-id is missing or empty", id="malformed"),
        pytest.param("POST", "/default/default", BINARY + b"ce-knativebrokerttl: 1\r\n", b"", 400, b"used up", id="time to live over"),
        pytest.param("POST", "/default/default", BINARY, b"x" * 1001, 413, b"larger than 1000 bytes", id="too large"),
        pytest.param("POST", "/default/other", BINARY, b"", 404, b"there is no broker other in namespace default", id="unknown broker"),
        pytest.param("POST", "/", BINARY, b"", 404, b"/<namespace>/<broker>", id="no path"),
        pytest.param("POST", "/default", BINARY, b"", 400, b"is not /<namespace>/<broker>", id="short path"),
        pytest.param("POST", "/a/b/c", BINARY, b"", 400, b"is not /<namespace>/<broker>", id="long path"),
        pytest.param("POST", "//default", BINARY, b"", 400, b"is not", id="empty segment"),
        pytest.param("GET", "/default/default", b"", b"", 405, b"allow: POST, OPTIONS", id="wrong method"),
        pytest.param("PUT", "/default/default", BINARY, b"", 405, b"allow: POST, OPTIONS", id="another wrong method"),
        pytest.param("OPTIONS", "/default/default", b"", b"", 200, b"webhook-allowed-rate: *", id="webhook handshake"),
        pytest.param("OPTIONS", "/default/default", b"", b"", 200, b"webhook-allowed-origin: *", id="handshake origin"),
        pytest.param("GET", "/healthz", b"", b"", 200, b"ok", id="health"),
    ],
)  # fmt: skip
async def test_the_answer(
    door: Door, method: str, path: str, headers: bytes, body: bytes, status: int, says: bytes
) -> None:
    answer = await door.post(path, headers, body, method)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert says in answer
    assert door.log.last == (1 if status == 202 else 0), "accepted if and only if it is in the log"


async def test_accepted_means_in_the_log_as_it_will_be_delivered(door: Door) -> None:
    await door.post("/default/default", BINARY + b"x-request-id: r\r\ncookie: c\r\n", b"data")
    (entry,) = await door.log.read(0)
    assert entry.broker == "default/default"
    assert (entry.ttl, entry.data) == (255, b"data")
    assert entry.head == (
        b"x-request-id: r\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n"
        b"ce-knativearrivaltime: 2023-11-14T22:13:20.000000Z\r\n"
    )


async def test_an_event_in_pieces_is_one_event(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(
        b"POST /default/default HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n" + BINARY + b"\r\n2\r\nab\r\n"
    )
    await writer.drain()
    writer.write(b"1\r\nc\r\n0\r\n\r\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 202 Accepted\r\n"
    writer.close()
    assert (await door.log.read(0))[0].data == b"abc"


async def test_a_backlog_is_back_pressure(door: Door) -> None:
    answers = [await door.post("/default/default", body=b"x" * 900) for _ in range(25)]
    assert answers[0].startswith(b"HTTP/1.1 202 ")
    assert answers[-1].startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in answers[-1]
    assert b"wait for their subscribers" in answers[-1]


async def test_a_full_disk_is_503_and_recovers(door: Door) -> None:
    door.log._writer.execute("PRAGMA max_page_count=1")
    answers = [await door.post("/default/default", body=b"x" * 900) for _ in range(10)]
    assert answers[-1].startswith(b"HTTP/1.1 503 ")
    assert b"Free space" in answers[-1]
    door.log._writer.execute("PRAGMA max_page_count=100000")
    assert (await door.post("/default/default")).startswith(b"HTTP/1.1 202 ")
