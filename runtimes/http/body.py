"""A message's body as it arrives: fed by a connection, read by a handler.

Law: what is held is bounded. Beyond `high` unread bytes the connection is told to pause, and to resume when the reader
has caught up; beyond `limit` bytes in all, reading fails with TooLarge. One reader. No IO of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from .errors import TooLarge


class Source(Protocol):
    """The connection a body comes from."""

    def body_wanted(self) -> None:
        """A reader waits: send `100 Continue` if the peer expects it, and count its silence from now."""
        ...

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...


class Body:
    __slots__ = ("_chunks", "_error", "_held", "_high", "_limit", "_source", "_waiter", "complete", "received")

    def __init__(self, source: Source, *, high: int, limit: int | None) -> None:
        self._source = source
        self._high = high
        self._limit = limit
        self._chunks: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.complete = False
        self.received = 0

    def feed(self, data: bytes) -> bool:
        """Whether anybody may still read it."""
        if self._error is not None:
            return False
        self.received += len(data)
        if self._limit is not None and self.received > self._limit:
            self.fail(TooLarge(f"the body is larger than {self._limit} bytes"))
            return False
        self._chunks.append(data)
        self._held += len(data)
        if self._held > self._high:
            self._source.pause_body()
        self._wake()
        return True

    def finish(self) -> None:
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Every read from now on raises `error`, unless the body is complete."""
        if not self.complete and self._error is None:
            self._error = error
            self._chunks.clear()
            self._held = 0
            self._wake()

    @property
    def awaited(self) -> bool:
        """Whether a reader waits for more."""
        return self._waiter is not None

    @property
    def whole(self) -> bytes | None:
        """All of the body, unread so far, if all of it is here; None while more is to come."""
        if not self.complete or self._error is not None:
            return None
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    async def read(self, limit: int | None = None) -> bytes:
        """The rest of the body. Raises TooLarge beyond `limit` bytes, Disconnected when the peer goes away first."""
        parts: list[bytes] = []
        size = 0
        async for part in self.stream():
            size += len(part)
            if limit is not None and size > limit:
                error = TooLarge(f"the body is larger than {limit} bytes")
                self.fail(error)
                raise error
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they come."""
        while True:
            if self._error is not None:
                raise self._error
            if self._chunks:
                data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self._held = 0
                self._source.resume_body()
                yield data
            elif self.complete:
                return
            else:
                await self._more()

    async def _more(self) -> None:
        self._source.body_wanted()
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
