"""A request as a handler sees it, and what a handler answers with.

Law: a Request knows nothing of parsing, a Response nothing of connections. Header names are lower case. No IO. Both are
Structs because those are made in C.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec

from .body import Body
from .errors import TooLarge
from .headers import Block, Pairs, find


class Answering(Protocol):
    """The connection that a request came by."""

    def respond(self, request: Request, response: Response) -> None: ...


class Request(msgspec.Struct, eq=False):
    """What a client asks. A body that came in one piece with its head is plain bytes; any other is a Body."""

    _connection: Answering
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool = True
    plain: bool = False
    """HTTP/1.1 on a connection that stays, without an expectation or an upgrade, and no HEAD."""
    version: str = "1.1"
    upgrade: bool = False
    on_disconnect: Callable[[], None] | None = None
    """For handlers that answer LATER: called once if the client goes away, or its time is up, before they have."""
    whole: bytes | None = b""
    """The body, if all of it was here when the handler was called; None: use `read` or `stream`."""
    _body: Body | None = None

    @property
    def peer(self) -> tuple[str, int] | str:
        """The client's address and port; for unix sockets, a path, mostly empty."""
        transport: asyncio.Transport | None = getattr(self._connection, "transport", None)
        name = transport.get_extra_info("peername") if transport is not None else ""
        return (name[0], name[1]) if isinstance(name, tuple) else (name or "")

    async def read(self, limit: int | None = None) -> bytes:
        """The (rest of the) body. Raises TooLarge, Disconnected."""
        if self._body is not None:
            return await self._body.read(limit)
        content, self.whole = self.whole or b"", b""
        if limit is not None and len(content) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return content

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; unread, it holds the client back. Raises TooLarge, Disconnected."""
        if self._body is not None:
            return self._body.stream()
        content, self.whole = self.whole or b"", b""
        return pieces(content)

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return find(self.headers, name)

    def respond(self, response: Response) -> None:
        """Answer a request whose handler returned LATER. Too late an answer, or a second one, is dropped."""
        self._connection.respond(self, response)

    def __repr__(self) -> str:
        return f"<Request {self.method.decode('latin-1')} {self.target.decode('latin-1')}>"


class Response(msgspec.Struct, eq=False):
    """`headers`: pairs, or a `headers.block` of them, without framing headers. `length`: of a streamed body, when it is
    known, or of the body that an answer to HEAD stands for."""

    status: int = 200
    headers: Pairs | Block = ()
    body: bytes | AsyncIterable[bytes] = b""
    length: int | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Takeover(Response, kw_only=True, eq=False):
    """Answer `101 Switching Protocols`, then hand the raw connection to `protocol`, with what was read beyond the head.

    `upgrade` is the protocol's name on the wire, such as `websocket`.
    """

    status: int = 101
    upgrade: bytes
    protocol: asyncio.Protocol


class Later:
    def __repr__(self) -> str:
        return "LATER"


LATER = Later()
"""What a handler returns that will call `request.respond` itself."""

Answer: TypeAlias = Response | Later
Handler: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]


def text(status: int, message: str) -> Response:
    """A short plain answer."""
    return Response(status, ((b"content-type", b"text/plain; charset=utf-8"),), message.encode() + b"\n")


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
