"""Keep-alive connections to upstreams, by address.

Law: nothing is sent twice unless that is safe. A request that went out on a reused connection which the far end had
already closed is sent again if its method is idempotent and its body is bytes; every other failure is the caller's to
judge, by the error's class. Connections and waiters per address are bounded. IO: the sockets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import TypeAlias

from funcs.errors import Invalid

from .errors import ConnectFailed, PoolFull, UpstreamLost
from .headers import IDEMPOTENT, Block, Pairs, block, request_line
from .settings import PoolLimits, Timeouts
from .upstream import ClientResponse, Upstream

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""

Content: TypeAlias = bytes | AsyncIterable[bytes]
_DEFAULT = Timeouts()


class Pool:
    """`now` is the loop's time at the last look; while there are connections, they are checked against it."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self.now = 0.0
        self._places: dict[Address, _Place] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    async def request(
        self,
        address: Address,
        method: bytes,
        target: bytes,
        headers: Pairs | Block,
        *,
        body: Content = b"",
        length: int | None = None,
        timeouts: Timeouts = _DEFAULT,
    ) -> ClientResponse:
        """Send a request and give its answer as soon as its head is here.

        `headers` hold `host` and no framing headers. A body that is not bytes goes out in chunks, or as `length` bytes.
        Raises ConnectFailed or PoolFull (nothing was sent), UpstreamLost or ResponseTimeout (the request may have been
        acted on), Invalid.
        """
        data = head(method, target, headers, body, length)
        while True:
            upstream = self.take(address) or await self.connect(address, timeouts.connect)
            try:
                return await self._exchange(upstream, data, method, body, length, timeouts)
            except UpstreamLost as error:
                if not (error.reused and isinstance(body, bytes) and method in IDEMPOTENT):
                    raise

    def take(self, address: Address) -> Upstream | None:
        """An idle connection, from now on the caller's: `Upstream.send` on it, then `ClientResponse.release`."""
        place = self._places.get(address)
        while place is not None and place.idle:
            upstream = place.idle.pop()
            if upstream.transport is not None and not upstream.transport.is_closing():
                return upstream
        return None

    async def connect(self, address: Address, timeout: float) -> Upstream:
        """A new connection, or the next that comes free when as many as allowed are open."""
        if self._closed:
            raise ConnectFailed("the pool is closed")
        place = self._places.setdefault(address, _Place())
        try:
            async with asyncio.timeout(timeout):
                if place.open >= self.limits.connections:
                    upstream = await self._wait(address, place)
                    if upstream is not None:
                        return upstream
                return await self._open(address, place)
        except TimeoutError as error:
            if place.open >= self.limits.connections:
                raise PoolFull(
                    f"all {place.open} connections to {_name(address)} stayed busy for {timeout} s"
                ) from error
            raise ConnectFailed(f"no connection to {_name(address)} within {timeout} s") from error
        except OSError as error:
            raise ConnectFailed(f"no connection to {_name(address)}: {error.strerror or error}") from error

    def idle(self, address: Address) -> int:
        place = self._places.get(address)
        return len(place.idle) if place is not None else 0

    def forget(self, address: Address) -> None:
        """The address is gone for good: close what is idle. What is busy closes when its exchange ends."""
        place = self._places.get(address)
        if place is not None:
            place.gone = True
            for upstream in place.idle[:]:
                upstream.close()

    async def close(self) -> None:
        """Close every connection; what is under way fails with UpstreamLost."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        for place in self._places.values():
            for upstream in list(place.all):
                upstream.close()
            for waiter in place.waiting:
                waiter.cancel()
        if self._places:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    async def _exchange(
        self, upstream: Upstream, data: bytes, method: bytes, body: Content, length: int | None, timeouts: Timeouts
    ) -> ClientResponse:
        answer: asyncio.Future[ClientResponse] = asyncio.get_running_loop().create_future()

        def answered(response: ClientResponse | None, error: Exception | None) -> None:
            if answer.done():
                upstream.close()
            elif response is not None:
                answer.set_result(response)
            elif error is not None:
                answer.set_exception(error)

        upstream.send(data, answered, timeouts=timeouts, method=method, more=not isinstance(body, bytes))
        try:
            if not isinstance(body, bytes):
                upload = upstream.upload(body, chunked=length is None)
                await asyncio.wait((upload, answer), return_when=asyncio.FIRST_COMPLETED)
                if upload.done() and not upload.cancelled() and (not answer.done() or answer.exception()):
                    upload.result()  # raises the body's own error
            return await answer
        except BaseException:
            upstream.give_up()
            raise

    async def _wait(self, address: Address, place: _Place) -> Upstream | None:
        """The next connection to come free; None if a place came free instead."""
        if len(place.waiting) >= self.limits.waiting:
            raise PoolFull(f"{len(place.waiting)} requests wait already")
        waiter: asyncio.Future[Upstream | None] = asyncio.get_running_loop().create_future()
        place.waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                upstream = waiter.result()
                if upstream is not None:
                    self.came_free(upstream)
                else:
                    self._vacated(address, place)
            raise
        finally:
            if waiter in place.waiting:
                place.waiting.remove(waiter)

    async def _open(self, address: Address, place: _Place) -> Upstream:
        loop = asyncio.get_running_loop()
        place.open += 1
        if self._ticking is None:
            self._tick(loop)
        upstream = Upstream(self, address, self.limits)
        try:
            if isinstance(address, str):
                await loop.create_unix_connection(lambda: upstream, address)
            else:
                await loop.create_connection(lambda: upstream, *address)
        except BaseException:
            place.open -= 1
            self._vacated(address, place)
            raise
        place.all.add(upstream)
        return upstream

    # What upstreams call.

    def came_free(self, upstream: Upstream) -> None:
        place = self._places[upstream.address]
        if self._closed or place.gone:
            upstream.close()
        elif not place.wake(upstream):
            place.idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        place = self._places[upstream.address]
        place.all.discard(upstream)
        place.open -= 1
        if upstream in place.idle:
            place.idle.remove(upstream)
        self._vacated(upstream.address, place)

    def _vacated(self, address: Address, place: _Place) -> None:
        """There is room for one more connection."""
        if not place.wake(None) and place.open == 0 and self._places.get(address) is place:
            del self._places[address]
            if self._empty is not None and not self._places and not self._empty.done():
                self._empty.set_result(None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = None
        self.now = loop.time()
        for place in list(self._places.values()):
            for upstream in list(place.all):
                upstream.check(self.now)
        if self._places and not self._closed:
            self._ticking = loop.call_later(0.25, self._tick, loop)


class _Place:
    """What the pool holds for one address."""

    __slots__ = ("all", "gone", "idle", "open", "waiting")

    def __init__(self) -> None:
        self.all: set[Upstream] = set()
        self.idle: list[Upstream] = []  # the latest last: it is taken first, so that the surplus ages
        self.open = 0  # including those still connecting
        self.waiting: deque[asyncio.Future[Upstream | None]] = deque()
        self.gone = False

    def wake(self, upstream: Upstream | None) -> bool:
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(upstream)
                return True
        return False


def head(method: bytes, target: bytes, headers: Pairs | Block, body: Content = b"", length: int | None = None) -> bytes:
    """The bytes of a request: its head, and its body when that is bytes. Raises Invalid."""
    start = request_line(method, target)
    lines = headers if isinstance(headers, Block) else block(headers)
    if not lines.startswith(b"host:") and lines.find(b"\nhost:") < 0:
        raise Invalid("a request needs a host header", reason="InvalidHeader")
    if isinstance(body, bytes):
        if not body and method in {b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"}:
            return b"".join((start, lines, b"\r\n"))
        return b"".join((start, lines, b"content-length: %d\r\n\r\n" % len(body), body))
    if length is not None:
        return b"".join((start, lines, b"content-length: %d\r\n\r\n" % length))
    return b"".join((start, lines, b"transfer-encoding: chunked\r\n\r\n"))


def _name(address: Address) -> str:
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"
