"""One connection to a pod, and the answer that comes by it.

Law: carries one request at a time. Of an answer only the head is touched; the rest passes byte for byte, parsed merely
to know where it ends. A connection on which anything unexpected came is never used again. IO: one socket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import httptools

from .backend import Pod
from .heads import end_to_end
from .repeats import Answer, answered

if TYPE_CHECKING:
    from .exchange import Exchange

_HEAD_LIMIT = 64 * 1024


class Upstream(asyncio.Protocol):
    """`reused` says that it has carried a request before; `since` when it was last put aside, in the gateway's time."""

    __slots__ = (
        "_buffer", "_complete", "_exchange", "_in_head", "_keep", "_overrun", "_parser", "_status", "pod", "reused",
        "since", "transport",
    )  # fmt: skip

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.reused = False
        self.since = 0.0
        self._exchange: Exchange | None = None
        self._parser: Any = None
        self._buffer = b""
        self._status = 0
        self._in_head = self._complete = self._keep = self._overrun = False

    def start(self, exchange: Exchange) -> None:
        """From now on what comes is the answer to `exchange`."""
        self._exchange = exchange
        self._in_head, self._complete = True, False
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)

    def put_aside(self, now: float) -> None:
        """The answer is complete, and the connection waits for the next request."""
        self._exchange = None
        self._in_head = False
        self.reused = True
        self.since = now
        self.pod.idle.append(self)

    def detach(self) -> None:
        """Nobody wants the answer any more."""
        self._exchange = None
        self.transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.transport.abort()
        elif self._in_head:
            if self._buffer or not answered(self, exchange, data):
                self._head(data, exchange)
        elif self._feed(data):
            exchange.pass_on(data)
            if self._complete:
                self._end(exchange)
        else:
            exchange.upstream_failed("the answer is malformed")

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.upstream_lost(self, untouched=self._in_head and not self._buffer)
        elif self in self.pod.idle:
            self.pod.idle.remove(self)

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.client.hold()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.client.unhold()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._overrun = True

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    # The answer.

    def _head(self, data: bytes, exchange: Exchange) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                self._buffer = data
                if len(data) > _HEAD_LIMIT:
                    exchange.upstream_failed("the head of the answer is too large")
                return
            status = data[9:12]
            if not (status.startswith(b"1") and status != b"101"):
                break
            if not self._feed(data[:end]):  # an interim answer: 100 Continue, 103 Early Hints
                exchange.upstream_failed("the answer is malformed")
                return
            exchange.interim(end_to_end(data[:end]))
            data = data[end:]
            if not data:
                return
        self._final(data, end, exchange)

    def _final(self, data: bytes, end: int, exchange: Exchange) -> None:
        bodiless = exchange.method == b"HEAD"
        rest = b""
        try:
            self._parser.feed_data(data[:end] if bodiless else data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError:
            exchange.upstream_failed("the answer is malformed")
            return
        status = self._parser.get_status_code()
        self._in_head = False
        if status == 101:
            self._switch(data[:end], rest, exchange)
            return
        if bodiless:
            self._complete, self._keep, self._parser = True, len(data) == end and self._keeps(data[:end]), None
            data = data[:end]
        if self._overrun:
            exchange.upstream_failed("more than one answer came to one request")
            return
        head = data[:end]
        passed = end_to_end(head)
        if self._complete and self._keep and not bodiless:
            self._remember(head, len(data), status, passed)
        exchange.answer(status, passed, data[end:] if len(data) > end else b"")
        if self._complete:
            self._end(exchange)

    def _remember(self, head: bytes, size: int, status: int, passed: bytes) -> None:
        """A head that comes for the second time in a row is worth remembering."""
        pod = self.pod
        if head == pod.last_head:
            pod.known = Answer.learned(head, size, status, passed)
        pod.last_head = head

    def _keeps(self, head: bytes) -> bool:
        return head.startswith(b"HTTP/1.1") and b"connection: close" not in head.lower()

    def _feed(self, data: bytes) -> bool:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            return False
        return not self._overrun

    def _end(self, exchange: Exchange) -> None:
        self._exchange = None
        self.reused = True
        exchange.upstream_done(self, reusable=bool(self._keep))

    def _switch(self, head: bytes, rest: bytes, exchange: Exchange) -> None:
        self._exchange = None
        exchange.switch(self, head, rest)
