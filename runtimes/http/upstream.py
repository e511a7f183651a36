"""One connection to an upstream, and the answer that comes by it.

Law: an upstream carries one exchange at a time, and is reused only when both messages ended where they said they would.
A callback interface, for those who count microseconds; `Pool.request` is for everyone else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Protocol, TypeAlias, cast

import httptools

from .body import Body
from .errors import ResponseTimeout, UpstreamLost
from .headers import BODILESS, LAST_CHUNK, chunk, find
from .settings import PoolLimits, Timeouts


class ClientResponse:
    """An answer. Read it to the end or `release` it; both give the connection back."""

    __slots__ = ("_body", "_upstream", "headers", "status")

    def __init__(self, upstream: Upstream, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._upstream = upstream
        self._body: Body | None = None
        self.status = status
        self.headers = headers

    @property
    def whole(self) -> bytes | None:
        """The body, if all of it is here already and nothing was read."""
        return b"" if self._body is None else self._body.whole

    @property
    def length(self) -> int | None:
        """What content-length says."""
        value = find(self.headers, b"content-length")
        return int(value) if value is not None else None

    def header(self, name: bytes) -> bytes | None:
        return find(self.headers, name)

    async def read(self, limit: int | None = None) -> bytes:
        """The (rest of the) body. Raises TooLarge, UpstreamLost, ResponseTimeout."""
        try:
            return b"" if self._body is None else await self._body.read(limit)
        finally:
            self.release()

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces; the upstream is held back while nobody reads. Raises UpstreamLost, ResponseTimeout."""
        try:
            if self._body is not None:
                async for data in self._body.stream():
                    yield data
        finally:
            self.release()

    def release(self) -> None:
        """Done with it. An answer not read to its end costs its connection."""
        self._upstream.done(self)

    def take_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """After status 101: the raw connection, from now on `protocol`'s."""
        return self._upstream.hand_over(protocol)

    def __repr__(self) -> str:
        return f"<ClientResponse {self.status}>"


Answered: TypeAlias = Callable[[ClientResponse | None, Exception | None], None]


class Home(Protocol):
    """Where an upstream goes when its exchange is over."""

    now: float

    def came_free(self, upstream: Upstream) -> None: ...

    def lost(self, upstream: Upstream) -> None: ...


class Upstream(asyncio.Protocol):
    __slots__ = (
        "_answered",
        "_bodiless",
        "_ended",
        "_headers",
        "_limits",
        "_parser",
        "_reading",
        "_response",
        "_rest",
        "_timeouts",
        "_unparsed",
        "_until_close",
        "_upload",
        "_uploaded",
        "_writable",
        "address",
        "home",
        "keep",
        "reused",
        "since",
        "transport",
    )

    def __init__(self, home: Home, address: Any, limits: PoolLimits) -> None:
        self.home = home
        self.address = address
        self._limits = limits
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.since = home.now
        self._parser: Any = None
        self._answered: Answered | None = None
        self._response: ClientResponse | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._rest = b""
        self._upload: asyncio.Task[None] | None = None
        self._reset(Timeouts(), False)

    # Sending.

    def send(
        self, data: bytes, answered: Answered, *, timeouts: Timeouts, method: bytes = b"GET", more: bool = False
    ) -> None:
        """Write a request's bytes; `answered(response, None)` or `answered(None, error)` is called once, later.

        `more`: the body is not complete in `data`; `upload` it.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise UpstreamLost(f"the connection to {self.address} is closed", reused=self.reused)
        self._parser = httptools.HttpResponseParser(self)
        self._answered = answered
        self._reset(timeouts, method == b"HEAD")
        self._uploaded = not more
        transport.write(data)

    def upload(self, body: AsyncIterable[bytes], *, chunked: bool) -> asyncio.Task[None]:
        """Send the rest of the request, also while its answer comes. It stops when the exchange ends."""
        upload = self._upload = asyncio.get_running_loop().create_task(self._send_body(body, chunked))
        upload.add_done_callback(self._body_sent)
        return upload

    async def _send_body(self, body: AsyncIterable[bytes], chunked: bool) -> None:
        try:
            async for data in body:
                if self.transport is None or self._ended:
                    return
                if data:
                    self.transport.write(chunk(data) if chunked else data)
                    self.since = self.home.now
                if self._writable is not None:
                    await self._writable
            if self.transport is not None and not self._ended:
                if chunked:
                    self.transport.write(LAST_CHUNK)
                self._uploaded = True
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()

    def _body_sent(self, upload: asyncio.Task[None]) -> None:
        self._upload = None
        if not upload.cancelled() and upload.exception() is not None:
            self._fail(UpstreamLost("the request's own body broke off"))

    def _reset(self, timeouts: Timeouts, bodiless: bool) -> None:
        self._timeouts = timeouts
        self._bodiless = bodiless
        self._headers: list[tuple[bytes, bytes]] = []
        self._ended = self._until_close = False
        self._uploaded = True
        self._unparsed = 0
        self.keep = False
        self.since = self.home.now

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._ended:  # bytes nobody asked for
            self.close()
            return
        self._unparsed += len(data)
        self.since = self.home.now
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._response is not None and self._response.status == 101:
                self._rest = data[upgrade.args[0] :]
                self._pause()
            else:
                self._fail(UpstreamLost("the upstream switched protocols unasked"))
                return
        except httptools.HttpParserError as error:
            self._fail(UpstreamLost(f"the upstream's answer is malformed: {error}"))
            return
        if self._unparsed > self._limits.head:
            self._fail(UpstreamLost(f"the head of the upstream's answer is larger than {self._limits.head} bytes"))
        elif self._response is not None and self._answered is not None:
            answered, self._answered = self._answered, None
            answered(self._response, None)

    def eof_received(self) -> None:
        if self._until_close and self._response is not None and not self._ended:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof_received()
        self.transport = None
        self.resume_writing()
        self._fail(
            UpstreamLost(f"the connection to {self.address} broke", reused=self.reused and self._response is None)
        )
        self._parser = None
        self.home.lost(self)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        if self._response is not None:  # more than one answer to one request
            self.keep = False
            return
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if status < 200 and status != 101:
            return  # an interim answer; the next message is the one
        self.keep = self._parser.should_keep_alive()
        response = self._response = ClientResponse(self, status, headers)
        if self._bodiless or status in BODILESS or status == 101:
            return
        framing = [value for name, value in headers if name in {b"content-length", b"transfer-encoding"}]
        if framing != [b"0"]:
            response._body = Body(self, high=self._limits.unread, limit=None)
            self._until_close = not framing

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        if not self._ended and self._response is not None and self._response._body is not None:
            self._response._body.feed(data)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if self._response is not None and not self._until_close:
            self._end()

    # Ending.

    def _end(self) -> None:
        self._ended = True
        response = self._response
        if response is not None and response._body is not None:
            response._body.finish()

    def _fail(self, error: Exception) -> None:
        response, answered = self._response, self._answered
        self._answered = None
        self.keep = False
        if response is not None and response._body is not None:
            response._body.fail(error)
        self.close()
        if answered is not None:
            answered(None, error)

    def done(self, response: ClientResponse) -> None:
        """The reader of `response` is finished with it."""
        if response is not self._response:
            return
        reusable = self._ended or (self._bodiless and self._response is not None)
        self._response = None
        self._parser = None
        if self.transport is not None and self.keep and reusable and self._uploaded and not self._until_close:
            self.reused = True
            self.since = self.home.now
            self._resume()
            self.home.came_free(self)
        else:
            self.close()

    def give_up(self) -> None:
        """Nobody wants the answer any more."""
        self._answered = None
        self.close()

    def close(self) -> None:
        if self._upload is not None:
            self._upload.cancel()
        if self.transport is not None:
            self.transport.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        transport, self.transport = self.transport, None
        if transport is None:
            raise UpstreamLost(f"the connection to {self.address} broke")
        self.home.lost(self)
        self._parser = self._response = None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._rest:
            protocol.data_received(self._rest)
        if not self._reading:
            transport.resume_reading()
        return transport

    def check(self, now: float) -> None:
        """Hold the upstream to the time limits."""
        silent = now - self.since
        timeouts = self._timeouts
        if self._answered is not None:
            if timeouts.response is not None and silent > timeouts.response:
                self._fail(ResponseTimeout(f"no answer from {self.address} within {timeouts.response} s"))
        elif self._response is not None:
            if not self._ended and self._reading and timeouts.idle is not None and silent > timeouts.idle:
                self._fail(ResponseTimeout(f"the answer from {self.address} stopped for {timeouts.idle} s"))
        elif self._parser is None and silent > self._limits.idle:
            self.close()

    # A body's wishes.

    def body_wanted(self) -> None:
        self.since = self.home.now

    def pause_body(self) -> None:
        self._pause()

    def resume_body(self) -> None:
        self._resume()

    def _pause(self) -> None:
        if self._reading and self.transport is not None:
            self._reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self.transport is not None:
            self._reading = True
            self.since = self.home.now
            self.transport.resume_reading()
