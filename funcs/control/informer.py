"""Informers: a local copy of all objects of a kind, kept by list and watch; together they are the controllers' Cache.

Law: the copy is eventually what the server has; every difference is told to the listeners as (old, new), whether it
came by watch or was found by listing again. Expired means list again at once; any other failure waits, longer each
time. The IO is the client's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object, Objects
from funcs.errors import Expired, FuncsError

from .client import Client, EventType, Selection
from .clock import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .client import WatchEvent

log = logging.getLogger(__name__)

Listener = Callable[[Object | None, Object | None], None]

_PAGE = 500
_SHORTEST_WAIT = 0.1  # seconds between attempts
_LONGEST_WAIT = 15.0


class Mirror:
    """The local copy of one kind, with its indexes. Objects are shared: copy before you edit."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._by_namespace: dict[str, dict[Key, Object]] = {}
        self._by_owner: dict[str, dict[Key, Object]] = {}
        self.listeners: list[Listener] = []
        self.version = ""

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None, labels: Mapping[str, str] | None) -> Objects:
        found = self._objects if namespace is None else self._by_namespace.get(namespace, {})
        if not labels:
            return [*found.values()]
        return [obj for obj in found.values() if labels.items() <= meta.labels(obj).items()]

    def owned_by(self, uid: str) -> Objects:
        return [*self._by_owner.get(uid, {}).values()]

    def put(self, new: Object) -> None:
        """Add or replace; what is already known is not news."""
        key = meta.key(new)
        old = self._objects.get(key)
        if old is not None and meta.resource_version(old) == meta.resource_version(new):
            return
        self._set(key, old, new)

    def remove(self, key: Key) -> None:
        old = self._objects.get(key)
        if old is not None:
            self._set(key, old, None)

    def replace(self, objects: Iterable[Object]) -> None:
        """The whole truth: what is not in it is gone."""
        present = set()
        for obj in objects:
            present.add(meta.key(obj))
            self.put(obj)
        for key in [key for key in self._objects if key not in present]:
            self.remove(key)

    def _set(self, key: Key, old: Object | None, new: Object | None) -> None:
        if old is not None:
            _drop(self._by_namespace, key.namespace, key)
            _drop(self._by_owner, _owner(old), key)
            del self._objects[key]
        if new is not None:
            self._objects[key] = new
            self._by_namespace.setdefault(key.namespace, {})[key] = new
            owner = _owner(new)
            if owner:
                self._by_owner.setdefault(owner, {})[key] = new
        for listener in self.listeners:
            listener(old, new)


class Informers:
    """One mirror for each kind that anybody watches: the Cache of all controllers of one process."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._mirrors: dict[Kind, Mirror] = {}
        for kind in kinds:
            self.mirror(kind)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(self._mirrors)

    def mirror(self, kind: Kind) -> Mirror:
        """The mirror of a kind, made if there is none: before the loop starts."""
        return self._mirrors.setdefault(kind, Mirror())

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        return self._watched(kind).get(Key(namespace, name))

    def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Objects:
        return self._watched(kind).list(namespace, labels)

    def owned_by(self, kind: Kind, owner_uid: str) -> Objects:
        return self._watched(kind).owned_by(owner_uid)

    def _watched(self, kind: Kind) -> Mirror:
        mirror = self._mirrors.get(kind)
        if mirror is None:
            raise LookupError(f"nothing watches {kind}: name it in a controller's watches")
        return mirror


class Informer:
    """Keeps one mirror: lists, watches, and begins again whenever that ends."""

    def __init__(self, kind: Kind, mirror: Mirror, client: Client, clock: Clock, random: Callable[[], float]) -> None:
        self._kind, self._mirror, self._client, self._clock, self._random = kind, mirror, client, clock, random
        self._failures = 0
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._mirror.version:
                    await self._list()
                await self._watch()
            except Expired:
                self._mirror.version = ""
                if self._failures:
                    await self._pause()
                self._failures += 1
            except (FuncsError, OSError) as error:
                delay = await self._pause()
                log.warning("watch of %s ended: %s; tried again after %.1f s", self._kind.resource, error, delay)

    async def _list(self) -> None:
        found: Objects = []
        page = await self._client.list(self._kind, Selection(limit=_PAGE))
        found.extend(page.items)
        while page.continue_token:
            page = await self._client.list(self._kind, Selection(limit=_PAGE, continue_token=page.continue_token))
            found.extend(page.items)
        self._mirror.replace(found)
        self._mirror.version = page.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        version = self._mirror.version
        events = self._client.watch(self._kind, resource_version=version, bookmarks=True)
        async with aclosing(cast("AsyncGenerator[WatchEvent, None]", events)):
            async for event in events:
                self._failures = 0
                self._take(event)
        if self._mirror.version == version:
            await self._pause()  # a server that closes at once must not be hammered

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case EventType.ADDED | EventType.MODIFIED:
                self._mirror.put(event.object)
            case EventType.DELETED:
                self._mirror.remove(meta.key(event.object))
            case EventType.BOOKMARK:
                pass
        self._mirror.version = meta.resource_version(event.object)

    async def _pause(self) -> float:
        delay = min(_LONGEST_WAIT, _SHORTEST_WAIT * 2.0 ** min(self._failures, 10)) * (0.5 + self._random() / 2)
        self._failures += 1
        await self._clock.sleep(delay)
        return delay


def _owner(obj: Object) -> str:
    reference = meta.controller(obj)
    return str(reference.get("uid") or "") if reference is not None else ""


def _drop(index: dict[str, dict[Key, Object]], value: str, key: Key) -> None:
    entries = index.get(value)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[value]
