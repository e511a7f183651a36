"""The Client over SQLite: the engine of `funcs.control` over durable logs, one for resources and one for core Events.

Law: a write that returned is on disk. Events are many and cheap to lose, so they have a file of their own, which does
not wait for the disk's own cache. The IO is the logs'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.control.client import (
    ALL,
    DELETE,
    LOG,
    WRITE,
    DeleteOptions,
    LogOptions,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
    WriteOptions,
)
from funcs.control.clock import Clock
from funcs.control.engine import Engine, EngineSettings
from funcs.control.ids import Ids
from funcs.errors import NotFound

from .log import SqliteLog

_EVENT = ("", "Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """`window`: how many versions of history are kept for watches. `queued`: how many writes may wait for the disk.
    `event_ttl`: seconds that core Events are kept."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    window: int = 8192
    queued: int = 16_384
    event_ttl: float = 3600.0


class StoreClient:
    """Open with `open`, close with `close`."""

    def __init__(self, objects: _Part, events: _Part, clock: Clock, settings: StoreSettings) -> None:
        self._objects, self._events, self._clock, self._settings = objects, events, clock, settings

    @classmethod
    async def open(
        cls, directory: Path, kinds: Iterable[Kind], clock: Clock, ids: Ids, settings: StoreSettings | None = None
    ) -> StoreClient:
        """`objects.db` and `events.db` in `directory`, made if they are not there. Raises Terminal, Unavailable."""
        settings = settings or StoreSettings()
        served = tuple(kinds)
        events = tuple(kind for kind in served if (kind.group, kind.kind) == _EVENT)
        objects = tuple(kind for kind in served if kind not in events)
        first = _Part.open(directory / "objects.db", objects, clock, ids, settings, "FULL")
        try:
            second = _Part.open(directory / "events.db", events, clock, ids, settings, "NORMAL")
        except BaseException:
            await first.close()
            raise
        return cls(first, second, clock, settings)

    @property
    def version(self) -> int:
        """The resourceVersion of what readers of resources see."""
        return self._objects.engine.version

    def serve(self, kind: Kind) -> None:
        """Serve one more kind, of which nothing is stored yet."""
        self._of(kind).serve(kind)

    async def close(self) -> None:
        """End watches, commit what is under way, let go of the files."""
        await self._objects.close()
        await self._events.close()

    async def expire_events(self, kind: Kind) -> int:
        """Delete core Events that nothing has added to for `event_ttl`; how many."""
        oldest = self._clock.now() - self._settings.event_ttl
        stale = [obj for obj in (await self.list(kind)).items if _last_seen(obj) < oldest]
        for obj in stale:
            try:
                await self.delete(kind, meta.name(obj), meta.namespace(obj))
            except NotFound:
                continue  # somebody else was quicker
        return len(stale)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        return await self._of(kind).get(kind, name, namespace)

    async def list(self, kind: Kind, selection: Selection = ALL) -> ObjectList:
        return await self._of(kind).list(kind, selection)

    def watch(
        self,
        kind: Kind,
        selection: Selection = ALL,
        *,
        resource_version: str = "",
        bookmarks: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent]:
        return self._of(kind).watch(
            kind, selection, resource_version=resource_version, bookmarks=bookmarks, timeout=timeout
        )

    async def create(self, kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
        return await self._of(kind).create(kind, obj, options)

    async def update(self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, subresource: str = "") -> Object:
        return await self._of(kind).update(kind, obj, options, subresource=subresource)

    async def apply(
        self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, force: bool = True, subresource: str = ""
    ) -> Object:
        return await self._of(kind).apply(kind, obj, options, force=force, subresource=subresource)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Object | Objects,
        namespace: str | None = None,
        *,
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        options: WriteOptions = WRITE,
    ) -> Object:
        return await self._of(kind).patch(
            kind, name, patch, namespace, type=type, subresource=subresource, options=options
        )

    async def patch_status(self, kind: Kind, name: str, status: Object, namespace: str | None = None) -> Object:
        return await self._of(kind).patch_status(kind, name, status, namespace)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions = DELETE
    ) -> Object | None:
        return await self._of(kind).delete(kind, name, namespace, options)

    async def subresource(
        self, kind: Kind, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        return await self._of(kind).subresource(kind, name, subresource, body, namespace)

    async def scale(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """The scale subresource as it is. Raises NotFound."""
        return await self._of(kind).scale(kind, name, namespace)

    def stream_log(self, name: str, namespace: str, options: LogOptions = LOG) -> AsyncIterator[bytes]:
        return self._objects.engine.stream_log(name, namespace, options)

    def _of(self, kind: Kind) -> Engine:
        return self._events.engine if (kind.group, kind.kind) == _EVENT else self._objects.engine


@dataclass(frozen=True, slots=True)
class _Part:
    """One file and the engine over it."""

    engine: Engine
    log: SqliteLog

    @classmethod
    def open(
        cls, path: Path, kinds: tuple[Kind, ...], clock: Clock, ids: Ids, settings: StoreSettings, synchronous: str
    ) -> _Part:
        log = SqliteLog(path, synchronous=synchronous, window=settings.window, queued=settings.queued)
        engine = Engine(kinds, clock, ids, settings.engine, log)
        _restore(engine, log, kinds)
        log.start()
        return cls(engine, log)

    async def close(self) -> None:
        await self.engine.close()
        await self.log.close()


def _restore(engine: Engine, log: SqliteLog, kinds: tuple[Kind, ...]) -> None:
    """Objects of kinds that are not served now stay in the file."""
    served = {(kind.group, kind.kind): kind for kind in kinds}
    settled = False
    version = 0
    for row in log.rows():
        if row.version > log.floor and not settled:
            engine.settle(log.floor)
            settled = True
        version = row.version
        kind = served.get((row.group, row.kind))
        if kind is not None:
            engine.restore(version, kind, row.key, row.data, row.deleted)
    if not settled:
        engine.settle(log.floor)
    engine.resume(max(version, log.floor))


def _last_seen(event: Object) -> float:
    for text in (
        event.get("lastTimestamp"),
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("eventTime"),
        meta.metadata(event).get("creationTimestamp"),
    ):
        if isinstance(text, str) and text:
            try:
                return meta.parse_timestamp(text)
            except ValueError:
                continue  # a client's own idea of a time; the next field will do
    return 0.0
