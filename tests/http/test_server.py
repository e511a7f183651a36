"""The server, byte by byte: framing, refusals, keep-alive, streaming, time limits, drain."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from runtimes.http.headers import block
from runtimes.http.message import LATER, Handler, Request, Response, Takeover, text
from runtimes.http.server import Server, serve
from runtimes.http.settings import Limits

PATIENCE = 5.0
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


class Wire:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def ask(self, data: bytes) -> bytes:
        """All that comes until the server closes."""
        self.send(data)
        return await self.rest()


Dial = Callable[[], Awaitable[Wire]]


@asynccontextmanager
async def serving(handler: Handler, limits: Limits | None = None) -> AsyncIterator[tuple[Server, Dial]]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = await serve(handler, sock, limits=limits)
    writers: list[asyncio.StreamWriter] = []

    async def dial() -> Wire:
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writers.append(writer)
        return Wire(reader, writer)

    try:
        yield server, dial
    finally:
        await server.close()
        for writer in writers:
            writer.close()


async def hello(request: Request) -> Response:
    return text(200, "hello")


async def echo(request: Request) -> Response:
    return Response(200, (), await request.read())


def get(path: str = "/", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"GET {path} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


CLOSE = "Connection: close"


async def test_an_answer_has_a_date_and_its_length() -> None:
    async with serving(hello) as (_, dial):
        answer = await (await dial()).ask(get("/", CLOSE))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert b"content-length: 6\r\n" in answer
    assert answer.endswith(b"connection: close\r\n\r\nhello\n")


async def test_a_connection_serves_request_after_request() -> None:
    async with serving(hello) as (server, dial):
        wire = await dial()
        for _ in range(3):
            wire.send(get())
            assert (await wire.until(b"hello\n")).startswith(b"HTTP/1.1 200")
    assert (server.counters.accepted, server.counters.requests) == (1, 3)


async def test_posted_answers_leave_before_whatever_else_their_connection_says() -> None:
    plain = Response(200, block(()), b"posted")

    async def streamed() -> AsyncIterator[bytes]:
        yield b"streamed"

    def handler(request: Request) -> Response:
        return Response(200, (), streamed()) if request.target == b"/stream" else plain

    async with serving(handler) as (_, dial):
        for last, ending in (
            (get("/stream", "Connection: close"), b"0\r\n\r\n"),
            (get("/", "Connection: close"), b"posted"),
            (b"nonsense\r\n\r\n", b"\n"),
        ):
            answers = await (await dial()).ask(get() + get() + last)
            assert answers.count(b"HTTP/1.1 ") == 3
            assert answers.index(b"posted") < answers.rindex(b"HTTP/1.1 ")
            assert answers.endswith(ending)


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    running = 0

    async def slow_first(request: Request) -> Response:
        nonlocal running
        running += 1
        assert running == 1
        if request.target == b"/1":
            await asyncio.sleep(0.01)
        running -= 1
        return Response(200, (), request.target)

    async with serving(slow_first) as (_, dial):
        wire = await dial()
        wire.send(get("/1") + get("/2"))
        wire.send(get("/3", CLOSE))
        answer = await wire.rest()
    assert [answer.find(path) for path in (b"/1", b"/2", b"/3")] == sorted(
        answer.find(p) for p in (b"/1", b"/2", b"/3")
    )
    assert answer.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="CL and TE"),
        pytest.param(POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, id="two CL"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, id="gzip, chunked"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, id="xchunked"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, id="folded line"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400, id="space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts"),
        pytest.param(b"GET /\r\n\r\n", 505, id="HTTP/0.9"),
        pytest.param(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="CONNECT"),
        pytest.param(POST + b"Expect: a-pony\r\nContent-Length: 1\r\n\r\n", 417, id="unknown expectation"),
        pytest.param(
            POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 33\r\n\r\n"
            b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            id="body hidden behind an upgrade",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, id="too many fields"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431, id="head too large"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000, 431, id="endless head"),
        pytest.param(POST + b"Content-Length: 999999999\r\n\r\n", 413, id="body too large"),
    ],
)
async def test_doubtful_requests_are_refused_and_the_connection_closed(request_bytes: bytes, status: int) -> None:
    seen: list[bytes] = []

    def remember(request: Request) -> Response:
        seen.append(request.target)
        return text(200, "served")

    async with serving(remember) as (_, dial):
        answer = await (await dial()).ask(request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"\r\ndate:") == 1
    assert b"connection: close" in answer
    assert seen == []


async def test_a_bad_request_behind_a_good_one_does_not_spoil_it() -> None:
    async with serving(hello) as (_, dial):
        answer = await (await dial()).ask(get() + b"nonsense\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1 400") == 1


async def test_a_malformed_chunk_fails_the_body_with_400() -> None:
    async with serving(echo) as (_, dial):
        answer = await (await dial()).ask(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


async def test_chunked_bodies_are_joined_and_trailers_dropped() -> None:
    body = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: v\r\n\r\n"
    async with serving(echo) as (_, dial):
        wire = await dial()
        wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert (await wire.until(b"abcde")).startswith(b"HTTP/1.1 200")
        assert b"hello" not in await wire.ask(get("/", CLOSE))


async def test_a_chunked_body_beyond_the_limit_is_413() -> None:
    async with serving(echo, Limits(body=10)) as (_, dial):
        answer = await (await dial()).ask(
            POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 413")


async def test_continue_is_sent_when_the_body_is_read_and_only_then() -> None:
    async with serving(echo) as (_, dial):
        wire = await dial()
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"ok")
        assert (await wire.until(b"ok")).startswith(b"HTTP/1.1 200")
    async with serving(hello) as (_, dial):
        answer = await (await dial()).ask(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


async def test_head_is_answered_without_a_body() -> None:
    async with serving(hello) as (_, dial):
        answer = await (await dial()).ask(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"content-length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_http_1_0_gets_no_chunks_and_is_closed() -> None:
    async def stream(request: Request) -> Response:
        return Response(200, (), pieces(b"a", b"b"))

    async with serving(stream) as (_, dial):
        answer = await (await dial()).ask(get(version="1.0"))
    assert answer.endswith(b"connection: close\r\n\r\nab")
    assert b"chunked" not in answer


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_stream_is_chunked_and_the_head_goes_out_with_the_first_piece() -> None:
    async with serving(lambda _: Response(200, (), pieces(b"one", b"two"))) as (_, dial):
        wire = await dial()
        wire.send(get())
        assert (await wire.until(b"0\r\n\r\n")).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_the_head_of_a_slow_stream_does_not_wait_for_it() -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await go.wait()
        yield b"late"

    async with serving(lambda _: Response(200, (), slow())) as (_, dial):
        wire = await dial()
        wire.send(get())
        assert b"chunked" in await wire.until(b"\r\n\r\n")
        go.set()
        assert await wire.until(b"0\r\n\r\n") == b"4\r\nlate\r\n0\r\n\r\n"


@pytest.mark.parametrize("length", [2, 4])
async def test_a_stream_of_another_length_than_announced_breaks_the_connection(length: int) -> None:
    async with serving(lambda _: Response(200, (), pieces(b"abc"), length=length)) as (_, dial):
        wire = await dial()
        try:
            answer = await wire.ask(get("/", CLOSE))
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"abc" if length == 2 else b"abcd")


async def test_a_stream_that_fails_at_once_becomes_a_500() -> None:
    async def broken() -> AsyncIterator[bytes]:
        raise RuntimeError("secret")
        yield b""

    async with serving(lambda _: Response(200, (), broken())) as (_, dial):
        answer = await (await dial()).ask(get("/", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret" not in answer


async def test_a_client_that_does_not_read_holds_the_stream_back() -> None:
    produced = 0
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        try:
            while True:
                produced += 1
                yield b"x" * 65536
        finally:
            closed.set()

    async with serving(lambda _: Response(200, (), endless())) as (_, dial):
        wire = await dial()
        wire.send(get())
        await wire.until(b"\r\n\r\n")
        before = -1
        async with asyncio.timeout(PATIENCE):
            while produced != before:
                before = produced
                await asyncio.sleep(0.05)
        assert produced < 1000
        wire.writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await closed.wait()


async def test_a_handler_that_does_not_read_holds_the_client_back() -> None:
    requests: asyncio.Queue[Request] = asyncio.Queue()

    def take(request: Request) -> object:
        requests.put_nowait(request)
        return LATER

    size = 20_000_000
    async with serving(take, Limits(unread=1024)) as (_, dial):  # type: ignore[arg-type]
        wire = await dial()
        wire.send(POST + b"Content-Length: %d\r\n\r\n" % size)
        wire.send(b"x" * size)
        async with asyncio.timeout(PATIENCE):
            request = await requests.get()
            assert request._body is not None
            before = -1
            while request._body.received != before:
                before = request._body.received
                await asyncio.sleep(0.05)
            assert before < size
            assert len(await request.read()) == size
        request.respond(text(200, "done"))
        assert (await wire.until(b"done\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("value", [b"a\r\nX: injected", b"a\nb", b"a\0b"])
async def test_header_values_cannot_break_the_line(value: bytes) -> None:
    async with serving(lambda _: Response(200, ((b"x", value),))) as (_, dial):
        answer = await (await dial()).ask(get("/", CLOSE))
    assert b"injected" not in answer.lower().replace(b"header", b"")
    assert answer.startswith((b"HTTP/1.1 422", b"HTTP/1.1 500"))


async def test_the_current_task_is_the_same_before_and_after_the_first_wait() -> None:
    async def handler(request: Request) -> Response:
        before = asyncio.current_task()
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.001))
        assert asyncio.current_task() is before
        return text(200, type(before).__name__)

    async with serving(handler) as (_, dial):
        assert (await (await dial()).ask(get("/", CLOSE))).endswith(b"Task\n")


async def test_timeouts_entered_before_the_first_wait_work() -> None:
    async def handler(request: Request) -> Response:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(PATIENCE)
        except TimeoutError:
            return text(200, "in time")
        return text(500, "never")

    async with serving(handler) as (_, dial):
        wire = await dial()
        for _ in range(2):
            wire.send(get())
            assert (await wire.until(b"in time\n")).startswith(b"HTTP/1.1 200")


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


async def test_context_variables_do_not_leak_from_one_request_to_the_next() -> None:
    async def handler(request: Request) -> Response:
        seen = VARIABLE.get()
        token = VARIABLE.set("mine")
        if request.target == b"/wait":
            await asyncio.sleep(0)
            VARIABLE.reset(token)
            VARIABLE.set("again")
        return text(200, seen)

    async with serving(handler) as (_, dial):
        wire = await dial()
        for path in ("/", "/wait", "/", "/wait"):
            wire.send(get(path))
            assert (await wire.until(b"unset\n")).startswith(b"HTTP/1.1 200")


async def test_a_stream_sees_the_context_variables_of_its_handler() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield VARIABLE.get().encode()

    async def handler(request: Request) -> Response:
        VARIABLE.set("mine")
        return Response(200, (), stream())

    async with serving(handler) as (_, dial):
        assert b"mine" in await (await dial()).ask(get("/", CLOSE))


async def test_a_handler_is_cancelled_when_its_client_leaves() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return text(200, "never")

    async with serving(handler) as (server, dial):
        wire = await dial()
        wire.send(get())
        async with asyncio.timeout(PATIENCE):
            await started.wait()
            wire.writer.close()
            await cancelled.wait()
        assert server.counters.requests == 1


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_noticed() -> None:
    failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(request: Request) -> Response:
        try:
            return Response(200, (), await request.read())
        except BaseException as error:
            failed.set_result(type(error).__name__)
            raise

    async with serving(handler) as (_, dial):
        wire = await dial()
        wire.send(POST + b"Content-Length: 10\r\n\r\nhalf")
        await asyncio.sleep(0)
        wire.writer.close()
        async with asyncio.timeout(PATIENCE):
            assert await failed in {"Disconnected", "CancelledError"}


QUICK = Limits(head_timeout=0.1, idle_timeout=0.1, body_timeout=0.1, answer_timeout=0.1)


async def test_a_head_that_trickles_in_is_refused_in_time() -> None:
    async with serving(hello, QUICK) as (_, dial):
        assert (await (await dial()).ask(b"GET / HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 408")


async def test_an_idle_connection_is_closed_in_silence() -> None:
    async with serving(hello, QUICK) as (_, dial):
        assert await (await dial()).rest() == b""


async def test_a_body_that_stops_is_refused_in_time() -> None:
    async with serving(echo, Limits(body_timeout=0.1)) as (_, dial):
        answer = await (await dial()).ask(POST + b"Content-Length: 10\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_handler_that_takes_too_long_is_cancelled_and_answered_for() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(60)
        return text(200, "never")

    async with serving(slow, QUICK) as (_, dial):
        assert (await (await dial()).ask(get("/", CLOSE))).startswith(b"HTTP/1.1 504")


async def test_an_unread_body_is_let_pass_and_the_connection_kept() -> None:
    async with serving(hello) as (server, dial):
        wire = await dial()
        wire.send(POST + b"Content-Length: 6\r\n\r\nabc")
        await wire.until(b"hello\n")
        wire.send(b"def" + get("/", CLOSE))
        assert (await wire.rest()).startswith(b"HTTP/1.1 200")
    assert server.counters.accepted == 1


async def test_too_many_connections_are_refused() -> None:
    async with serving(hello, Limits(connections=1)) as (_, dial):
        first = await dial()
        first.send(get())
        await first.until(b"hello\n")
        assert (await (await dial()).rest()).startswith(b"HTTP/1.1 503")


async def test_draining_finishes_what_is_in_flight_and_cuts_off_nothing() -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> Response:
        await go.wait()
        return text(200, "done")

    async with serving(handler) as (server, dial):
        wires = [await dial() for _ in range(20)]
        for wire in wires:
            wire.send(get())
        idle = await dial()
        async with asyncio.timeout(PATIENCE):
            while server.counters.active < 20:
                await asyncio.sleep(0)
        draining = asyncio.create_task(server.drain(PATIENCE))
        assert await idle.rest() == b""
        go.set()
        answers = [await wire.rest() for wire in wires]
        assert await draining == 0
    assert all(a.startswith(b"HTTP/1.1 200") and b"connection: close" in a for a in answers)


async def test_draining_cuts_off_what_outlives_the_deadline() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(60)
        return text(200, "never")

    async with serving(handler) as (server, dial):
        wire = await dial()
        wire.send(get())
        async with asyncio.timeout(PATIENCE):
            while server.counters.active < 1:
                await asyncio.sleep(0)
        assert await server.drain(0.05) == 1


async def test_a_takeover_hands_over_the_connection_with_what_was_read_beyond_the_head() -> None:
    class Upper(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.write(data.upper())
            if data.endswith(b"."):
                self.transport.close()

    async with serving(lambda _: Takeover(upgrade=b"shout", protocol=Upper())) as (_, dial):
        wire = await dial()
        wire.send(get("/", "Connection: upgrade", "Upgrade: shout") + b"early ")
        await wire.until(b"\r\n\r\n")
        assert await wire.until(b" ") == b"EARLY "
        assert await wire.ask(b"and late.") == b"AND LATE."


async def test_an_upgrade_nobody_wants_is_an_ordinary_request_on_a_connection_that_closes() -> None:
    async with serving(hello) as (_, dial):
        answer = await (await dial()).ask(get("/", "Connection: upgrade", "Upgrade: h2c"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
