"""Attempts: requests to one trigger's subscriber, so many at once.

Law: an attempt ends in nothing (accepted, its reply on disk) or in a Refusal. Attempts wait while there is no
subscriber, and for ever once drained. IO: through `Outside`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from funcs.errors import FuncsError

from . import delivery, retry
from .delivery import Refusal, Send, Subscription
from .event import Event
from .log import Entry


class Ingest(Protocol):
    """Put a reply back into its broker. Durable when it returns. Raises Spent at the end of its time to live."""

    async def __call__(self, broker: str, event: Event) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where events go: to URLs, and back into brokers, of which `reply_url` gives the address."""

    send: Send
    ingest: Ingest
    reply_url: Callable[[str], str]


class Attempts:
    """`deliver` an entry to the subscriber, `bury` it in a dead letter sink."""

    def __init__(self, subscription: Subscription, outside: Outside, parallel: int) -> None:
        self._outside = outside
        self._slots = asyncio.Semaphore(parallel)
        self._resolved = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._under_way = 0
        self._draining = False
        self.update(subscription)

    def update(self, subscription: Subscription) -> None:
        self._subscription = subscription
        if subscription.subscriber is None or self._draining:
            self._resolved.clear()
        else:
            self._resolved.set()

    async def drain(self) -> None:
        """Begin no more; return when those under way have ended."""
        self._draining = True
        self._resolved.clear()
        await self._quiet.wait()

    async def deliver(self, entry: Entry) -> Refusal | None:
        await self._begin()
        try:
            found = self._subscription
            head, body = delivery.message(entry, found.namespace, found.policy)
            judged = await self._ask(found.subscriber or "", head, body)
            return await self._reply(entry, judged) if isinstance(judged, Event) else judged
        finally:
            self._end()

    async def bury(self, sink: str, entry: Entry, why: Refusal) -> Refusal | None:
        """The original event, with what went wrong. A sink's reply goes nowhere."""
        await self._begin()
        try:
            found = self._subscription
            head, body = delivery.message(entry, found.namespace, found.policy, why.lines())
            judged = await self._ask(sink, head, body)
            return judged if isinstance(judged, Refusal) else None
        finally:
            self._end()

    async def _begin(self) -> None:
        """Be one of the attempts allowed at once, when there is somebody to deliver to; then `_end`."""
        await self._slots.acquire()
        try:
            await self._resolved.wait()
        except asyncio.CancelledError:
            self._slots.release()
            raise
        self._under_way += 1
        self._quiet.clear()

    def _end(self) -> None:
        self._slots.release()
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()

    async def _ask(self, url: str, head: bytes, body: bytes) -> Event | Refusal | None:
        try:
            answer = await self._outside.send(url, head, body, self._subscription.policy.timeout)
        except FuncsError as error:
            return delivery.no_answer(url, error.message)
        return delivery.judge(answer, url)

    async def _reply(self, entry: Entry, reply: Event) -> Refusal | None:
        """A reply has the time to live of what it replies to. One that is not stored fails the delivery."""
        try:
            await self._outside.ingest(entry.broker, replace(reply, ttl=entry.ttl))
        except FuncsError as error:
            url = self._outside.reply_url(entry.broker)
            return Refusal(url, error.code, error.message.encode(), retry.is_retried(error.code))
        return None
