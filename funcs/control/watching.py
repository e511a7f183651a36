"""One watch: the changes of a shelf after a version, seen through a selection.

Law: what starts to match is ADDED, what ceases to is DELETED; nothing is skipped or repeated. The watch holds a
position in the shelf's history and no queue: one that reads too slowly ends in Expired. Time is the clock's. No IO.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.errors import BadRequest, Expired

from . import listing
from .client import EventType, Selection, WatchEvent
from .clock import Clock
from .shelf import Change, Shelf

_BOOKMARK_EVERY = 60.0  # seconds
_DECODER = msgspec.json.Decoder()


class Source(Protocol):
    """The store that a watch reads."""

    @property
    def version(self) -> int: ...

    @property
    def closed(self) -> bool: ...


class Watching:
    def __init__(self, source: Source, shelf: Shelf, kind: Kind, selection: Selection, clock: Clock) -> None:
        self._source, self._shelf, self._kind, self._clock = source, shelf, kind, clock
        self._selection = selection
        self._filter = listing.parsed(kind, selection)

    async def events(self, resource_version: str, bookmarks: bool, timeout: float | None) -> AsyncIterator[WatchEvent]:
        """Raises Expired, BadRequest."""
        version = self._start(resource_version)
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        position = self._shelf.position(version)
        if resource_version in ("", "0"):
            for obj in listing.page(self._shelf, self._kind, self._everything(), version).items:
                yield WatchEvent(EventType.ADDED, obj)
            if bookmarks:
                yield self._bookmark(version)
        while True:
            closed = self._source.closed
            seen = self._source.version
            changes = self._shelf.since(position)
            position += len(changes)
            for change in changes:
                event = self._event(change)
                if event is not None:
                    yield event
            if changes:
                continue
            if closed or not await self._wait(deadline):
                return
            if bookmarks and not self._shelf.since(position):
                yield self._bookmark(seen)

    def _start(self, resource_version: str) -> int:
        if resource_version in ("", "0"):
            return self._source.version
        if not (resource_version.isascii() and resource_version.isdigit()) or len(resource_version) > 18:
            raise BadRequest(f'resourceVersion: "{resource_version}" is not one of ours')
        if int(resource_version) > self._source.version:
            raise Expired(f"resource version {resource_version} lies in the future: it is of another store")
        return int(resource_version)

    def _everything(self) -> Selection:
        chosen = self._selection
        return Selection(namespace=chosen.namespace, labels=chosen.labels, fields=chosen.fields)

    async def _wait(self, deadline: float | None) -> bool:
        """Until there is news, or it is time for a bookmark; False once the deadline has passed."""
        left = _BOOKMARK_EVERY if deadline is None else min(_BOOKMARK_EVERY, deadline - self._clock.monotonic())
        if left <= 0:
            return False
        news = self._shelf.changed()
        alarm = asyncio.ensure_future(self._clock.sleep(left))
        try:
            await asyncio.wait((news, alarm), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            self._shelf.leave(news)
            await asyncio.wait((alarm,))
        return news.done() or deadline is None or self._clock.monotonic() < deadline

    def _event(self, change: Change) -> WatchEvent | None:
        was = change.before is not None and self._filter.takes(change.before)
        is_ = change.after is not None and self._filter.takes(change.after)
        if change.after is not None and is_:
            return WatchEvent(EventType.MODIFIED if was else EventType.ADDED, _DECODER.decode(change.after.data))
        if change.before is None or not was:
            return None
        gone: Object = _DECODER.decode(change.last.data if change.after is None else change.before.data)
        gone["metadata"]["resourceVersion"] = str(change.version)
        return WatchEvent(EventType.DELETED, gone)

    def _bookmark(self, version: int) -> WatchEvent:
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        return WatchEvent(
            EventType.BOOKMARK, {"apiVersion": self._kind.api_version, "kind": self._kind.kind, "metadata": metadata}
        )
