"""The loop that drives controllers: informers feed queues with keys, workers reconcile them.

Law: a key is worked on by one worker at a time; what happens after a failure follows from the class of the error
(`queue.action_after`). A reconcile may see a cache older than its own last write: then it meets Conflict or
AlreadyExists, and is simply run again. The one place that catches every exception; it logs the controller and the key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.errors import FuncsError, NotFound

from .client import Client
from .clock import Clock
from .controller import Controller, Watch
from .informer import Informer, Informers, Listener
from .queue import Action, Queue, action_after

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """A controller with its queue."""

    controller: Controller
    queue: Queue

    async def reconcile(self, key: Key) -> None:
        """Work on one key that was taken. Raises what the controller raises."""
        again = await self.controller.reconcile(key)
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, again.after)


def posts_for(
    controllers: Iterable[Controller],
    informers: Informers,
    clock: Clock,
    wrap: Callable[[str, Listener], Listener] = lambda name, listener: listener,
) -> list[Post]:
    """A queue for each controller, fed by the mirrors of the kinds that it watches through listeners that `wrap` may
    guard."""
    posts = [Post(controller, Queue(clock)) for controller in controllers]
    for post in posts:
        for watch in post.controller.watches:
            listener = wrap(post.controller.name, _feeding(post.queue, watch))
            informers.mirror(watch.kind).listeners.append(listener)
    return posts


def _feeding(queue: Queue, watch: Watch) -> Listener:
    def feed(old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                for key in watch.keys(obj):
                    queue.add(key)

    return feed


class Loop:
    """`async with Loop(controllers, informers, client, clock, random) as loop: await loop.synced()`.

    Controllers are made with `informers` as their Cache. `random` gives floats in [0, 1) for jitter.
    """

    def __init__(
        self,
        controllers: Iterable[Controller],
        informers: Informers,
        client: Client,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._posts = posts_for(controllers, informers, clock, _guarded)
        self._informers: dict[Kind, Informer] = {
            kind: Informer(kind, informers.mirror(kind), client, clock, random) for kind in informers.kinds
        }
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="control loop")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            if not self._task.cancelled() and kind is None:
                self._task.result()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers.values():
                tasks.create_task(informer.run())
            await self._listed()
            for post in self._posts:
                tasks.create_task(post.queue.run())
                for _ in range(post.controller.concurrency):
                    tasks.create_task(_work(post))

    async def synced(self) -> None:
        """Once every kind has been listed. Raises what the loop failed with, if it fails before."""
        async with asyncio.TaskGroup() as tasks:
            listed = tasks.create_task(self._listed())
            if self._task is not None:
                await asyncio.wait((listed, self._task), return_when=asyncio.FIRST_COMPLETED)
                if not listed.done():
                    listed.cancel()
                    self._task.result()

    async def _listed(self) -> None:
        for informer in self._informers.values():
            await informer.synced.wait()

    async def wait(self) -> None:
        """Until the loop ends, which it does only by failing. Raises what it failed with."""
        if self._task is not None:
            await asyncio.shield(self._task)

    @property
    def idle(self) -> bool:
        """No controller has anything to do now."""
        return all(post.queue.idle for post in self._posts)


def _guarded(name: str, listener: Listener) -> Listener:
    """An object that a controller cannot read must not end the watch for everybody."""

    def listen(old: Object | None, new: Object | None) -> None:
        try:
            listener(old, new)
        except Exception:
            log.exception("%s cannot tell whom %s concerns", name, meta.key(new or old or {}))

    return listen


async def _work(post: Post) -> None:
    while True:
        key = await post.queue.next()
        try:
            await post.reconcile(key)
        except Exception as error:
            _after_failure(post, key, error)
        finally:
            post.queue.done(key)


def _after_failure(post: Post, key: Key, error: Exception) -> None:
    name = post.controller.name
    match action_after(error):
        case Action.SOON:
            post.queue.back_off(key)
            log.debug("%s %s: %s", name, key, error)
        case Action.DROP:
            post.queue.forget(key)
            if not isinstance(error, NotFound):
                log.warning("%s %s: %s; waiting until it changes", name, key, error)
        case Action.BACK_OFF:
            delay = post.queue.back_off(key)
            expected = isinstance(error, FuncsError)
            log.warning("%s %s: %s; again in %.3f s", name, key, error, delay, exc_info=None if expected else error)
