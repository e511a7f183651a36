"""Sockets for tests: raw requests, and subscribers that remember what they were sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runtimes.http.message import Request, Response
from runtimes.http.server import serve


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


async def raw(port: int, request: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("ce-id", "")


Answering = Callable[[Received], Response | Awaitable[Response]]


@dataclass
class Subscriber:
    """Answers with `answer(received)`; remembers everything it was sent."""

    url: str
    answer: Answering
    received: list[Received] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> Response:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        found = Received(request.target.decode(), headers, await request.read())
        self.received.append(found)
        self._more.set()
        answer = self.answer(found)
        return answer if isinstance(answer, Response) else await answer

    async def until(self, count: int) -> list[Received]:
        """Once so many requests have come."""
        async with asyncio.timeout(5):
            while len(self.received) < count:
                self._more.clear()
                await self._more.wait()
        return self.received

    @property
    def ids(self) -> list[str]:
        return [found.id for found in self.received]


def ok(received: Received) -> Response:
    return Response(200)


@asynccontextmanager
async def subscriber(answer: Answering = ok) -> AsyncIterator[Subscriber]:
    sock = listening()
    made = Subscriber(f"http://127.0.0.1:{sock.getsockname()[1]}", answer)
    server = await serve(made.handle, sock)
    try:
        yield made
    finally:
        await server.close()


async def until(condition: Callable[[], bool], deadline: float = 5.0) -> None:
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.005)
