"""A request as a handler sees it, and what a handler answers with.

Law: a Request knows nothing of parsing, a Response nothing of connections. Header names are lower case. No IO.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias

from .body import Body
from .headers import Block, Pairs, find


class Answering(Protocol):
    """The connection that a request came by."""

    def respond(self, request: Request, response: Response) -> None: ...


class Request:
    __slots__ = (
        "_body",
        "_connection",
        "headers",
        "keep_alive",
        "method",
        "on_disconnect",
        "target",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        connection: Answering,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool = True,
    ) -> None:
        self._connection: Answering = connection
        self._body: Body | None = None
        self.method = method
        self.target = target
        self.headers = headers
        self.version = "1.1"
        self.keep_alive = keep_alive
        self.upgrade = False
        # For handlers that answer LATER: called once if the client goes away, or its time is up, before they have.
        self.on_disconnect: Callable[[], None] | None = None

    @property
    def peer(self) -> tuple[str, int] | str:
        """The client's address and port; for unix sockets, a path, mostly empty."""
        transport: asyncio.Transport | None = getattr(self._connection, "transport", None)
        name = transport.get_extra_info("peername") if transport is not None else ""
        return (name[0], name[1]) if isinstance(name, tuple) else (name or "")

    @property
    def whole(self) -> bytes | None:
        """The body, if it has arrived in full and nothing was read of it; else None: use `read` or `stream`."""
        body = self._body
        return b"" if body is None else body.whole

    @property
    def has_body(self) -> bool:
        """Whether the request came with a body, perhaps an empty one."""
        return self._body is not None

    async def read(self, limit: int | None = None) -> bytes:
        """The (rest of the) body. Raises TooLarge, Disconnected."""
        return b"" if self._body is None else await self._body.read(limit)

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; unread, it holds the client back. Raises TooLarge, Disconnected."""
        return nothing() if self._body is None else self._body.stream()

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return find(self.headers, name)

    def respond(self, response: Response) -> None:
        """Answer a request whose handler returned LATER. Too late an answer, or a second one, is dropped."""
        self._connection.respond(self, response)

    def __repr__(self) -> str:
        return f"<Request {self.method.decode('latin-1')} {self.target.decode('latin-1')}>"


class Response:
    """`headers`: pairs, or a `headers.block` of them, without framing headers. `length`: of a streamed body, when it is
    known, or of the body that an answer to HEAD stands for."""

    __slots__ = ("body", "headers", "length", "status")

    def __init__(
        self,
        status: int = 200,
        headers: Pairs | Block = (),
        body: bytes | AsyncIterable[bytes] = b"",
        *,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.length = length

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Takeover(Response):
    """Answer `101 Switching Protocols`, then hand the raw connection to `protocol`, with what was read beyond the head.

    `upgrade` is the protocol's name on the wire, such as `websocket`.
    """

    __slots__ = ("protocol", "upgrade")

    def __init__(self, upgrade: bytes, protocol: asyncio.Protocol, headers: Pairs | Block = ()) -> None:
        super().__init__(101, headers)
        self.upgrade = upgrade
        self.protocol = protocol


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


async def nothing() -> AsyncIterator[bytes]:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece
