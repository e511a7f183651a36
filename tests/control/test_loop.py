"""The loop with real tasks: informers, retries, and the ways in which watches end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from funcs.api import meta
from funcs.api.core import CONFIG_MAP, POD
from funcs.api.meta import Key, Object
from funcs.control.client import ALL, EventType, ObjectList, Selection, WatchEvent
from funcs.control.clock import ManualClock, SystemClock
from funcs.control.controller import Controller, LookAgain, Watch
from funcs.control.engine import EngineSettings
from funcs.control.informer import Informer, Informers, Mirror
from funcs.control.loop import Loop
from funcs.control.memory import MemoryClient
from funcs.errors import Expired, Invalid, NotFound, Unavailable

DEADLINE = 10.0


def config(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


class Seen:
    """A reconcile that remembers its keys and fails as told."""

    def __init__(self, *errors: Exception) -> None:
        self.keys: list[str] = []
        self.at_once = self.most = 0
        self._errors = list(errors)
        self.again: LookAgain | None = None

    async def reconcile(self, key: Key) -> LookAgain | None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.keys.append(key.name)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self._errors:
            raise self._errors.pop(0)
        return self.again

    def loop(self, client: Any, clock: Any = None, concurrency: int = 4) -> Loop:
        controller = Controller("seen", self.reconcile, (Watch(CONFIG_MAP),), concurrency)
        return Loop([controller], Informers(), client, clock or SystemClock(), lambda: 0.5)


async def test_what_exists_and_what_comes_is_reconciled() -> None:
    client, seen = MemoryClient(clock=SystemClock()), Seen()
    await client.create(CONFIG_MAP, config("before"))
    async with seen.loop(client) as loop:
        await loop.synced()
        await until(lambda: seen.keys == ["before"])
        await client.create(CONFIG_MAP, config("after"))
        await until(lambda: seen.keys == ["before", "after"])
        await client.delete(CONFIG_MAP, "after")
        await until(lambda: seen.keys == ["before", "after", "after"])
        await until(lambda: loop.idle)


async def test_one_key_is_never_worked_on_twice_at_once() -> None:
    client, seen = MemoryClient(clock=SystemClock()), Seen()
    async with seen.loop(client) as loop:
        await loop.synced()
        await client.create(CONFIG_MAP, config("a"))
        for n in range(50):
            await client.patch(CONFIG_MAP, "a", {"data": {"n": str(n)}})
            await asyncio.sleep(0)
        await until(lambda: loop.idle and seen.keys)
    assert seen.most == 1


@pytest.mark.parametrize("error", [Unavailable("later"), ValueError("a bug")])
async def test_a_failure_is_logged_with_its_key_and_retried(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    client, seen = MemoryClient(clock=SystemClock()), Seen(error)
    await client.create(CONFIG_MAP, config("a"))
    with caplog.at_level(logging.WARNING):
        async with seen.loop(client):
            await until(lambda: seen.keys == ["a", "a"])
    assert f"seen default/a: {error}" in caplog.text


@pytest.mark.parametrize("error", [Invalid("never"), NotFound("gone")])
async def test_what_cannot_succeed_waits_for_a_change(error: Exception) -> None:
    client, seen = MemoryClient(clock=SystemClock()), Seen(error)
    await client.create(CONFIG_MAP, config("a"))
    async with seen.loop(client) as loop:
        await until(lambda: seen.keys == ["a"] and loop.idle)
        await asyncio.sleep(0.05)  # longer than the first few delays: none may be running
        assert seen.keys == ["a"]
        await client.patch(CONFIG_MAP, "a", {"data": {"x": "1"}})
        await until(lambda: seen.keys == ["a", "a"])


async def test_a_key_can_be_looked_at_again() -> None:
    clock = ManualClock()
    client, seen = MemoryClient(clock=clock), Seen()
    seen.again = LookAgain(30.0)
    client.seed(config("a"))
    async with seen.loop(client, clock):
        await until(lambda: seen.keys == ["a"])
        await until(lambda: len(clock._sleepers) >= 2)
        await clock.advance(30.0)
        await until(lambda: seen.keys == ["a", "a"])


async def test_leaving_cancels_a_reconcile_that_never_ends() -> None:
    client = MemoryClient(clock=SystemClock())
    await client.create(CONFIG_MAP, config("a"))
    started = asyncio.Event()

    async def reconcile(key: Key) -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(DEADLINE):
        async with Loop(
            [Controller("endless", reconcile, (Watch(CONFIG_MAP),))], Informers(), client, SystemClock(), lambda: 0.5
        ):
            await started.wait()
    assert len(asyncio.all_tasks()) == 1


async def test_an_object_that_one_controller_cannot_read_is_logged_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, seen = MemoryClient(clock=SystemClock()), Seen()

    def keys(obj: Object) -> list[Key]:
        return [Key("default", obj["data"]["whose"])]

    await client.create(CONFIG_MAP, config("odd"))
    await client.create(CONFIG_MAP, config("sound", whose="a"))
    controller = Controller("seen", seen.reconcile, (Watch(CONFIG_MAP, keys),))
    async with Loop([controller], Informers(), client, SystemClock(), lambda: 0.5):
        await until(lambda: seen.keys == ["a"])
    assert "seen cannot tell whom default/odd concerns" in caplog.text


async def test_who_waits_for_the_caches_hears_of_a_loop_that_failed() -> None:
    class Broken:
        async def list(self, kind: Any, selection: Selection = ALL) -> ObjectList:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(DEADLINE), Seen().loop(Broken()) as loop:
            await loop.synced()
    assert caught.value.split(ZeroDivisionError)[0] is not None


class Flaky:
    """A client whose watches end in whatever is next, then go on."""

    def __init__(self, client: MemoryClient, *ends: Exception | None) -> None:
        self._client, self._ends = client, list(ends)
        self.lists = 0

    async def list(self, kind: Any, selection: Selection = ALL) -> ObjectList:
        self.lists += 1
        return await self._client.list(kind, selection)

    async def watch(self, kind: Any, selection: Selection = ALL, **options: Any) -> AsyncIterator[WatchEvent]:
        if self._ends:
            end = self._ends.pop(0)
            if end is not None:
                raise end
            return
        async for event in self._client.watch(kind, selection, **options):
            yield event


@pytest.mark.parametrize(
    ("ends", "lists"),
    [
        pytest.param([Expired("old")], 2, id="expired means list again"),
        pytest.param([Unavailable("down"), Unavailable("down")], 1, id="a break means watch again"),
        pytest.param([OSError("reset")], 1, id="so does a lost connection"),
        pytest.param([None, None], 1, id="and an end without a reason"),
    ],
)
async def test_an_informer_survives(ends: list[Exception | None], lists: int) -> None:
    clock = ManualClock()
    memory = MemoryClient(clock=clock)
    client, mirror = Flaky(memory, *ends), Mirror()
    informer = Informer(CONFIG_MAP, mirror, client, clock, lambda: 0.5)  # type: ignore[arg-type]
    running = asyncio.create_task(informer.run())
    await informer.synced.wait()
    memory.seed(config("a"))
    async with asyncio.timeout(DEADLINE):
        while len(mirror) == 0:
            await clock.advance(1.0)
    assert client.lists == lists
    running.cancel()


def test_listing_again_tells_of_what_is_gone() -> None:
    told: list[tuple[str, str]] = []
    mirror = Mirror()
    mirror.listeners.append(lambda old, new: told.append((_version(old), _version(new))))
    first, second = _versioned("a", "1"), _versioned("b", "2")
    mirror.replace([first, second])
    mirror.replace([_versioned("a", "3")])
    mirror.replace([_versioned("a", "3")])
    assert told == [("", "1"), ("", "2"), ("1", "3"), ("2", "")]


def test_a_mirror_is_indexed_by_namespace_owner_and_label() -> None:
    mirror = Mirror()
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    owned = _versioned("a", "1")
    owned["metadata"] |= {"ownerReferences": [owner], "labels": {"x": "1", "y": "2"}}
    mirror.replace([owned, _versioned("b", "2")])
    assert mirror.owned_by("u") == [owned]
    assert mirror.list("default", {"x": "1"}) == [owned]
    assert len(mirror.list("default", None)) == 2
    assert mirror.list("elsewhere", None) == []
    mirror.put(_versioned("a", "3"))
    assert mirror.owned_by("u") == []


async def test_a_watch_that_reads_too_slowly_is_told_so() -> None:
    client = MemoryClient(clock=SystemClock(), settings=EngineSettings(window=8))
    first = await client.create(CONFIG_MAP, config("a"))
    watch = client.watch(CONFIG_MAP, resource_version=meta.resource_version(first))
    await client.patch(CONFIG_MAP, "a", {"data": {"n": "0"}})
    assert (await anext(watch)).type is EventType.MODIFIED
    for n in range(1, 60):
        await client.patch(CONFIG_MAP, "a", {"data": {"n": str(n)}})
    with pytest.raises(Expired, match="8 changes behind"):
        await anext(watch)


async def test_a_quiet_watch_sends_bookmarks() -> None:
    clock = ManualClock()
    client = MemoryClient(clock=clock)
    client.seed(config("a"))
    watch = client.watch(POD, resource_version="0", bookmarks=True)
    assert (await anext(watch)).object["metadata"]["resourceVersion"] == "1"
    client.seed(config("b"))
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await clock.advance(60)
    event = await waiting
    assert (event.type, event.object["metadata"]["resourceVersion"]) == (EventType.BOOKMARK, "2")


def _versioned(name: str, version: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": version}}


def _version(obj: Object | None) -> str:
    return "" if obj is None else meta.resource_version(obj)
