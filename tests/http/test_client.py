"""The pool: reuse, retries that are safe, time limits, streaming both ways, bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from funcs.errors import Invalid
from runtimes.http.client import Pool
from runtimes.http.errors import ConnectFailed, PoolFull, ResponseTimeout, TooLarge, UpstreamLost
from runtimes.http.message import Request, Response, text
from runtimes.http.server import Server, serve
from runtimes.http.settings import PoolLimits, Timeouts

HOST = ((b"host", b"x"),)
PATIENCE = 5.0
Address = tuple[str, int]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def app(request: Request) -> Response:
    if request.target == b"/echo":
        return Response(200, (), request.stream())
    return text(200, f"{request.method.decode()} {len(await request.read())}")


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[Server, Address]]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = await serve(app, sock)
    try:
        yield server, sock.getsockname()
    finally:
        await server.close()


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Address]:
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@asynccontextmanager
async def pool(limits: PoolLimits | None = None) -> AsyncIterator[Pool]:
    made = Pool(limits)
    try:
        yield made
    finally:
        async with asyncio.timeout(PATIENCE):
            await made.close()


async def parts(*data: bytes) -> AsyncIterator[bytes]:
    for item in data:
        yield item


async def test_a_connection_is_reused_once_the_answer_is_read() -> None:
    async with upstream() as (server, address), pool() as client:
        for _ in range(3):
            response = await client.request(address, b"GET", b"/", HOST)
            assert (response.status, await response.read()) == (200, b"GET 0\n")
        assert (server.counters.accepted, client.idle(address)) == (1, 1)


async def test_an_answer_that_is_not_read_to_its_end_costs_its_connection() -> None:
    async with upstream() as (_, address), pool() as client:
        response = await client.request(address, b"POST", b"/echo", HOST, body=parts(b"x" * 300_000, b"y" * 300_000))
        response.release()
        assert client.idle(address) == 0


async def test_bodies_stream_both_ways_at_once() -> None:
    async with upstream() as (_, address), pool() as client:
        response = await client.request(address, b"POST", b"/echo", HOST, body=parts(*[b"x" * 100_000] * 50))
        size = 0
        async for data in response.stream():
            size += len(data)
        assert size == 5_000_000
        assert client.idle(address) == 1


async def test_a_head_request_leaves_the_connection_usable() -> None:
    async with upstream() as (server, address), pool() as client:
        response = await client.request(address, b"HEAD", b"/", HOST)
        assert (response.length, await response.read()) == (7, b"")
        assert await (await client.request(address, b"GET", b"/", HOST)).read() == b"GET 0\n"
        assert server.counters.accepted == 1


async def test_unix_sockets_are_addresses_too(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    server = await serve(app, sock)
    async with pool() as client:
        assert await (await client.request(path, b"PUT", b"/", HOST, body=b"abc")).read() == b"PUT 3\n"
    await server.close()


async def test_nothing_listening_is_connect_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
    async with pool() as client:
        with pytest.raises(ConnectFailed, match=r"no connection to 127\.0\.0\.1"):
            await client.request(address, b"GET", b"/", HOST)


def answers(*bodies: bytes, close_after: int) -> tuple[Script, list[bytes]]:
    """An upstream that closes each connection after so many answers; and the request lines it got."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(close_after):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.split(b"\r\n")[0])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read(1)
        writer.transport.abort()

    return script, seen


async def test_an_idempotent_request_on_a_connection_gone_stale_is_sent_again() -> None:
    script, seen = answers(close_after=1)
    async with scripted(script) as address, pool() as client:
        for _ in range(3):
            assert await (await client.request(address, b"GET", b"/", HOST)).read() == b"ok"
    assert len(seen) == 3


async def test_a_post_on_a_connection_gone_stale_is_the_callers_to_judge() -> None:
    script, seen = answers(close_after=1)
    async with scripted(script) as address, pool() as client:
        await (await client.request(address, b"POST", b"/", HOST, body=b"")).read()
        with pytest.raises(UpstreamLost) as caught:
            await client.request(address, b"POST", b"/", HOST, body=b"")
    assert caught.value.reused
    assert len(seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", id="cut short"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf", id="chunks cut short"),
        pytest.param(b"nonsense\r\n\r\n", id="nonsense"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, id="endless head"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_an_answer_that_is_not_whole_is_never_taken_for_one(answer: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with scripted(script) as address, pool() as client:
        with pytest.raises(UpstreamLost):
            await (await client.request(address, b"GET", b"/", HOST)).read()


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end")
        writer.close()

    async with scripted(script) as address, pool() as client:
        assert await (await client.request(address, b"GET", b"/", HOST)).read() == b"to the end"
        assert client.idle(address) == 0


async def test_bytes_beyond_the_answer_are_never_taken_for_the_next_one() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with scripted(script) as address, pool() as client:
        assert await (await client.request(address, b"GET", b"/", HOST)).read() == b"ok"
        assert client.idle(address) == 0


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_an_upstream_that_does_not_answer_is_given_up_in_time() -> None:
    async with scripted(silent) as address, pool() as client:
        with pytest.raises(ResponseTimeout):
            await client.request(address, b"GET", b"/", HOST, timeouts=Timeouts(response=0.1))


async def test_a_cancelled_request_closes_its_connection() -> None:
    async with scripted(silent) as address, pool() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.request(address, b"GET", b"/", HOST)
        assert client.idle(address) == 0


async def test_requests_wait_for_a_connection_and_no_longer_than_for_a_connect() -> None:
    async with upstream() as (server, address), pool(PoolLimits(connections=1)) as client:
        first = await client.request(address, b"POST", b"/echo", HOST, body=parts(b"x" * 100_000))
        with pytest.raises(PoolFull):
            await client.request(address, b"GET", b"/", HOST, timeouts=Timeouts(connect=0.05))
        waiting = asyncio.create_task(client.request(address, b"GET", b"/", HOST))
        await asyncio.sleep(0)
        await first.read()
        assert await (await waiting).read() == b"GET 0\n"
        assert server.counters.accepted == 1


async def test_many_requests_share_few_connections() -> None:
    async with upstream() as (server, address), pool(PoolLimits(connections=4)) as client:

        async def one() -> bytes:
            return await (await client.request(address, b"GET", b"/", HOST)).read()

        assert set(await asyncio.gather(*(one() for _ in range(100)))) == {b"GET 0\n"}
        assert server.counters.accepted <= 4


async def test_reading_is_bounded() -> None:
    async with upstream() as (_, address), pool() as client:
        response = await client.request(address, b"POST", b"/echo", HOST, body=parts(b"x" * 100_000))
        with pytest.raises(TooLarge):
            await response.read(1000)


async def test_the_bodys_own_error_is_the_callers() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("mine")

    async with scripted(silent) as address, pool() as client:
        with pytest.raises(ValueError, match="mine"):
            await client.request(address, b"POST", b"/", HOST, body=broken())


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"/ HTTP/1.1\r\nX: injected", HOST),
        (b"GET\r\n", b"/", HOST),
        (b"GET", b"/", ((b"host", b"x\r\nX: injected"),)),
        (b"GET", b"/", ((b"host", b"x"), (b"content-length", b"3"))),
        (b"GET", b"/", ()),
    ],
)
async def test_requests_cannot_be_split(method: bytes, target: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    async with pool() as client:
        with pytest.raises(Invalid):
            await client.request(("127.0.0.1", 1), method, target, headers)
