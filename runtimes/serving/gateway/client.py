"""A client's connection: parses requests, serves them in order, holds the client back when it is ahead.

Law: requests are answered in the order they came, one at a time; a client that breaks HTTP is told so once, after what
it asked before, and loses the connection. IO: one socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from . import heads
from .answers import answer
from .exchange import Exchange
from .repeats import Request, fields_of, learned, repeated
from .table import Target
from .tunnel import join

if TYPE_CHECKING:
    from .gateway import Gateway
    from .upstream import Upstream

_PIPELINED = 256
_LINGER = 2.0  # seconds that a refused client has to stop sending


class ClientConnection(asyncio.Protocol):
    """`current` is being served, `_incoming` is being parsed (often the same), `_queued` wait their turn."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.peer = ""
        self.is_old = False  # HTTP/1.0
        self.held = False
        self.slow = False
        self.draining = False
        self.is_large = False  # more than a head's limit came at once
        self.host = b""  # the last one asked for, the target it led to, and the table's version then
        self.target: Target | None = None
        self.version = -1
        self.current: Exchange | None = None
        self.since = gateway.now
        self._parser: Any = httptools.HttpRequestParser(self)
        self._incoming: Exchange | None = None
        self._queued: deque[Exchange] = deque()
        self._refusal: tuple[int, str] | None = None
        self._serving = False
        self._paused = False
        self._unparsed = 0
        self._forwarded: tuple[bytes, bytes] = (b"", b"")
        self._fields = b""  # of the last request that came at once, and what is known of such
        self._known: Request | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else "unix"
        self.gateway.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        gateway = self.gateway
        self.since = gateway.now
        idle = self.current is None and self._incoming is None
        if len(data) > gateway.settings.head:
            self.is_large = True
        elif idle and self._known is not None and repeated(self, self._known, data):
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(400, f"malformed request: {error}\n")
        incoming, current = self._incoming, self.current
        if idle and current is not None and not self.is_large:
            self._remember(data, current)
        if incoming is not None and not incoming.method:
            self._head_grows(len(data))
        if self._refusal is not None or (current is not None and not current.started):
            self._serve()
        elif current is not None and current.pending:
            current.push()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway.left(self)
        self._queued.clear()
        current, self.current = self.current, None
        if current is not None:
            current.abandon()

    def pause_writing(self) -> None:
        """The client is slow: hold the pod back."""
        self.slow = True
        if self.current is not None and self.current.upstream is not None:
            self.current.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self.slow = False
        if self.current is not None and self.current.upstream is not None:
            self.current.upstream.transport.resume_reading()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._incoming = Exchange(self)

    def on_url(self, url: bytes) -> None:
        incoming = cast(Exchange, self._incoming)
        incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        incoming = cast(Exchange, self._incoming)
        name = name.lower()
        if name not in heads.SPECIAL:
            incoming.lines += (name, b": ", value, b"\r\n")
        elif name == b"host":
            incoming.host = value
            incoming.hosts += 1
        else:
            _note(incoming, name, value)

    def on_headers_complete(self) -> None:
        incoming, parser = cast(Exchange, self._incoming), self._parser
        self._unparsed = 0
        incoming.method = parser.get_method()
        if not parser.should_keep_alive():
            incoming.close = True
        version = parser.get_http_version()
        if version != "1.1":
            self.is_old = incoming.close = True
        if not incoming.target.startswith(b"/"):
            _absolute(incoming)
        if parser.should_upgrade():
            incoming.upgrade = incoming.upgrade_to != b"" and incoming.length is None and not incoming.chunked
        if self.current is None:
            self.current = incoming
        else:
            self._queued.append(incoming)
            self._read_or_not()

    def on_body(self, data: bytes) -> None:
        if self._incoming is not None:  # None once it was refused
            self._incoming.body(data)

    def on_message_complete(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.ended()
        if len(self._queued) > _PIPELINED:
            self.refuse(400, f"more than {_PIPELINED} requests are waiting on this connection\n")

    # What exchanges call.

    def finished(self, exchange: Exchange, *, keep: bool) -> None:
        """The answer is out."""
        if exchange is not self.current:
            return
        self.current = None
        self.since = self.gateway.now
        if not keep or self.draining:
            self._queued.clear()
            self.transport.close()
            return
        if self._queued or self._refusal is not None or self.held:
            self.held = False
            self._serve()

    def refuse(self, status: int, text: str) -> None:
        """What comes now cannot be understood or taken: say so when it is its turn, and close."""
        if self._refusal is not None:
            return
        self._refusal = (status, text)
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.refused = True
            if self._queued and self._queued[-1] is incoming:
                self._queued.pop()

    def hold(self) -> None:
        """Read no more for now."""
        self.held = True
        self._read_or_not()

    def unhold(self) -> None:
        self.held = False
        self._read_or_not()

    def abort(self) -> None:
        """Cut: the answer cannot be completed."""
        self.transport.abort()

    def join(self, exchange: Exchange, upstream: Upstream, head: bytes, rest: bytes) -> None:
        """Hand both connections to a tunnel; the exchange lasts as long as that."""
        self.current = None
        held = b"".join(exchange.pending)
        self.transport.write(head + rest)
        if held:
            upstream.transport.write(held)
        self.gateway.left(self)
        join(self.transport, upstream.transport, exchange.finish_tunnel)

    def look_up(self, host: bytes) -> Target | None:
        """The target of a host, remembered for the next request. Raises BadRequest."""
        table = self.gateway.table
        self.target = table.find(host)
        self.host, self.version = host, table.version
        return self.target

    def forwarded(self, host: bytes) -> bytes:
        """Made once for each host that a connection asks for in a row."""
        if self._forwarded[0] != host:
            self._forwarded = (host, heads.forwarded(self.peer, host))
        return self._forwarded[1]

    def drain(self) -> None:
        """Close as soon as nothing is under way."""
        self.draining = True
        if self.current is None:
            self.transport.close()

    def check(self, now: float) -> None:
        """Hold the client to the time limits."""
        settings = self.gateway.settings
        if self.current is not None:
            self.current.check(now)
        elif self._refusal is not None:
            if now - self.since > _LINGER:
                self.transport.abort()
        elif self._incoming is not None or self._unparsed:
            if now - self.since > settings.head_timeout:
                self.transport.write(answer(408, "the request did not arrive in time\n", close=True))
                self.transport.close()
        elif now - self.since > settings.idle_timeout:
            self.transport.close()

    # Serving.

    def _serve(self) -> None:
        """Start what is due; answers that are given at once are followed by the next, without recursion."""
        if self._serving:
            return
        self._serving = True
        while True:
            current = self.current
            if current is None:
                if not self._queued or self.transport.is_closing():
                    break
                current = self.current = self._queued.popleft()
            if current.started:
                break
            current.start()
        self._serving = False
        refusal = self._refusal
        if refusal is not None and (current is None or current.refused) and not self.transport.is_closing():
            self._end_with(*refusal)
        if self._paused or self.held:
            self._read_or_not()

    def _end_with(self, status: int, text: str) -> None:
        current, self.current = self.current, None
        if current is not None:
            begun = current.sent
            current.status = status
            current.abandon()
            if begun:
                self.transport.abort()
                return
        self.gateway.refused[status] = self.gateway.refused.get(status, 0) + 1
        self.transport.write(answer(status, text, close=True))
        if self.transport.can_write_eof():
            self.transport.write_eof()  # and let what still comes pass, or a reset would take the answer with it
        else:
            self.transport.close()

    def _head_grows(self, received: int) -> None:
        self._unparsed += received
        if self._unparsed > self.gateway.settings.head:
            self.refuse(431, f"the head is larger than {self.gateway.settings.head} bytes\n")

    def _remember(self, data: bytes, exchange: Exchange) -> None:
        """A head that comes for the second time in a row is worth remembering."""
        fields = fields_of(data)
        if fields and fields == self._fields:
            self._known = learned(data, fields, exchange)
        self._fields = fields

    def _upgrade(self, rest: bytes) -> None:
        """The parser stops at a request to upgrade. A tunnel keeps what follows; else it is parsed as HTTP/1.1."""
        newest = self._queued[-1] if self._queued else self.current
        if newest is None:
            return
        self._parser = httptools.HttpRequestParser(self)
        if newest.upgrade:
            newest.close = True
            if rest:
                newest.pending.append(rest)
            self.hold()
            return
        if newest.length is not None or newest.chunked:
            self._incoming = newest
            self._parser = _rest_of(newest, self)
        if rest:
            self.data_received(rest)

    def _read_or_not(self) -> None:
        """Reading stops while requests queue up here or the pod takes no more."""
        pause = self.held or bool(self._queued)
        if pause == self._paused or self.transport.is_closing():
            return
        self._paused = pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


def _note(incoming: Exchange, name: bytes, value: bytes) -> None:
    """Headers that do not simply pass."""
    if name == b"content-length":
        incoming.length = value
    elif name == b"transfer-encoding":
        incoming.chunked = True
    elif name in heads.FORWARDED:
        incoming.brought = [*(incoming.brought or ()), (name, value)]
    elif name == b"connection":
        incoming.connection = [*(incoming.connection or ()), value]
    elif name == b"upgrade":
        # HTTP/2 over cleartext is not spoken here: the request goes on as HTTP/1.1, as RFC 9110, 7.8 allows.
        incoming.upgrade_to = b"" if value.strip().lower().startswith(b"h2c") else value
    elif name == heads.PROBE:
        incoming.probe = value


def _absolute(incoming: Exchange) -> None:
    """The absolute form of a target names the host itself (RFC 9112, 3.2.2); `*` is OPTIONS' own."""
    scheme, colon, rest = incoming.target.partition(b"://")
    if not colon or scheme.lower() not in (b"http", b"https"):
        return
    authority, slash, path = rest.partition(b"/")
    host, mark, query = authority.partition(b"?")
    incoming.host, incoming.hosts = host, min(incoming.hosts, 1) or 1
    incoming.target = slash + path if slash else b"/" + mark + query


def _rest_of(exchange: Exchange, client: ClientConnection) -> Any:
    """A parser of the body alone, where the first parser stopped after the head; the connection ends with it."""
    exchange.complete, exchange.close = False, True
    exchange.pending.clear()
    framing = b"transfer-encoding: chunked" if exchange.chunked else b"content-length: " + (exchange.length or b"0")
    parser = httptools.HttpRequestParser(_Body(client))
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
    return parser


class _Body:
    """Takes one body; what follows it is not looked at."""

    def __init__(self, client: ClientConnection) -> None:
        self._client: ClientConnection | None = client

    def on_body(self, data: bytes) -> None:
        if self._client is not None:
            self._client.on_body(data)

    def on_message_complete(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_message_complete()
