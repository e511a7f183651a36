"""One client's connection: bytes to requests, answers to bytes, one exchange at a time.

Law: requests are answered in the order they came, and only one is with the handler. What comes meanwhile waits
unparsed, with the socket's reading paused. Any doubt about where a message ends closes the connection (RFC 9112, 6.3).

httptools (llhttp, strict) refuses what smugglers use: both or several framing headers, folded lines, bare LF or CR,
spaces before a colon, data after `connection: close`. What it leaves to its user is checked in `on_headers_complete`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, cast

import httptools

from funcs.errors import BadRequest

from .body import Body
from .eager import Runner
from .errors import Disconnected, RequestTimeout
from .headers import BODILESS, LAST_CHUNK, Block, block, chunk, find, status_line
from .message import LATER, Answer, Request, Response, Takeover, text

if TYPE_CHECKING:
    from .server import Server

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER = 2.0  # seconds of reading on after a close, so that a reset does not overtake the answer (RFC 9112, 9.6)
ONE_WRITE = 64 * 1024  # head and body up to this size are joined
_WATCHED = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


class Connection(asyncio.Protocol):
    __slots__ = (
        "_answering",
        "_current",
        "_discarded",
        "_expects",
        "_expired",
        "_head",
        "_headers",
        "_held",
        "_incoming",
        "_limits",
        "_lingering",
        "_looping",
        "_parser",
        "_queue",
        "_reading",
        "_refusal",
        "_runner",
        "_server",
        "_since",
        "_started",
        "_target",
        "_unparsed",
        "_writable",
        "transport",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self.transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._incoming: Request | None = None  # head parsed, body still to end
        self._queue: deque[Request] = deque()
        self._current: Request | None = None  # with the handler, or being answered
        self._answering = False  # the head of the current answer is decided
        self._head = b""  # of a streamed answer, waiting a turn for the first piece
        self._runner: Runner | None = None
        self._held: list[bytes] = []
        self._refusal: Response | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._expects = False
        self._expired = False
        self._lingering = False
        self._looping = False
        self._discarded = 0
        self._unparsed = 0
        self._since = self._started = 0.0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._since = self._server.now
        if self._server.opened(self):
            self._parser = httptools.HttpRequestParser(self)
        else:
            self._refuse(text(503, "too many connections"))

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._refusal is not None or self._lingering:
            return
        current = self._current
        if current is not None and current is not self._incoming:
            self._held.append(data)
            self._pause()
            return
        self._feed(data)

    def eof_received(self) -> None:
        return None  # and so the transport closes: half a connection is no use to an exchange

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        self._parser = None
        self.transport = None
        self._queue.clear()
        self._held.clear()
        self.resume_writing()
        if self._incoming is not None and self._incoming._body is not None:
            self._incoming._body.fail(Disconnected("the client went away before its body was complete"))
        self._abandon()

    def pause_writing(self) -> None:
        self._since = self._server.now
        self._writable = self._server.loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._headers = []
        self._target = b""
        self._since = self._server.now

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is None:  # else it is a trailer: counted by _feed, and dropped (RFC 9110, 6.5.1)
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        headers = self._headers
        request = Request(self, parser.get_method(), self._target, headers)
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        request.upgrade = parser.should_upgrade()
        hosts = 0
        for name, value in headers:
            if name in _WATCHED:
                if name == b"host":
                    hosts += 1
                elif name != b"expect":
                    self._expect_body(request, name, value)
        if self._unparsed > self._limits.head and _size(headers) > self._limits.head:
            self._refusal = text(431, f"the head is larger than {self._limits.head} bytes")
        elif hosts != 1 or request.version != "1.1" or request.upgrade or len(headers) > self._limits.fields:
            self._doubt(request, hosts)
        self._unparsed = 0
        self._incoming = request
        if self._refusal is None:
            self._queue.append(request)

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        self._since = self._server.now
        request = self._incoming
        if request is None or request._body is None:
            return
        if request is self._current or request in self._queue:
            request._body.feed(data)
            return
        self._discarded += len(data)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        request, self._incoming = self._incoming, None
        if request is not None and request._body is not None:
            request._body.finish()

    # Receiving.

    def _feed(self, data: bytes) -> None:
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # What follows speaks another protocol, if the handler takes over; else the connection ends with the answer.
            if len(data) > upgrade.args[0]:
                self._held.append(data[upgrade.args[0] :])
            self._pause()
        except httptools.HttpParserError as error:
            self._doubtful(str(error))
        else:
            if self._unparsed > self._limits.head:
                self._doubtful(f"the head is larger than {self._limits.head} bytes", status=431)
            elif self._discarded > self._limits.discard:
                self._linger()
            elif len(self._queue) > self._limits.pipelined:
                self._doubtful("too many requests at once", status=429)
        if self._current is None:
            self._next()

    def _expect_body(self, request: Request, name: bytes, value: bytes) -> None:
        limit = self._limits.body
        if name == b"content-length":
            length = int(value)
            if length == 0:
                return
            if limit is not None and length > limit:
                self._refusal = text(413, f"the body is larger than {limit} bytes")
        elif value.strip().lower() != b"chunked":
            self._refusal = text(501, "the only transfer coding understood is chunked")
        request._body = Body(self, high=self._limits.unread, limit=limit)
        expected = find(request.headers, b"expect")
        if expected is not None:
            if expected.lower() != b"100-continue":
                self._refusal = text(417, "the only expectation understood is 100-continue")
            self._expects = True

    def _doubt(self, request: Request, hosts: int) -> None:
        """The rarer checks of a head."""
        if request.version not in {"1.0", "1.1"}:
            self._refusal = text(505, "HTTP/1.1 and HTTP/1.0 are understood")
        elif len(request.headers) > self._limits.fields:
            self._refusal = text(431, f"more than {self._limits.fields} header fields")
        elif hosts > 1 or (hosts == 0 and request.version == "1.1"):
            self._refusal = text(400, "a request has exactly one Host header")  # RFC 9112, 3.2
        elif request.method == b"CONNECT":
            self._refusal = text(501, "CONNECT is not served")
        elif request.upgrade:
            request.keep_alive = False
            if request._body is not None:  # the parser cannot tell where such a body ends
                self._refusal = text(400, "a request that asks for an upgrade has no body")

    def _doubtful(self, message: str, status: int = 400) -> None:
        """The bytes from here on mean nothing: fail the body under way, or refuse what was to be a request."""
        incoming = self._incoming
        if (
            incoming is not None
            and incoming._body is not None
            and (incoming is self._current or incoming in self._queue)
        ):
            incoming.keep_alive = False
            incoming._body.fail(RequestTimeout(message) if status == 408 else BadRequest(message))
            self._pause()
        elif self._refusal is None:
            self._refusal = text(status, message)

    # Exchanges.

    def _next(self) -> None:
        """Give the next request to the handler, if the one before it is done."""
        if self._current is not None or self.transport is None:
            return
        self._looping = True
        while self._queue and self._current is None:
            self._dispatch(self._queue.popleft())
        self._looping = False
        if self._current is not None or self.transport is None or self._lingering:
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._resume()
            self._feed(data)
        else:
            self._resume()

    def _dispatch(self, request: Request) -> None:
        server = self._server
        self._current = request
        self._answering = self._expired = False
        self._started = server.now
        counters = server.counters
        counters.requests += 1
        counters.active += 1
        try:
            answer = server.handler(request)
        except Exception as error:
            self.respond(request, server.failed(request, error))
            return
        if isinstance(answer, Response):
            self.respond(request, answer)
        elif answer is not LATER:
            work = cast(Awaitable[Answer], answer)
            self._runner = server.runners.start(
                work if isinstance(work, Coroutine) else _awaiting(work), self._answered
            )

    def _answered(self, runner: Runner, answer: Any, error: BaseException | None) -> None:
        """The handler's coroutine has ended."""
        self._runner = None
        request = self._current
        if request is None or self.transport is None:
            self._finish()
        elif error is not None:
            if isinstance(error, asyncio.CancelledError) and self._expired:
                error = self._server.expired()
            self.respond(request, self._server.failed(request, error), runner)
        elif answer is not LATER:
            self.respond(request, answer, runner)

    def respond(self, request: Request, response: Response, runner: Runner | None = None) -> None:
        transport = self.transport
        if request is not self._current or self._answering or transport is None:
            return
        self._answering = True
        try:
            lines = response.headers
            if not isinstance(lines, Block):
                lines = block(lines)
            start = status_line(response.status)
        except Exception as error:
            response = self._server.failed(request, error)
            lines, start = block(cast(Any, response.headers)), status_line(response.status)
        if isinstance(response, Takeover):
            self._hand_over(response, start + lines)
            return
        keep = request.keep_alive = request.keep_alive and not self._expects and not self._server.draining
        if not keep:
            ending = b"connection: close\r\n\r\n"
        elif request.version == "1.0":
            ending = b"connection: keep-alive\r\n\r\n"
        else:
            ending = b"\r\n"
        date = b"" if lines.startswith(b"date:") or lines.find(b"\ndate:") >= 0 else self._server.date
        body = response.body
        status = response.status
        if status < 200 or status in BODILESS:
            transport.write(b"".join((start, lines, date, ending)))
        elif type(body) is bytes:
            length = len(body) if response.length is None else response.length
            if request.method == b"HEAD":
                body = b""
            elif length != len(body):
                self._break(ValueError(f"a body of {len(body)} bytes was announced as {length}"))
                return
            head = b"".join((start, lines, b"content-length: %d\r\n" % length, date, ending))
            if len(body) <= ONE_WRITE:
                transport.write(head + body)
            else:
                transport.writelines((head, body))
        else:
            self._stream(request, response, b"".join((start, lines, date)), ending, runner)
            return
        self._finish()

    def _stream(self, request: Request, response: Response, head: bytes, ending: bytes, runner: Runner | None) -> None:
        chunked = response.length is None and request.version == "1.1"
        if chunked:
            head += b"transfer-encoding: chunked\r\n"
        elif response.length is not None:
            head += b"content-length: %d\r\n" % response.length
        elif request.keep_alive:  # HTTP/1.0, length unknown: the end is the connection's
            request.keep_alive = False
            ending = b"connection: close\r\n\r\n"
        self._head = head + ending
        self._server.loop.call_soon(self._flush_head)
        body = cast(AsyncIterable[bytes], response.body)
        work = self._pump(body, chunked, response.length, request.method == b"HEAD")
        if runner is not None:
            self._runner = runner
            runner.then(work, self._streamed)
        else:
            self._server.loop.call_soon(self._start_stream, work)

    def _start_stream(self, work: Coroutine[Any, Any, None]) -> None:
        self._runner = self._server.runners.start(work, self._streamed)

    async def _pump(self, body: AsyncIterable[bytes], chunked: bool, length: int | None, bodiless: bool) -> None:
        sent = 0
        try:
            if not bodiless:
                async for data in body:
                    if data:
                        sent += len(data)
                        if length is not None and sent > length:
                            raise ValueError(f"more than the {length} bytes that were announced")
                        await self._write(chunk(data) if chunked else data)
                if length is not None and sent < length:
                    raise ValueError(f"{sent} of the {length} bytes that were announced")
                if chunked:
                    await self._write(LAST_CHUNK)
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()

    async def _write(self, data: bytes) -> None:
        if self.transport is None:
            raise Disconnected("the client went away before the answer was complete")
        head, self._head = self._head, b""
        self.transport.write(head + data if head else data)
        if self._writable is not None:
            await self._writable

    def _flush_head(self) -> None:
        head, self._head = self._head, b""
        if head and self.transport is not None:
            self.transport.write(head)

    def _streamed(self, runner: Runner, result: None, error: BaseException | None) -> None:
        self._runner = None
        if error is None:
            self._flush_head()
            self._finish()
        elif self.transport is None:
            self._finish()
        elif self._head and self._current is not None:  # nothing is sent yet: another answer may take its place
            self._head = b""
            self._answering = False
            self.respond(self._current, self._server.failed(self._current, error), runner)
        else:
            self._break(error)

    def _finish(self) -> None:
        """The current answer is written."""
        request, self._current = self._current, None
        if request is None:
            return
        self._server.counters.active -= 1
        self._since = self._server.now
        if self.transport is None:
            return
        if not request.keep_alive:
            if self._incoming is request or self._held:
                self._linger()
            else:
                self.transport.close()
        elif self._incoming is request:  # let the rest of its body pass
            self._discarded = 0
            if request._body is not None:
                request._body.fail(Disconnected("the request was answered before its body was read"))
            self._resume()
        elif self._queue or self._held or self._refusal is not None:
            if not self._looping:
                self._server.loop.call_soon(self._next)
        elif not self._reading:
            self._resume()

    def _break(self, error: BaseException) -> None:
        """An answer that cannot be completed: end the connection so that the client notices."""
        if self._current is not None:
            self._server.failed(self._current, error)
            self._current.keep_alive = False
            self._current = None
            self._server.counters.active -= 1
        if self.transport is not None:
            self.transport.abort()

    def _refuse(self, response: Response) -> None:
        """Answer what never became a request, and close."""
        self._server.counters.refused += 1
        if self.transport is not None:
            lines = block(cast(Any, response.headers))
            body = cast(bytes, response.body)
            ending = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(b"".join((status_line(response.status), lines, self._server.date, ending, body)))
            self._linger()

    def _hand_over(self, response: Takeover, head: bytes) -> None:
        transport, self.transport = self.transport, None
        assert transport is not None
        rest = b"".join(self._held)
        self._held.clear()
        self._finish()
        self._server.closed(self)
        self._parser = None
        transport.write(b"".join((head, b"connection: upgrade\r\nupgrade: ", response.upgrade, b"\r\n\r\n")))
        transport.set_protocol(response.protocol)
        response.protocol.connection_made(transport)
        if not self._reading:
            transport.resume_reading()
        if rest:
            response.protocol.data_received(rest)

    # Ending.

    def drain(self) -> None:
        """Close once nothing is in flight."""
        if self._current is None and not self._queue and self._incoming is None and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: float) -> None:
        """Hold the client, and the handler, to the time limits."""
        limits, silent = self._limits, now - self._since
        if self._lingering:
            if silent > LINGER:
                self.abort()
        elif self._current is None:
            began = self._unparsed > 0 or self._incoming is not None
            if silent > (limits.head_timeout if began else limits.idle_timeout):
                if began and self._incoming is None:
                    self._refuse(text(408, "the head of the request did not arrive in time"))
                elif self.transport is not None:
                    self.transport.close()
        elif self._writable is not None:
            if silent > limits.write_timeout:
                self.abort()
        elif self._awaits_body() and silent > limits.body_timeout:
            self._doubtful("the body of the request stopped arriving", status=408)
        elif limits.answer_timeout is not None and not self._answering and now - self._started > limits.answer_timeout:
            self._expire()

    def _expire(self) -> None:
        self._expired = True
        request = self._current
        if self._runner is not None:
            self._runner.cancel()
        elif request is not None:
            self._disconnect(request)
            self.respond(request, self._server.failed(request, self._server.expired()))

    def _abandon(self) -> None:
        """The client is gone: nobody waits for the current answer."""
        request = self._current
        if self._runner is not None:
            self._runner.cancel()
        elif request is not None:
            self._disconnect(request)
            self._finish()

    def _disconnect(self, request: Request) -> None:
        callback, request.on_disconnect = request.on_disconnect, None
        if callback is not None:
            callback()

    def _linger(self) -> None:
        """Say no more, and drop what still comes for a while."""
        self._lingering = True
        self._since = self._server.now
        if self.transport is not None:
            self._resume()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    # A body's wishes.

    def body_wanted(self) -> None:
        self._since = self._server.now
        if self._expects and self.transport is not None:
            self._expects = False
            self.transport.write(CONTINUE)

    def pause_body(self) -> None:
        self._pause()

    def resume_body(self) -> None:
        if not self._held:
            self._resume()

    def _awaits_body(self) -> bool:
        request = self._current
        return request is not None and request is self._incoming and request._body is not None and request._body.awaited

    def _pause(self) -> None:
        if self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()


async def _awaiting(work: Awaitable[Answer]) -> Answer:
    return await work


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
