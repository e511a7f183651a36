"""get, list and watch: of objects, of Tables and of metadata alone.

Law: what a client accepts decides the form, never the content; a watch is one pass over the Client's own watch and
holds nothing of its own. IO: the Client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from starlette.responses import Response

from funcs.api import meta, selectors
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client, EventType, ObjectList, Selection, WatchEvent
from funcs.control.clock import Clock
from funcs.errors import BadRequest, Expired, FieldError, FuncsError, Invalid

from . import media, printers, requests, status, tables
from .calls import Call, answer
from .media import Accepted
from .streams import Stream

_TABLE = ("Table;v1",)
_OBJECT_FORMS = (*_TABLE, "PartialObjectMetadata;v1")
_LIST_FORMS = (*_TABLE, "PartialObjectMetadataList;v1", "PartialObjectMetadata;v1")
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_LONGEST_WATCH = 3600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The reading verbs over one Client."""

    client: Client
    clock: Clock
    closing: asyncio.Event

    async def get(self, call: Call, kind: Kind) -> Response:
        return self.shown(call, kind, await self.client.get(kind, call.info.name, call.info.scoped))

    def shown(self, call: Call, kind: Kind, obj: Object, *, code: int = 200, warnings: Sequence[str] = ()) -> Response:
        """One object in the form that the client accepts."""
        accepted = media.negotiate(call.accept, _OBJECT_FORMS)
        if accepted.transform == "Table":
            value = self._table(call, kind, [obj], {"resourceVersion": meta.resource_version(obj)})
        elif accepted.transform:
            value = tables.metadata_only(obj)
        else:
            value = obj
        media_type = media.JSON if accepted.transform else None
        return answer(call, value, code=code, warnings=warnings, media_type=media_type)

    async def list(self, call: Call, kind: Kind) -> Response:
        accepted = media.negotiate(call.accept, _LIST_FORMS)
        selection = _selection(call, kind)
        _check_list_version(call)
        found = await self.client.list(kind, selection)
        metadata = _list_metadata(found)
        if accepted.transform == "Table":
            return answer(call, self._table(call, kind, found.items, metadata), media_type=media.JSON)
        if accepted.transform:
            return answer(call, tables.metadata_list(found.items, metadata), media_type=media.JSON)
        value = {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": found.items,
        }
        return answer(call, value)

    def watch(self, call: Call, kind: Kind) -> Stream:
        """Raises BadRequest, Invalid before the first byte; later errors are ERROR events."""
        accepted = media.negotiate(call.accept, _LIST_FORMS)
        selection = replace(_selection(call, kind), limit=0, continue_token="")
        _check_watch(call)
        seconds = requests.number(call.query, "timeoutSeconds")
        timeout = min(float(seconds), _LONGEST_WATCH) if seconds else _LONGEST_WATCH
        events = self._events(call, kind, selection, timeout)
        return Stream(self._lines(events, self._form(call, kind, accepted)), self.closing, media.JSON)

    async def _events(self, call: Call, kind: Kind, selection: Selection, timeout: float) -> AsyncIterator[WatchEvent]:
        version = call.query.get("resourceVersion", "")
        bookmarks = requests.is_true(call.query, "allowWatchBookmarks")
        if requests.is_true(call.query, "sendInitialEvents"):
            found = await self.client.list(kind, selection)
            for obj in found.items:
                yield WatchEvent(EventType.ADDED, obj)
            version = found.resource_version
            yield WatchEvent(EventType.BOOKMARK, _bookmark(kind, version))
        elif version == "0":
            version = ""
        async for event in self.client.watch(
            kind, selection, resource_version=version, bookmarks=bookmarks, timeout=timeout
        ):
            yield event

    async def _lines(
        self, events: AsyncIterator[WatchEvent], form: Callable[[WatchEvent], Object]
    ) -> AsyncIterator[bytes]:
        try:
            async for event in events:
                yield media.encode({"type": event.type.value, "object": form(event)})
        except FuncsError as error:
            yield media.encode({"type": "ERROR", "object": status.failure(error)})

    def _form(self, call: Call, kind: Kind, accepted: Accepted) -> Callable[[WatchEvent], Object]:
        if accepted.transform == "Table":
            first = True

            def as_table(event: WatchEvent) -> Object:
                nonlocal first
                metadata = {"resourceVersion": meta.resource_version(event.object)}
                shown = [] if event.type is EventType.BOOKMARK else [event.object]
                made = self._table(call, kind, shown, metadata)
                if not first:
                    made["columnDefinitions"] = []
                first = False
                return made

            return as_table
        if accepted.transform:
            return lambda event: tables.metadata_only(event.object)
        return lambda event: event.object

    def _table(self, call: Call, kind: Kind, objects: Sequence[Object], metadata: Object) -> Object:
        include = tables.read_include(call.query.get("includeObject", ""))
        made = tables.table(printers.printer(kind), objects, self.clock.now(), include)
        made["metadata"] = metadata
        return made


def _selection(call: Call, kind: Kind) -> Selection:
    """Raises BadRequest for selectors that cannot be read."""
    labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
    selectors.parse_labels(labels)
    selectors.parse_fields(fields, kind)
    if call.info.name:
        fields = f"metadata.name={call.info.name}"
    return Selection(
        namespace=call.info.scoped,
        labels=labels,
        fields=fields,
        limit=requests.number(call.query, "limit") or 0,
        continue_token=call.query.get("continue", ""),
    )


def _list_metadata(found: ObjectList) -> Object:
    metadata: Object = {"resourceVersion": found.resource_version}
    if found.continue_token:
        metadata["continue"] = found.continue_token
        if found.remaining is not None:
            metadata["remainingItemCount"] = found.remaining
    return metadata


def _bookmark(kind: Kind, version: str) -> Object:
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": version, "annotations": {_INITIAL_EVENTS_END: "true"}},
    }


def _check_list_version(call: Call) -> None:
    """Lists are always of now: at least as new as any version asked for. An exact old one is no longer to be had."""
    version = call.query.get("resourceVersion", "")
    match = call.query.get("resourceVersionMatch", "")
    _check_number(version)
    if match not in ("", "NotOlderThan", "Exact"):
        raise _refused(
            "resourceVersionMatch", f'Unsupported value: "{match[:64]}": supported values: "Exact", "NotOlderThan"'
        )
    if match and not version:
        raise _refused(
            "resourceVersionMatch", "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        )
    if match == "Exact" and not call.query.get("continue"):
        if version == "0":
            raise _refused(
                "resourceVersionMatch", 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
        raise Expired(f"The provided resource version is no longer available: {version}")


def _check_watch(call: Call) -> None:
    version = call.query.get("resourceVersion", "")
    match = call.query.get("resourceVersionMatch", "")
    _check_number(version)
    if not requests.is_true(call.query, "sendInitialEvents"):
        if match:
            raise _refused(
                "resourceVersionMatch",
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        return
    if match != "NotOlderThan":
        raise _refused(
            "resourceVersionMatch", "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    if not requests.is_true(call.query, "allowWatchBookmarks"):
        raise _refused("allowWatchBookmarks", "Forbidden: sendInitialEvents requires allowWatchBookmarks")


def _check_number(version: str) -> None:
    if version and not (version.isascii() and version.isdigit() and len(version) < 20):
        raise BadRequest(
            f'Invalid value: "{version[:64]}": strconv.ParseUint: parsing "{version[:64]}": invalid syntax'
        )


def _refused(field: str, message: str) -> Invalid:
    problem = FieldError(message, field)
    return Invalid(f'ListOptions.meta.k8s.io "" is invalid: {field}: {message}', causes=[problem])
