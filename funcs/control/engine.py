"""The Client port over the pure object core: what the in-memory and the embedded store have in common.

Law: a write is decided against the newest state, numbered, handed to the log, and seen by readers and watchers only
once the log has it; when the log fails, everything decided on top of what failed fails with it. Reading never waits for
writing. The only IO is the log's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from funcs.api import admission, meta
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object, Objects
from funcs.errors import AlreadyExists, BadRequest, FuncsError, NotFound, Unavailable, Unsupported

from . import envelope, listing, objects, scale
from .client import (
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
from .clock import Clock
from .ids import Ids
from .objects import Moment, Outcome
from .shelf import Change, Entry, Shelf
from .watching import Watching

LARGEST = 1536 * 1024  # bytes of one object; etcd's limit on a request
_NAME_ATTEMPTS = 8

Hook = Callable[[Kind, Object, Object], Awaitable[Object]]


@dataclass(frozen=True, slots=True)
class Record:
    """One write on its way to the log. Records of an epoch stand or fall together from the first failure on."""

    version: int
    kind: Kind
    key: Key
    data: bytes = field(repr=False)
    deleted: bool
    epoch: int


class Log(Protocol):
    """Where writes become durable, in the order given."""

    def append(self, record: Record, done: Callable[[FuncsError | None], None]) -> None:
        """`done` is called on the event loop, in order and not before this returns; after a failure, no later record of
        the same epoch is kept. Raises Unavailable when too much is queued."""
        ...


class LogSource(Protocol):
    """Where containers' logs come from."""

    def stream(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """House rules. `hooks` serve POSTs to subresources by name (`token`, `binding`, `eviction`)."""

    rules: Mapping[Kind, admission.Rules] = field(default_factory=dict)
    config: Callable[[], Mapping[str, Mapping[str, str]]] = dict
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    logs: LogSource | None = None
    window: int = 4096
    warn: Callable[[Kind, Key, tuple[str, ...]], None] = lambda kind, key, warnings: None


@dataclass(frozen=True, slots=True)
class _Pending:
    """The newest state of a key that the log does not hold yet."""

    entry: Entry | None
    stored: asyncio.Future[None]


class Engine:
    def __init__(
        self,
        kinds: Iterable[Kind],
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
        log: Log | None = None,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._clock, self._ids, self._log = clock, ids, log
        self._shelves = {kind: Shelf(self._settings.window) for kind in kinds}
        self._pending: dict[tuple[Kind, Key], _Pending] = {}
        self._in_flight: dict[int, _Pending] = {}  # by version
        self._version = 0  # the newest that readers see
        self._numbered = 0  # the newest given out
        self._epoch = 0
        self._closed = False

    @property
    def version(self) -> int:
        """The resourceVersion of what readers see."""
        return self._version

    @property
    def closed(self) -> bool:
        return self._closed

    def serve(self, kind: Kind) -> None:
        """Serve one more kind."""
        self._shelves.setdefault(kind, Shelf(self._settings.window))

    def restore(self, version: int, kind: Kind, key: Key, data: bytes, deleted: bool) -> None:
        """Put back what a log held; in order of versions, before anything else."""
        shelf = self._shelf(kind)
        entry = Entry(key, version, data, _labels(data))
        shelf.put(Change(version, shelf.get(key), None if deleted else entry, entry))
        self._version = self._numbered = version

    def settle(self, version: int) -> None:
        """Say that the state put back is that of `version`, and that watches can start there at the earliest."""
        for shelf in self._shelves.values():
            shelf.settle(version)
        self.resume(version)

    def resume(self, version: int) -> None:
        """Count on from `version`."""
        self._version = self._numbered = version

    async def close(self) -> None:
        """End all watches and refuse all writes."""
        self._closed = True
        for shelf in self._shelves.values():
            shelf.wake()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        obj: Object = _decoded(self._committed(kind, envelope.locate(kind, name, namespace)).data)
        return obj

    async def list(self, kind: Kind, selection: Selection = ALL) -> ObjectList:
        return listing.page(self._shelf(kind), kind, selection, self._version)

    def watch(
        self,
        kind: Kind,
        selection: Selection = ALL,
        *,
        resource_version: str = "",
        bookmarks: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent]:
        watching = Watching(self, self._shelf(kind), kind, selection, self._clock)
        return watching.events(resource_version, bookmarks, timeout)

    async def create(self, kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
        self._shelf(kind)
        generated = isinstance(obj, dict) and not meta.name(obj)
        for attempt in range(_NAME_ATTEMPTS):
            outcome = objects.create(kind, _copied(obj), self._moment(options))
            key = meta.key(outcome.object)
            if self._newest(kind, key) is None:
                return await self._commit(kind, key, None, outcome, dry_run=options.dry_run)
            if not generated or attempt == _NAME_ATTEMPTS - 1:
                break
        raise AlreadyExists(f'{kind.resource} "{key.name}" already exists')

    async def update(self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, subresource: str = "") -> Object:
        def decide(old: Object, moment: Moment) -> Outcome:
            if subresource == "scale":
                return objects.update(kind, old, scale.written(kind, old, _copied(obj)), moment)
            return objects.update(kind, old, _copied(obj), moment, subresource)

        key = envelope.key_of(kind, obj)
        return await self._write(kind, key, decide, options, subresource)

    async def apply(
        self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, force: bool = True, subresource: str = ""
    ) -> Object:
        self._expect(kind, subresource, also=())
        key = envelope.key_of(kind, obj)
        entry = self._newest(kind, key)
        old = None if entry is None else _decoded(entry.data)
        outcome = objects.applied(kind, old, _copied(obj), self._moment(options), force=force, subresource=subresource)
        return await self._commit(kind, key, entry, outcome, dry_run=options.dry_run)

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
        def decide(old: Object, moment: Moment) -> Outcome:
            if subresource == "scale":
                seen = scale.read(kind, old)
                wanted = objects.patched_document(kind, seen, _copied(patch), type)
                return objects.update(kind, old, scale.written(kind, old, wanted), moment)
            return objects.patched(kind, old, _copied(patch), type, moment, subresource)

        return await self._write(kind, envelope.locate(kind, name, namespace), decide, options, subresource)

    async def patch_status(self, kind: Kind, name: str, status: Object, namespace: str | None = None) -> Object:
        return await self.patch(kind, name, {"status": status}, namespace, subresource="status")

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions = DELETE
    ) -> Object | None:
        key = envelope.locate(kind, name, namespace)
        entry = self._existing(kind, key)
        outcome = objects.deleted(kind, _decoded(entry.data), options, self._clock.now())
        obj = await self._commit(kind, key, entry, outcome, dry_run=options.dry_run)
        return None if outcome.gone else obj

    async def subresource(
        self, kind: Kind, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        hook = self._settings.hooks.get(subresource)
        if hook is None:
            raise Unsupported(f'{kind.resource} have no subresource "{subresource}" that can be posted to')
        return await hook(kind, await self.get(kind, name, namespace), _copied(body))

    async def scale(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """The scale subresource as it is. Raises NotFound."""
        return scale.read(kind, await self.get(kind, name, namespace))

    async def stream_log(self, name: str, namespace: str, options: LogOptions = LOG) -> AsyncIterator[bytes]:
        if self._settings.logs is None:
            raise Unsupported("there are no container logs here")
        pod_kind = next((kind for kind in self._shelves if kind.identity == ("", "v1", "Pod")), None)
        if pod_kind is None:
            raise NotFound("pods are not served here")
        async for chunk in self._settings.logs.stream(await self.get(pod_kind, name, namespace), options):
            yield chunk

    async def _write(
        self,
        kind: Kind,
        key: Key,
        decide: Callable[[Object, Moment], Outcome],
        options: WriteOptions,
        subresource: str,
    ) -> Object:
        self._expect(kind, subresource, also=("scale",))
        entry = self._existing(kind, key)
        outcome = decide(_decoded(entry.data), self._moment(options))
        obj = await self._commit(kind, key, entry, outcome, dry_run=options.dry_run)
        return scale.read(kind, obj) if subresource == "scale" else obj

    async def _commit(self, kind: Kind, key: Key, before: Entry | None, outcome: Outcome, *, dry_run: bool) -> Object:
        """Number, log, wait. Nothing awaits between the decision and the numbering, so no other write comes between."""
        if outcome.warnings:
            self._settings.warn(kind, key, outcome.warnings)
        if dry_run:
            return outcome.object
        pending = self._pending.get((kind, key))
        if not outcome.changed:
            if pending is not None:
                await asyncio.shield(pending.stored)
            return outcome.object
        stored = self._submit(kind, key, before, outcome)
        await asyncio.shield(stored)
        return outcome.object

    def _submit(self, kind: Kind, key: Key, before: Entry | None, outcome: Outcome) -> asyncio.Future[None]:
        if self._closed:
            raise Unavailable("the store is closed")
        version = self._numbered + 1
        outcome.object["metadata"]["resourceVersion"] = str(version)
        data = _encoded(outcome.object)
        if len(data) > LARGEST:
            raise BadRequest(
                f'{kind.resource} "{key}" is {len(data)} bytes, more than {LARGEST}', reason="RequestEntityTooLarge"
            )
        last = Entry(key, version, data, meta.labels(outcome.object))
        change = Change(version, before, None if outcome.gone else last, last)
        pending = _Pending(change.after, asyncio.get_running_loop().create_future())
        if self._log is not None:
            record = Record(version, kind, key, data, outcome.gone, self._epoch)
            self._log.append(record, lambda error: self._answered(kind, change, pending, record.epoch, error))
        self._numbered = version
        self._pending[kind, key] = self._in_flight[version] = pending
        if self._log is None:
            self._stored(kind, change, pending)
        return pending.stored

    def _answered(self, kind: Kind, change: Change, pending: _Pending, epoch: int, error: FuncsError | None) -> None:
        if epoch != self._epoch:
            return  # it failed with its epoch
        if error is None:
            self._stored(kind, change, pending)
        else:
            self._fall_back(error)

    def _stored(self, kind: Kind, change: Change, pending: _Pending) -> None:
        slot = (kind, change.last.key)
        if self._pending.get(slot) is pending:
            del self._pending[slot]
        self._version = change.version
        del self._in_flight[change.version]
        self._shelves[kind].put(change)
        if not pending.stored.done():
            pending.stored.set_result(None)

    def _fall_back(self, error: FuncsError) -> None:
        """What is not stored was decided on top of what failed: it fails too. Numbering resumes from what is."""
        self._epoch += 1
        failed, self._in_flight = self._in_flight, {}
        self._pending.clear()
        self._numbered = self._version
        for pending in failed.values():
            if not pending.stored.done():
                pending.stored.set_exception(error)
                pending.stored.exception()  # a waiter may have been cancelled: the error is delivered, not lost

    def _shelf(self, kind: Kind) -> Shelf:
        shelf = self._shelves.get(kind)
        if shelf is None:
            raise NotFound(f"the server could not find the requested resource: {kind.resource}/{kind.version}")
        return shelf

    def _newest(self, kind: Kind, key: Key) -> Entry | None:
        pending = self._pending.get((kind, key))
        return self._shelf(kind).get(key) if pending is None else pending.entry

    def _existing(self, kind: Kind, key: Key) -> Entry:
        entry = self._newest(kind, key)
        if entry is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found')
        return entry

    def _committed(self, kind: Kind, key: Key) -> Entry:
        entry = self._shelf(kind).get(key)
        if entry is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found')
        return entry

    def _moment(self, options: WriteOptions) -> Moment:
        return Moment(
            now=self._clock.now(),
            uid=self._ids.uid(),
            suffix=self._ids.suffix(),
            options=options,
            rules=self._settings.rules,
            config=self._settings.config(),
        )

    def _expect(self, kind: Kind, subresource: str, *, also: tuple[str, ...]) -> None:
        self._shelf(kind)
        if subresource == "scale" and subresource in also:
            scale.paths_of(kind)
        elif subresource and not (subresource == "status" and kind.status):
            raise NotFound(f'{kind.resource} have no subresource "{subresource}"')


def _copied(obj: Any) -> Any:
    """A copy that shares nothing with the caller's, and is surely JSON. Raises BadRequest."""
    return _decoded(_encoded(obj))


def _encoded(obj: Any) -> bytes:
    try:
        return msgspec.json.encode(obj)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the object is not JSON: {error}") from error


_DECODER = msgspec.json.Decoder()


def _decoded(data: bytes) -> Any:
    return _DECODER.decode(data)


class _Labelled(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Headed(msgspec.Struct):
    metadata: _Labelled


_HEAD = msgspec.json.Decoder(_Headed)


def _labels(data: bytes) -> Mapping[str, str]:
    return _HEAD.decode(data).metadata.labels or {}
