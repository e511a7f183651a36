"""Bytes to requests: the parser's callbacks, and every reason to refuse what they bring.

Law: any doubt about where a message ends, ends the connection (RFC 9112, 6.3); bytes that make no progress are bounded.
No IO: what is received is found in `ready`, in the body of `incoming`, or in `refusal`.

httptools (llhttp, strict) refuses what smugglers use: both or several framing headers, folded lines, bare LF or CR,
spaces before a colon, data after `connection: close`. What it leaves to its user is checked in `on_headers_complete`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import httptools

from funcs.errors import BadRequest

from .body import Body
from .errors import RequestTimeout
from .headers import find
from .message import Request, Response, text
from .settings import Limits

_WATCHED = frozenset({b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"})


class Receiver:
    """The receiving half of a connection, which inherits it and is told of its bodies' wishes."""

    __slots__ = (
        "_headers",
        "_length",
        "_parser",
        "_target",
        "_unparsed",
        "discarded",
        "expects",
        "incoming",
        "limits",
        "ready",
        "refusal",
        "rest",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ready: deque[Request] = deque()
        self.incoming: Request | None = None
        """The request whose head is parsed and whose body has not ended."""
        self.refusal: Response | None = None
        """The answer to what followed the last request; nothing after it is looked at."""
        self.rest = b""
        """What follows a request for an upgrade."""
        self.expects = False
        """The client waits for `100 Continue`."""
        self.discarded = 0
        self._length = 0  # of the incoming body, if its head says so
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._unparsed = 0
        self._parser: Any = httptools.HttpRequestParser(self)

    def receive(self, data: bytes) -> None:
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            return
        except httptools.HttpParserError as error:
            self._expect_more()
            self.doubt(str(error))
            return
        if self.incoming is not None:
            self._expect_more()
        if self._unparsed > self.limits.head:
            self.doubt(f"the head is larger than {self.limits.head} bytes", status=431)
        elif len(self.ready) > self.limits.pipelined:
            self.doubt("too many requests at once", status=429)

    @property
    def began(self) -> bool:
        """Whether a part of a head is here."""
        return self._unparsed > 0 and self.incoming is None

    def doubt(self, message: str, status: int = 400) -> None:
        """The bytes from here on mean nothing: fail the body under way, or refuse what was to be a request."""
        incoming = self.incoming
        if incoming is not None and incoming._body is not None and not incoming._body.complete:
            incoming.keep_alive = False
            incoming._body.fail(RequestTimeout(message) if status == 408 else BadRequest(message))
        if self.refusal is None:
            self.refusal = text(status, message)

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        headers = self._headers
        request = Request(self, parser.get_method(), self._target, headers, parser.should_keep_alive())
        self._headers = []
        self._target = b""
        self._length = 0
        self.incoming = request
        hosts = 0
        plain = request.keep_alive and request.method != b"CONNECT"
        for name, value in headers:
            if name in _WATCHED:
                if name == b"host":
                    hosts += 1
                elif name == b"content-length":
                    self._content_length(int(value))
                else:
                    plain = False
                    self._watched(request, name, value)
        request.plain = plain and request.method != b"HEAD"
        if not plain or hosts != 1 or len(headers) > self.limits.fields or self._unparsed > self.limits.head:
            self._examine(request, hosts)
        self._unparsed = 0
        if self.refusal is None:
            self.ready.append(request)

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        request = self.incoming
        if request is None:
            return
        if request._body is None:
            if len(data) == self._length:
                request.whole = data
                return
            self._begin_body(request)
        if request._body is not None and not request._body.feed(data):
            self.discarded += len(data)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        request = self.incoming
        self.incoming = None
        if request is not None and request._body is not None:
            request._body.finish()
            if self.ready and self.ready[-1] is request:
                request.whole = request._body.whole
            if self._headers:  # trailers: bounded by `receive`, and dropped (RFC 9110, 6.5.1)
                self._headers = []

    # Checks.

    def _content_length(self, length: int) -> None:
        limit = self.limits.body
        if limit is not None and length > limit:
            self.refusal = text(413, f"the body is larger than {limit} bytes")
        else:
            self._length = length

    def _watched(self, request: Request, name: bytes, value: bytes) -> None:
        if name == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                self.refusal = text(501, "the only transfer coding understood is chunked")
            self._begin_body(request)
        elif name == b"upgrade":
            request.upgrade = self._parser.should_upgrade()

    def _examine(self, request: Request, hosts: int) -> None:
        """The checks that a plain request needs none of."""
        limits = self.limits
        request.version = self._parser.get_http_version()
        expected = find(request.headers, b"expect")
        bodied = self._length > 0 or request._body is not None
        if request.version not in {"1.0", "1.1"}:
            self.refusal = text(505, "HTTP/1.1 and HTTP/1.0 are understood")
        elif len(request.headers) > limits.fields:
            self.refusal = text(431, f"more than {limits.fields} header fields")
        elif self._unparsed > limits.head and _size(request.headers) > limits.head:
            self.refusal = text(431, f"the head is larger than {limits.head} bytes")
        elif hosts > 1 or (hosts == 0 and request.version == "1.1"):
            self.refusal = text(400, "a request has exactly one Host header")  # RFC 9112, 3.2
        elif request.method == b"CONNECT":
            self.refusal = text(501, "CONNECT is not served")
        elif expected is not None and expected.lower() != b"100-continue":
            self.refusal = text(417, "the only expectation understood is 100-continue")
        elif request.upgrade and bodied:  # the parser cannot tell where such a body ends
            self.refusal = text(400, "a request that asks for an upgrade has no body")
        self.expects = expected is not None and bodied and request.version == "1.1"
        if request.upgrade:
            request.keep_alive = False

    # Where a body's wishes go.

    def _expect_more(self) -> None:
        """Of the incoming request's body not all has come with the head."""
        request = self.incoming
        if request is not None and request._body is None and self._length:
            self._begin_body(request)

    def _begin_body(self, request: Request) -> None:
        request.whole = None
        request._body = Body(self, high=self.limits.unread, limit=self.limits.body)

    def respond(self, request: Request, response: Response) -> None:
        raise RuntimeError("a receiver alone cannot answer")

    def body_wanted(self) -> None:
        """A reader waits: the connection sends `100 Continue`, and counts the client's silence from now."""

    def pause_body(self) -> None:
        """Too much is unread."""

    def resume_body(self) -> None:
        """All is read."""


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
