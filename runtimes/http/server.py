"""An HTTP/1.1 server on an already bound socket.

Law: the server knows no routes and reads no environment; it calls one handler. Its clock is the event loop's, read once
a tick and only while there are connections, so an idle server does nothing at all. IO: the sockets.

A handler is `Request -> Response | Awaitable[Response] | LATER`. Coroutines are stepped at once and cost a task switch
only if they wait. A coroutine is cancelled when its client goes away or `Limits.answer_timeout` passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from funcs.errors import FuncsError, Timeout

from . import headers
from .connection import Connection
from .eager import Runners
from .message import Handler, Request, Response, text
from .settings import Limits

Failure: TypeAlias = Callable[[Request, BaseException], Response]

TOGETHER = 32  # answers that leave at once, at most

_log = logging.getLogger("funcs.http")


async def serve(
    handler: Handler,
    sock: socket.socket,
    *,
    limits: Limits | None = None,
    failure: Failure | None = None,
    wall: Callable[[], float] = time.time,
) -> Server:
    """Serve `sock`, bound and of any stream family, until `Server.drain` or `close`.

    `failure` answers for a handler that raised (also CancelledError and the body's errors); by default an error of our
    family becomes its code and message, anything else a bare 500 and a traceback in the log. `wall` gives Unix seconds
    for `date`.
    """
    loop = asyncio.get_running_loop()
    server = Server(handler, limits or Limits(), failure or answer_failure, wall, loop)
    sock.setblocking(False)
    server.listener = await loop.create_server(lambda: Connection(server), sock=sock, backlog=4096)
    return server


def answer_failure(request: Request, error: BaseException) -> Response:
    if isinstance(error, FuncsError):
        return text(error.code, error.message)
    _log.error("%r failed", request, exc_info=error)
    return text(500, "internal error")


@dataclass(slots=True)
class Counters:
    """Since the start: connections accepted, requests dispatched, refused before that. Now: exchanges in flight."""

    accepted: int = 0
    requests: int = 0
    refused: int = 0
    active: int = 0


class Server:
    """Made by `serve`. `draining`: every answer from now on is its connection's last."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        failure: Failure,
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.failed = failure
        self.loop = loop
        self.runners = Runners(loop, contextvars.copy_context())
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self.draining = False
        self.now = loop.time()
        self.date = b""
        self.starts: dict[int, bytes] = {}
        """Status line and date of ordinary answers, until the next tick."""
        self._posted: list[Connection] = []
        self.listener: asyncio.Server | None = None
        self._wall = wall
        self._ticking: asyncio.TimerHandle | None = None
        self._period = _period(limits)
        self._empty: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(self.listener.sockets) if self.listener is not None else ()

    async def drain(self, deadline: float) -> int:
        """Stop accepting, let what is in flight finish for up to `deadline` seconds, close: how many were cut off."""
        await asyncio.sleep(0)  # what the kernel has accepted for us is still ours to answer
        self.draining = True
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.drain()
        await self._emptied(deadline)
        return await self.close()

    async def close(self) -> int:
        """Stop at once. Gives how many exchanges were cut off."""
        cut = self.counters.active
        self.draining = True
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.abort()
        await self.runners.close()
        await self._emptied(1.0)
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        return cut

    async def _emptied(self, deadline: float) -> None:
        if self.connections:
            self._empty = self.loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await self._empty

    # What connections call.

    def opened(self, connection: Connection) -> bool:
        """Whether there is room for it."""
        if self._ticking is None:
            self._tick()
        self.connections.add(connection)
        self.counters.accepted += 1
        return len(self.connections) <= self.limits.connections

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    def post(self, connection: Connection) -> None:
        """Have it send at the end of the loop's turn, or when enough others have posted too.

        Answers that leave together wake a client of several of them once; waking it for each can cost as much as the
        rest of the exchange.
        """
        posted = self._posted
        if not posted:
            self.loop.call_soon(self._send)
        posted.append(connection)
        if len(posted) >= TOGETHER:
            self._send()

    def _send(self) -> None:
        posted, self._posted = self._posted, []
        for connection in posted:
            connection.send()

    def expired(self) -> Timeout:
        return Timeout(f"no answer within {self.limits.answer_timeout} s")

    def _tick(self) -> None:
        self.now = self.loop.time()
        self.date = headers.date_line(self._wall())
        self.starts = {status: line + self.date for status, line in _ORDINARY.items()}
        for connection in list(self.connections):
            connection.check(self.now)
        self._ticking = self.loop.call_later(self._period, self._tock)

    def _tock(self) -> None:
        self._ticking = None
        if self.connections:
            self._tick()


_ORDINARY = {status: line for status, line in headers.STATUS_LINES.items() if status >= 200 and status != 304}


def _period(limits: Limits) -> float:
    """Seconds between looks at the clock."""
    times = (limits.head_timeout, limits.idle_timeout, limits.body_timeout, limits.write_timeout)
    shortest = min(*times, limits.answer_timeout or times[0])
    return min(1.0, max(0.02, shortest / 4))
