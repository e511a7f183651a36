"""The broker process, composed: log, dispatcher, front door, controllers.

Law: an order of starting and an order of stopping. Brokers known to the cluster are open before the first connection is
taken, so a restart refuses nobody. On stop the door closes first, then the controllers end, then deliveries drain, then
the log is closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funcs.api import meta
from funcs.api.eventing import BROKER, TRIGGER
from funcs.api.meta import Key
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.informer import Informers
from funcs.control.loop import Loop
from runtimes.http.client import Pool
from runtimes.http.server import serve
from runtimes.http.settings import Limits, PoolLimits

from .controllers import controllers
from .controllers.brokers import is_ours
from .delivery import Subscription
from .dispatcher import Dispatcher, DispatcherSettings
from .ingress import Ingress
from .sqlite import LogSettings, SqliteLog
from .transport import Dial, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """`log` is the file. `largest_event` in bytes. `drain` in seconds, for requests under way at the door."""

    log: Path
    cluster_domain: str = "cluster.local"
    largest_event: int = 1024 * 1024
    drain: float = 5.0
    log_bounds: LogSettings = field(default_factory=LogSettings)
    dispatcher: DispatcherSettings = field(default_factory=DispatcherSettings)


class Plane:
    """`runtimes.eventing.controllers.DataPlane`: what is open, and which lane is whose."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.brokers: set[str] = set()
        self._dispatcher = dispatcher
        self._uids: dict[Key, str] = {}

    def address(self, broker: str) -> str:
        return self._dispatcher.broker_url(broker)

    def open(self, broker: str) -> None:
        self.brokers.add(broker)

    def close(self, broker: str) -> None:
        self.brokers.discard(broker)

    async def program(self, trigger: Key, subscription: Subscription) -> None:
        before = self._uids.get(trigger)
        if before is not None and before != subscription.uid:
            await self.remove(trigger)
        await self._dispatcher.program(subscription)
        self._uids[trigger] = subscription.uid

    def suspend(self, trigger: Key) -> None:
        uid = self._uids.get(trigger)
        if uid is not None:
            self._dispatcher.suspend(uid)

    async def remove(self, trigger: Key) -> None:
        uid = self._uids.get(trigger)
        if uid is not None:
            await self._dispatcher.remove(uid)
            del self._uids[trigger]


class Broker:
    """`await Broker(settings, client, clock, dial, random).run(sock, stop)`.

    `client` sees the cluster's resources; `dial` says where a URL's host and port are reached; `random` gives floats
    in [0, 1) for jitter.
    """

    def __init__(
        self, settings: BrokerSettings, client: Client, clock: Clock, dial: Dial, random: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._dial = dial
        self._random = random

    async def run(self, sock: socket.socket, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Serve `sock`, bound, until `stop` is set; `ready` is called when serving begins.

        Raises Conflict or Unsupported when the log cannot be opened, and whatever the control loop fails with.
        """
        log = await SqliteLog.open(self._settings.log, self._settings.log_bounds)
        pool = Pool(PoolLimits())
        try:
            transport = Transport(pool, self._dial)
            async with Dispatcher(log, transport, self._clock, self._settings.dispatcher) as dispatcher:
                await self._serve(sock, stop, ready, (log, dispatcher))
        finally:
            await pool.close()
            await log.close()

    async def _serve(
        self, sock: socket.socket, stop: asyncio.Event, ready: Callable[[], None], data: tuple[SqliteLog, Dispatcher]
    ) -> None:
        log, dispatcher = data
        plane = Plane(dispatcher)
        informers = Informers()
        made = controllers(self._client, informers, self._clock, plane, cluster_domain=self._settings.cluster_domain)
        async with Loop(made, informers, self._client, self._clock, self._random) as loop:
            await _first(loop.synced(), loop.wait())
            await dispatcher.keep_only(meta.uid(trigger) for trigger in informers.list(TRIGGER))
            for broker in informers.list(BROKER):
                if is_ours(broker) and not meta.is_deleting(broker):
                    plane.open(str(meta.key(broker)))
            async with self._door(sock, Ingress(log, plane.brokers, self._clock)):
                ready()
                await _first(stop.wait(), loop.wait())

    @asynccontextmanager
    async def _door(self, sock: socket.socket, ingress: Ingress) -> AsyncIterator[None]:
        server = await serve(ingress, sock, limits=Limits(body=self._settings.largest_event), wall=self._clock.now)
        try:
            yield
        finally:
            await server.drain(self._settings.drain)


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Until one of them ends; raises what it raises."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
