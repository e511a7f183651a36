"""Sending emitted events. Law: a 2xx means delivered; anything else fails the invocation that emitted. IO: HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from funcs.errors import Invalid, Unavailable
from funcs.sdk import Event

from ..http.client import Pool
from ..http.settings import Timeouts

TIMEOUTS = Timeouts(connect=5.0, response=30.0)
ANSWER = 64 * 1024  # bytes of a sink's answer that are read


class Sink:
    def __init__(self, url: str, pool: Pool) -> None:
        """Raises Invalid for a URL that is not plain HTTP."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Invalid(f"the sink {url!r} is not an http:// URL", reason="InvalidEnvironment")
        self._url = url
        self._address = (parts.hostname, parts.port or 80)
        self._host = parts.netloc.rpartition("@")[2].encode()
        self._target = (parts.path or "/").encode() + (b"?" + parts.query.encode() if parts.query else b"")
        self._pool = pool

    async def send(self, events: Iterable[Event]) -> None:
        """Raises Unavailable, naming the event that was not taken."""
        for event in events:
            headers, body = event.to_binary()
            pairs = [(b"host", self._host), *headers]
            response = await self._pool.request(
                self._address, b"POST", self._target, pairs, body=body, timeouts=TIMEOUTS
            )
            await response.read(ANSWER)
            if not 200 <= response.status < 300:
                raise Unavailable(f"{self._url} answered {response.status} to {event!r}")

    async def close(self) -> None:
        await self._pool.close()
