"""The reconcile-table harness: objects in, controllers to a fixed point, writes out.

Law: deterministic; no tasks, no real time. `settle` delivers what changed, works every ready key, and repeats until
neither is left; time moves only in `advance`. `Chaos` delays, repeats and reorders what the caches are told:
controllers that act on the level, not on the edge, come to the same end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from funcs.api.kinds import Kind
from funcs.api.meta import Key
from funcs.errors import FuncsError

from .clock import ManualClock
from .controller import Cache, Controller
from .informer import Informers
from .loop import Post, posts_for
from .memory import MemoryClient, Write
from .queue import Action, action_after

MakeControllers = Callable[[MemoryClient, Cache], Sequence[Controller]]

T = TypeVar("T")

_STEPS = 2000
_RETRIES = 10


@dataclass(frozen=True, slots=True)
class Chaos:
    """Watches that lag (a kind's news is withheld for a while), keys that come twice, work in any order."""

    seed: int
    lag: float = 0.5
    repeat: float = 0.2


@dataclass(frozen=True, slots=True)
class Failure:
    """A reconcile that ended in an error which will not be retried until something changes."""

    controller: str
    key: Key
    error: FuncsError


class World:
    """Controllers over one MemoryClient, stepped by hand. `kinds` are mirrored beyond those that are watched."""

    def __init__(
        self, make: MakeControllers, client: MemoryClient, *, kinds: Sequence[Kind] = (), chaos: Chaos | None = None
    ) -> None:
        self.client = client
        self.failures: list[Failure] = []
        self.cache = Informers(kinds)
        self._posts = posts_for(make(client, self.cache), self.cache, client.clock)
        self._chaos = chaos
        self._random = random.Random(chaos.seed if chaos else 0)  # noqa: S311 - reproducible on purpose

    async def settle(self) -> list[Write]:
        """Run to the fixed point; the writes it took. Raises what a reconcile goes on raising, and AssertionError if
        there is no fixed point."""
        before = len(self.client.writes)
        for _ in range(_STEPS):
            behind = self._deliver()
            worked = await self._work()
            if not behind and not worked and not self._deliver():
                return self.client.writes[before:]
        raise AssertionError(
            "the controllers do not come to rest; the last writes: "
            + ", ".join(str(write) for write in self.client.writes[-10:])
        )

    async def advance(self, seconds: float) -> list[Write]:
        """Let time pass in one leap, then settle. Needs a client with a ManualClock."""
        if not isinstance(self.client.clock, ManualClock):
            raise TypeError("time can only be moved on a ManualClock")
        await self.client.clock.advance(seconds)
        return await self.settle()

    def _deliver(self) -> bool:
        """Bring the mirrors up to date (or, in chaos, some of them); whether any was behind."""
        behind = False
        for kind in self._shuffled(self.cache.kinds):
            mirror = self.cache.mirror(kind)
            version = self.client.latest_change(kind)
            if mirror.version == version:
                continue
            behind = True
            if self._chaos is None or self._random.random() >= self._chaos.lag:
                mirror.replace(self._shuffled(self.client.objects(kind)))
                mirror.version = version
        return behind

    async def _work(self) -> bool:
        """One key of each controller that has one; whether there was any."""
        worked = False
        for post in self._shuffled(self._posts):
            key = post.queue.take()
            if key is not None:
                worked = True
                await self._reconcile(post, key)
        return worked

    async def _reconcile(self, post: Post, key: Key) -> None:
        try:
            await post.reconcile(key)
        except FuncsError as error:
            self._after_failure(post, key, error)
        finally:
            post.queue.done(key)
        if self._chaos is not None and self._random.random() < self._chaos.repeat:
            post.queue.add(key)

    def _after_failure(self, post: Post, key: Key, error: FuncsError) -> None:
        if action_after(error) is Action.DROP:
            self.failures.append(Failure(post.controller.name, key, error))
            return
        post.queue.back_off(key)
        if post.queue.failures(key) > _RETRIES:
            raise error
        post.queue.add(key)

    def _shuffled(self, items: Sequence[T]) -> list[T]:
        order = list(items)
        if self._chaos is not None:
            self._random.shuffle(order)
        return order


async def settle(make: MakeControllers, client: MemoryClient, *, chaos: Chaos | None = None) -> World:
    """A World that has come to rest; `client.writes` says what that took."""
    world = World(make, client, chaos=chaos)
    await world.settle()
    return world
