"""Requests that carry events, over pooled connections.

Law: the Host header is what the URL says; where the connection goes is `dial`'s to say, so that names inside the
cluster are reached through its gateway. An event may arrive twice, so a request that met a connection which the far end
had just closed is sent again at once. IO: the pool's sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from funcs.errors import Invalid, Timeout, Unavailable
from runtimes.http.client import Address, Pool
from runtimes.http.errors import TooLarge, UpstreamLost
from runtimes.http.headers import Block, block
from runtimes.http.settings import Timeouts
from runtimes.http.upstream import ClientResponse

from .delivery import Answer

Dial: TypeAlias = Callable[[str, int], Address]

LARGEST_REPLY = 1024 * 1024
_TARGETS = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once."""

    address: Address
    path: bytes
    host: Block


class Transport:
    """`runtimes.eventing.delivery.Send` over HTTP/1.1."""

    def __init__(self, pool: Pool, dial: Dial, *, largest_reply: int = LARGEST_REPLY) -> None:
        self._pool = pool
        self._dial = dial
        self._largest = largest_reply
        self._targets: dict[str, Target] = {}

    async def __call__(self, url: str, head: bytes, body: bytes, timeout: float) -> Answer:
        """Raises Unavailable when no answer comes, of the whole within `timeout`."""
        target = self._targets.get(url) or self._target(url)
        timeouts = Timeouts(response=timeout, idle=timeout)
        headers = Block(target.host + head)
        while True:
            try:
                response = await self._pool.request(
                    target.address, b"POST", target.path, headers, body=body, timeouts=timeouts
                )
                return Answer(response.status, response.headers, await self._body(response, timeout))
            except UpstreamLost as error:
                if not error.reused:
                    raise
            except TooLarge as error:
                raise Unavailable(f"the reply is larger than {self._largest} bytes", reason="ReplyTooLarge") from error

    async def _body(self, response: ClientResponse, timeout: float) -> bytes:
        whole = response.whole
        if whole is not None and len(whole) <= self._largest:
            response.release()
            return whole
        try:
            async with asyncio.timeout(timeout):
                return await response.read(self._largest)
        except TimeoutError as error:
            raise Timeout(f"the answer was not complete within {timeout} s") from error

    def _target(self, url: str) -> Target:
        """Raises Unavailable for a URL that cannot be dialled, so that the delivery fails with its reason."""
        try:
            found = urlsplit(url)
            if found.scheme != "http" or not found.hostname:
                raise Unavailable(f'"{url}" cannot be delivered to: only http URLs can', reason="UnsupportedURL")
            path = f"{found.path or '/'}?{found.query}" if found.query else found.path or "/"
            host = block(((b"host", found.netloc.rpartition("@")[2].encode("ascii")),))
            made = Target(self._dial(found.hostname, found.port or 80), path.encode("ascii"), host)
        except (ValueError, Invalid) as error:
            raise Unavailable(f'"{url}" cannot be delivered to: {error}', reason="UnsupportedURL") from error
        if len(self._targets) >= _TARGETS:
            self._targets.clear()
        self._targets[url] = made
        return made
