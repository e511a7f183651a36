"""What all connections of a gateway share: the table, the revisions, the clock, and the connections being made.

Law: state of a revision is made when somebody asks for it and dropped when nobody has for long; time limits are kept by
one look at every connection twice a second, while there are any. IO: connecting to pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from funcs.api.meta import Key
from funcs.control.clock import Clock

from . import metrics
from .answers import answer
from .backend import Address, Backend, Limits, Pod
from .client import ClientConnection
from .exchange import Exchange
from .settings import GatewaySettings
from .table import Table
from .upstream import Upstream

requests = logging.getLogger("funcs.gateway.requests")

_LOOK = 0.5  # seconds between looks at the time limits
_MENDING = 0.05  # seconds until a pod that refused is tried again; doubled each time
_MENDING_LONGEST = 5.0


class World(Protocol):
    """What the watches know of revisions; answered at once, from memory."""

    def limits(self, key: Key) -> Limits: ...

    def addresses(self, key: Key) -> Iterable[Address]:
        """Where its ready pods listen."""
        ...


class Gateway:
    """`poke(key)` tells the autoscaler that a request waits; `unique` is a prefix for request ids, one per process."""

    def __init__(
        self,
        settings: GatewaySettings,
        world: World,
        poke: Callable[[Key], None],
        clock: Clock,
        random: Callable[[], float],
        *,
        unique: str,
    ) -> None:
        self.settings = settings
        self.table = Table(settings)
        self.random = random
        self.monotonic = clock.monotonic
        self.now = clock.monotonic()
        self.backends: dict[Key, Backend] = {}
        self.refused: dict[int, int] = {}
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._world, self._poke = world, poke
        self._clients: set[ClientConnection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._mending: set[asyncio.TimerHandle] = set()
        self._unique = f"x-request-id: {unique}-".encode()
        self._serial = 0
        self._draining = False

    def accept(self) -> asyncio.Protocol:
        """A protocol for one client's connection."""
        return ClientConnection(self)

    def backend(self, key: Key) -> Backend:
        found = self.backends.get(key)
        if found is None:
            found = Backend(key, self._world.limits(key), self._poke, self.random, self.monotonic())
            found.set_addresses(self._world.addresses(key))
            self.backends[key] = found
        return found

    def changed(self, key: Key) -> None:
        """A revision or its endpoints changed: tell those who use it."""
        backend = self.backends.get(key)
        if backend is None:
            return
        backend.limits = self._world.limits(key)
        for upstream in backend.set_addresses(self._world.addresses(key)):
            upstream.transport.close()

    def request_id(self) -> bytes:
        self._serial += 1
        return b"%b%012x\r\n" % (self._unique, self._serial)

    def dial(self, pod: Pod, exchange: Exchange) -> None:
        """Make a connection to the pod, for this exchange first."""
        task = asyncio.get_running_loop().create_task(self._dial(pod, exchange))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, pod: Pod, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                _, upstream = await loop.create_connection(lambda: Upstream(pod), *pod.address)
        except (OSError, TimeoutError):
            exchange.connect_failed()
            return
        pod.failures = 0
        if exchange.finished:
            upstream.transport.close()
        else:
            exchange.connected(upstream)

    def suspect(self, backend: Backend, pod: Pod) -> None:
        """The pod refused a connection; leave it alone for a moment."""
        if pod.gone:
            return
        delay = min(_MENDING_LONGEST, _MENDING * 2**pod.failures)
        pod.failures += 1
        backend.broke(pod)

        def mend() -> None:
            self._mending.discard(handle)
            backend.mended(pod)

        handle = asyncio.get_running_loop().call_later(delay, mend)
        self._mending.add(handle)

    # Connections.

    def joined(self, client: ClientConnection) -> None:
        if len(self._clients) >= self.settings.connections or self._draining:
            client.transport.write(answer(503, "too many connections\n", close=True))
            client.transport.close()
            return
        self._clients.add(client)
        self.quiet.clear()
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def left(self, client: ClientConnection) -> None:
        self._clients.discard(client)
        if not self._clients:
            self.quiet.set()

    def _look(self) -> None:
        self.now = now = self.monotonic()
        self._looking = None
        for client in list(self._clients):
            client.check(now)
        for backend in list(self.backends.values()):
            self._tidy(backend, now)
        if self._clients or self.backends:
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _tidy(self, backend: Backend, now: float) -> None:
        for pod in backend.pods:
            while pod.idle and now - pod.idle[0].since > self.settings.upstream_idle:
                pod.idle.pop(0).transport.close()
        if backend.in_flight == 0 and now - backend.used > self.settings.forget:
            for upstream in backend.set_addresses(()):
                upstream.transport.close()
            del self.backends[backend.key]

    # Ending.

    def drain(self) -> None:
        """Take no new request; finish what is under way."""
        self._draining = True
        for client in list(self._clients):
            client.drain()

    async def close(self) -> None:
        """Cut what is left."""
        self._draining = True
        for client in list(self._clients):
            client.abort()
        for handle in (*self._mending, *((self._looking,) if self._looking else ())):
            handle.cancel()
        for task in list(self._dials):
            task.cancel()
        if self._dials:
            await asyncio.wait(self._dials)
        for backend in self.backends.values():
            for upstream in backend.set_addresses(()):
                upstream.transport.abort()

    # Telling.

    def metrics(self) -> str:
        rows = [(one.key, one.figures, one.in_flight, len(one.waiting)) for one in self.backends.values()]
        return metrics.render(rows, self.refused, len(self._clients))

    def log_request(self, exchange: Exchange, now: float) -> None:
        requests.info(
            "%s %s %s %d %.1f ms",
            exchange.host.decode("latin-1"),
            exchange.method.decode("latin-1"),
            exchange.target.decode("latin-1"),
            exchange.status,
            (now - exchange.started) * 1000,
        )
