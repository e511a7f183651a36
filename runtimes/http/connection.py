"""One client's connection: requests to the handler, answers to bytes, one exchange at a time.

Law: requests are answered in the order they came, and only one is with the handler. What comes meanwhile waits
unparsed, with the socket's reading paused. IO: the transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from .eager import Runner
from .errors import Disconnected
from .headers import BODILESS, LAST_CHUNK, STATUS_LINES, Block, Dated, block, chunk, status_line
from .message import LATER, Answer, Later, Request, Response, Takeover, text
from .receiver import Receiver

if TYPE_CHECKING:
    from .server import Server

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER = 2.0  # seconds of reading on after a close, so that a reset does not overtake the answer (RFC 9112, 9.6)
ONE_WRITE = 64 * 1024  # head and body up to this size are joined


class Connection(Receiver, asyncio.Protocol):
    __slots__ = (
        "_answering",
        "_current",
        "_expired",
        "_head",
        "_held",
        "_lingering",
        "_looping",
        "_reading",
        "_runner",
        "_server",
        "_since",
        "_started",
        "_unsent",
        "_writable",
        "transport",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server.limits)
        self._server = server
        self.transport: asyncio.Transport | None = None
        self._current: Request | None = None  # with the handler, or being answered
        self._answering = False  # the head of the current answer is decided
        self._head = b""  # of a streamed answer, waiting a turn for the first piece
        self._runner: Runner | None = None
        self._unsent = b""  # answers that go out at the end of the loop's turn
        self._held: list[bytes] = []  # received while an exchange was under way
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._expired = False
        self._lingering = False
        self._looping = False
        self._since = self._started = 0.0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._since = self._server.now
        if not self._server.opened(self):
            self._refuse(text(503, "too many connections"))

    def data_received(self, data: bytes) -> None:
        if self._current is not None or self._lingering:
            self._received_meanwhile(data)
            return
        if self._unparsed == 0:
            self._since = self._server.now
        self.receive(data)
        self._next()

    def _received_meanwhile(self, data: bytes) -> None:
        """More of the body that the handler has begun with, or what has to wait, or what nobody wants any more."""
        if self._lingering:
            return
        if self._current is not self.incoming:
            self._held.append(data)
            self._pause()
            return
        if self._unparsed == 0:
            self._since = self._server.now
        self.receive(data)
        if self.refusal is not None:
            self._pause()

    def eof_received(self) -> None:
        return None  # and so the transport closes: half a connection is no use to an exchange

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        self._parser = None  # which refers to us
        self.transport = None
        self._unsent = b""
        self.ready.clear()
        self._held.clear()
        self.resume_writing()
        if self.incoming is not None and self.incoming._body is not None:
            self.incoming._body.fail(Disconnected("the client went away before its body was complete"))
        self._abandon()

    def pause_writing(self) -> None:
        self._since = self._server.now
        self._writable = self._server.loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Exchanges.

    def _next(self) -> None:
        """Give the requests that are here to the handler, as long as each is answered at once."""
        ready = self.ready
        self._looping = True
        while ready and self._current is None:
            self._dispatch(ready.popleft())
        self._looping = False
        if self._current is not None or self.transport is None or self._lingering:
            return
        if self.refusal is not None:
            self._refuse(self.refusal)
        elif self.discarded > self.limits.discard:
            self._linger()
        elif self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._resume()
            self.data_received(data)
        elif not self._reading:
            self._resume()

    def _dispatch(self, request: Request) -> None:
        server = self._server
        self._current = request
        self._answering = False
        self._started = server.now
        counters = server.counters
        counters.requests += 1
        counters.active += 1
        try:
            answer = server.handler(request)
        except Exception as error:
            self.respond(request, server.failed(request, error))
            return
        if type(answer) is CoroutineType:
            self._runner = server.runners.start(answer, self._handled)
        elif isinstance(answer, Response):
            self.respond(request, answer)
        elif not isinstance(answer, Later):
            self._runner = server.runners.start(_awaiting(answer), self._handled)

    def _handled(self, runner: Runner, answer: Any, error: BaseException | None) -> None:
        """The handler's coroutine has ended."""
        self._runner = None
        request = self._current
        if request is None or self.transport is None:
            self._finish()
        elif error is None:
            if answer is not LATER:
                self.respond(request, answer, runner)
        else:
            if self._expired and isinstance(error, asyncio.CancelledError):
                error = self._server.expired()
            self.respond(request, self._server.failed(request, error), runner)

    def respond(self, request: Request, response: Response, runner: Runner | None = None) -> None:
        """The answer that most are, small, with checked headers, to a plain request, is posted as one piece; any other
        goes the general way."""
        if request is not self._current or self._answering or self.transport is None:
            return
        self._answering = True
        server, body, lines, status = self._server, response.body, response.headers, response.status
        if (
            not request.plain
            or not request.keep_alive
            or server.draining
            or type(lines) is not Block
            or type(body) is not bytes
            or len(body) > ONE_WRITE
            or response.length is not None
            or status not in server.starts
        ):
            self._answer_in_general(request, response, runner)
            return
        if status == 204:
            data = b"%b%b\r\n" % (server.starts[status], lines)
        else:
            data = b"%b%bcontent-length: %d\r\n\r\n%b" % (server.starts[status], lines, len(body), body)
        self._post(data)
        if self._looping and self.incoming is None:  # `_finish`, where it has nothing more to do
            self._current = None
            self._since = server.now
            server.counters.active -= 1
        else:
            self._finish()

    def _post(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > ONE_WRITE:
                self.send()
        else:
            self._unsent = data
            self._server.post(self)

    def send(self) -> None:
        """Give the transport what is posted, before anything else that it is given."""
        data, self._unsent = self._unsent, b""
        if data and self.transport is not None:
            self.transport.write(data)

    def _answer_in_general(self, request: Request, response: Response, runner: Runner | None) -> None:
        self.send()
        try:
            lines = block(response.headers)
            start = STATUS_LINES.get(response.status) or status_line(response.status)
        except Exception as error:
            response = self._server.failed(request, error)
            lines, start = block(response.headers), status_line(response.status)
        server = self._server
        if request.keep_alive and not self.expects and not server.draining:
            ending = b"\r\n" if request.version == "1.1" else b"connection: keep-alive\r\n\r\n"
        else:
            request.keep_alive = False
            ending = b"connection: close\r\n\r\n"
        if type(lines) is not Dated:
            start += server.date
        self._answer_by_kind(request, response, start + lines, ending, runner)

    def _answer_by_kind(
        self, request: Request, response: Response, head: bytes, ending: bytes, runner: Runner | None
    ) -> None:
        transport = self.transport
        assert transport is not None
        body, length = response.body, response.length
        if isinstance(response, Takeover):
            self._hand_over(response, head)
        elif response.status in _SPECIAL:
            transport.write(head + ending)
            self._finish()
        elif not isinstance(body, bytes):
            self._stream(request, response, head, ending, runner)
        elif request.method == b"HEAD" or length is None or length == len(body):
            length = len(body) if length is None else length
            head += b"content-length: %d\r\n%b" % (length, ending)
            rest = b"" if request.method == b"HEAD" else body
            if len(rest) <= ONE_WRITE:
                transport.write(head + rest)
            else:
                transport.writelines((head, rest))
            self._finish()
        else:
            self._break(ValueError(f"a body of {len(body)} bytes was announced as {length}"))

    def _stream(self, request: Request, response: Response, head: bytes, ending: bytes, runner: Runner | None) -> None:
        chunked = response.length is None and request.version == "1.1"
        if chunked:
            head += b"transfer-encoding: chunked\r\n"
        elif response.length is not None:
            head += b"content-length: %d\r\n" % response.length
        elif request.keep_alive:  # HTTP/1.0, length unknown: the end is the connection's
            request.keep_alive = False
            ending = b"connection: close\r\n\r\n"
        loop = self._server.loop
        self._head = head + ending
        body = cast(AsyncIterable[bytes], response.body)
        work = self._pump(body, chunked, response.length, request.method == b"HEAD")
        if runner is not None:
            self._runner = runner
            runner.then(work, self._streamed)
        else:
            loop.call_soon(self._start_stream, work)
        loop.call_soon(self._flush_head)

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
        if error is None or self.transport is None:
            self._flush_head()
            self._finish()
        elif self._head and self._current is not None:  # nothing is sent yet: another answer may take its place
            self._head = b""
            self._answering = False
            self.respond(self._current, self._server.failed(self._current, error), runner)
        else:
            self._break(error)

    def _finish(self) -> None:
        """The current answer is written."""
        request = self._current
        if request is None:
            return
        self._current = None
        server = self._server
        server.counters.active -= 1
        self._since = server.now
        if self.transport is None:
            return
        if not request.keep_alive:
            self.send()
            self.expects = False
            if self.incoming is request or self._held:
                self._linger()
            else:
                self.transport.close()
        elif self.incoming is request:  # let the rest of its body pass
            self.discarded = 0
            if request._body is not None:
                request._body.fail(Disconnected("the request was answered before its body was read"))
            self._resume()
        elif not self._looping:
            server.loop.call_soon(self._next)

    def _break(self, error: BaseException) -> None:
        """An answer that cannot be completed: end the connection so that the client notices."""
        if self._current is not None:
            self._server.failed(self._current, error)
            self._current = None
            self._server.counters.active -= 1
        self.abort()

    def _refuse(self, response: Response) -> None:
        """Answer what never became a request, and close."""
        self._server.counters.refused += 1
        self.send()
        if self.transport is not None:
            lines, body = block(response.headers), cast(bytes, response.body)
            ending = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(b"".join((status_line(response.status), self._server.date, lines, ending, body)))
            self._linger()

    def _hand_over(self, response: Takeover, head: bytes) -> None:
        transport, self.transport = self.transport, None
        assert transport is not None
        rest = self.rest + b"".join(self._held)
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
        self.send()
        if self._current is None and not self.ready and self.incoming is None and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self._unsent = b""
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: float) -> None:
        """Hold the client, and the handler, to the time limits."""
        limits, silent = self.limits, now - self._since
        if self._lingering:
            if silent > LINGER:
                self.abort()
        elif self._current is None:
            if self.began and silent > limits.head_timeout:
                self._refuse(text(408, "the head of the request did not arrive in time"))
            elif silent > (limits.idle_timeout if self.incoming is None else limits.body_timeout):
                self.abort() if self.transport is None else self.transport.close()
        elif self._writable is not None:
            if silent > limits.write_timeout:
                self.abort()
        elif self._awaits_body() and silent > limits.body_timeout:
            self.doubt("the body of the request stopped arriving", status=408)
        elif limits.answer_timeout is not None and not self._answering and now - self._started > limits.answer_timeout:
            self._expire(self._current)

    def _expire(self, request: Request) -> None:
        if self._runner is not None:
            self._expired = True
            self._runner.cancel()
        else:
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
        self.send()
        self._lingering = True
        self._since = self._server.now
        if self.transport is not None:
            self._resume()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    # A body's wishes.

    def body_wanted(self) -> None:
        self._since = self._server.now
        if self.expects and self.transport is not None:
            self.expects = False
            self.send()
            self.transport.write(CONTINUE)

    def pause_body(self) -> None:
        self._pause()

    def resume_body(self) -> None:
        if not self._held and self.refusal is None:
            self._resume()

    def _awaits_body(self) -> bool:
        request = self._current
        return request is not None and request is self.incoming and request._body is not None and request._body.awaited

    def _pause(self) -> None:
        if self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self.transport is not None:
            self._reading = True
            self.transport.resume_reading()


_SPECIAL = BODILESS | {100, 101, 102, 103}


async def _awaiting(work: Awaitable[Answer]) -> Answer:
    return await work
