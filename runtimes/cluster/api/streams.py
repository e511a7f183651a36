"""Long answers: watches and followed logs, sent as they come.

Law: every chunk is flushed at once; the source is closed when the client goes, when the server stops and when it fails,
whichever is first, and nothing polls. IO: the ASGI channel it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send


class Stream:
    """An ASGI response of a source of chunks. `closing` is set when the server stops."""

    def __init__(self, chunks: AsyncIterator[bytes], closing: asyncio.Event, media_type: str) -> None:
        self._chunks = chunks
        self._closing = closing
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", self._media_type.encode()), (b"cache-control", b"no-cache, private")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        tasks = [
            asyncio.ensure_future(self._pump(send)),
            asyncio.ensure_future(_gone(receive)),
            asyncio.ensure_future(self._closing.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            pumped, gone, _ = await asyncio.gather(*tasks, return_exceptions=True)
        if gone is not True:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if isinstance(pumped, Exception):
            raise pumped

    async def _pump(self, send: Send) -> None:
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _gone(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


async def starting(chunks: AsyncIterator[bytes], patience: float) -> AsyncIterator[bytes]:
    """The same chunks; an error that the source has at once is raised here, where it can still become a Status.

    `patience` is how many seconds the first chunk is awaited for; a quiet source is not an error.
    """
    first = asyncio.ensure_future(anext(aiter(chunks), None))
    try:
        await asyncio.wait([first], timeout=patience)
    except asyncio.CancelledError:
        first.cancel()
        raise
    if first.done():
        first.result()
    return _resumed(first, chunks)


async def _resumed(first: asyncio.Future[bytes | None], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        chunk = await first
    except asyncio.CancelledError:
        first.cancel()
        raise
    if chunk is None:
        return
    yield chunk
    async for chunk in rest:
        yield chunk
