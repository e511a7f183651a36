"""The Client port over HTTP.

Law: one request for one call; what the API answers is given back as it is, its refusals as our errors. Nothing is
retried here except once after a 401 with fresh credentials: the caller knows what may be repeated. Watches and logs
stream. The transport is aiohttp, which the official client stands on too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.control import envelope
from funcs.control.client import (
    ALL,
    DELETE,
    LOG,
    WRITE,
    DeleteOptions,
    EventType,
    LogOptions,
    ObjectList,
    PatchType,
    Selection,
    WatchEvent,
    WriteOptions,
)
from funcs.errors import BadRequest, Timeout, Unavailable
from funcs.version import __version__

from . import failures, paths
from .endpoint import Endpoint, from_kubeconfig
from .lines import lines

_JSON = "application/json"
_CONNECT = 10.0  # seconds
_ANSWER = 60.0  # seconds for a call that does not stream
_WATCH = 300.0  # seconds that a watch lasts unless said otherwise; the caller watches again
_SLACK = 30.0  # seconds that a server may be late in ending a watch


async def connect(kubeconfig: Path, context: str | None = None) -> HttpClient:
    """A Client of the API that a kubeconfig names; nothing is sent yet. Raises BadRequest, NotFound."""
    return HttpClient(await from_kubeconfig(kubeconfig, context))


class HttpClient:
    """Made with an `Endpoint`; used within one event loop; `close` it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._opened: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpClient({self._endpoint.server})"

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        return await self._call("GET", _item(kind, name, namespace))

    async def scale(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """The scale subresource as it is. Raises NotFound."""
        return await self._call("GET", _item(kind, name, namespace, "scale"))

    async def list(self, kind: Kind, selection: Selection = ALL) -> ObjectList:
        path = paths.collection(kind, selection.namespace)
        answer = await self._call("GET", path, paths.of_selection(selection))
        metadata = meta.metadata(answer)
        items = [{"apiVersion": kind.api_version, "kind": kind.kind} | item for item in answer.get("items") or []]
        return ObjectList(
            items=items,
            resource_version=str(metadata.get("resourceVersion") or ""),
            continue_token=str(metadata.get("continue") or ""),
            remaining=metadata.get("remainingItemCount"),
        )

    async def watch(
        self,
        kind: Kind,
        selection: Selection = ALL,
        *,
        resource_version: str = "",
        bookmarks: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent]:
        lasting = _WATCH if timeout is None else timeout
        query = paths.of_selection(selection) | {"watch": "true", "timeoutSeconds": str(max(1, round(lasting)))}
        if resource_version:
            query["resourceVersion"] = resource_version
        if bookmarks:
            query["allowWatchBookmarks"] = "true"
        path = paths.collection(kind, selection.namespace)
        async with self._exchange(_Request("GET", path, query, patience=lasting + _SLACK)) as answer:
            async for line in lines(answer.content.iter_any()):
                yield _event(line, f"watch {path}")

    async def create(self, kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
        obj = _whole(kind, obj)
        path = paths.collection(kind, envelope.locate(kind, "", meta.namespace(obj)).namespace)
        return await self._call("POST", path, paths.of_write(options), obj)

    async def update(self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, subresource: str = "") -> Object:
        key = envelope.key_of(kind, obj)
        path = paths.item(kind, key.name, key.namespace, subresource)
        body = obj if subresource == "scale" else _whole(kind, obj)
        return await self._call("PUT", path, paths.of_write(options), body)

    async def apply(
        self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, force: bool = True, subresource: str = ""
    ) -> Object:
        key = envelope.key_of(kind, obj)
        path = paths.item(kind, key.name, key.namespace, subresource)
        query = paths.of_write(options) | {"force": "true" if force else "false"}
        return await self._call("PATCH", path, query, _whole(kind, obj), PatchType.APPLY)

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
        return await self._call(
            "PATCH", _item(kind, name, namespace, subresource), paths.of_write(options), patch, type
        )

    async def patch_status(self, kind: Kind, name: str, status: Object, namespace: str | None = None) -> Object:
        return await self.patch(kind, name, {"status": status}, namespace, subresource="status")

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions = DELETE
    ) -> Object | None:
        answer = await self._call("DELETE", _item(kind, name, namespace), {}, paths.delete_body(options))
        return answer if answer.get("kind") == kind.kind and _lingers(answer) else None

    async def subresource(
        self, kind: Kind, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        return await self._call("POST", _item(kind, name, namespace, subresource), {}, body)

    async def stream_log(self, name: str, namespace: str, options: LogOptions = LOG) -> AsyncIterator[bytes]:
        patience = None if options.follow else _ANSWER
        request = _Request("GET", paths.log(namespace, name), paths.of_log(options), patience=patience)
        async with self._exchange(request) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    async def _call(
        self, method: str, path: str, query: paths.Query | None = None, body: Any = None, media: str = _JSON
    ) -> Object:
        async with self._exchange(_Request(method, path, query or {}, _encoded(body), str(media))) as answer:
            content = await answer.read()
        try:
            found = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{method} {path}: the answer is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise Unavailable(f"{method} {path}: the answer is not an object")
        return found

    @asynccontextmanager
    async def _exchange(self, request: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no refusal."""
        async with _translating(f"{request} of {self._endpoint.server}"):
            answer = await self._send(request, fresh=False)
            if answer.status == 401:
                answer.release()
                answer = await self._send(request, fresh=True)
            async with answer:
                if answer.status >= 400:
                    raise failures.failure(answer.status, await answer.read(), str(request))
                yield answer

    async def _send(self, request: _Request, *, fresh: bool) -> aiohttp.ClientResponse:
        headers = {"Accept": _JSON, "User-Agent": f"funcs/{__version__}"}
        authorization = await self._endpoint.authorize(fresh)
        if authorization:
            headers["Authorization"] = authorization
        if request.body is not None:
            headers["Content-Type"] = request.media
        return await self._session().request(
            request.method,
            URL(paths.url(self._endpoint.server, request.path, request.query), encoded=True),
            data=request.body,
            headers=headers,
            allow_redirects=False,
            server_hostname=self._endpoint.server_name,
            proxy=self._endpoint.proxy,
            timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT, sock_read=request.patience),
        )

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            tls = self._endpoint.tls
            self._opened = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=True if tls is None else tls))
        return self._opened


@dataclass(frozen=True, slots=True)
class _Request:
    """`patience`: seconds between two bytes of the answer, None for any."""

    method: str
    path: str
    query: paths.Query
    body: bytes | None = None
    media: str = _JSON
    patience: float | None = _ANSWER

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@asynccontextmanager
async def _translating(what: str) -> AsyncIterator[None]:
    try:
        yield
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise Timeout(f"{what}: no answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{what}: {error}", hint="Is the cluster running? See `funcs up`.") from error


def _event(line: bytes, what: str) -> WatchEvent:
    """Raises what an ERROR event stands for."""
    try:
        event = _EVENT.decode(line)
    except msgspec.DecodeError as error:
        raise Unavailable(f"{what}: the server sent no watch event: {error}") from error
    if event.type == "ERROR":
        raise failures.of_status(event.object, what)
    try:
        return WatchEvent(EventType(event.type), event.object)
    except ValueError as error:
        raise Unavailable(f'{what}: the server sent an event of type "{event.type}"') from error


class _Event(msgspec.Struct):
    type: str
    object: Object


_EVENT = msgspec.json.Decoder(_Event)


def _item(kind: Kind, name: str, namespace: str | None, subresource: str = "") -> str:
    if not name:
        raise BadRequest(f"a {kind.kind} is asked for by name")
    key = envelope.locate(kind, name, namespace)
    return paths.item(kind, key.name, key.namespace, subresource)


def _whole(kind: Kind, obj: Object) -> Object:
    """The object with its apiVersion and kind, which the API demands."""
    return {"apiVersion": kind.api_version, "kind": kind.kind} | obj


def _lingers(obj: Object) -> bool:
    return meta.is_deleting(obj) and bool(
        meta.finalizers(obj) or meta.metadata(obj).get("deletionGracePeriodSeconds") or 0
    )


def _encoded(body: Any) -> bytes | None:
    try:
        return None if body is None else msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the object is not JSON: {error}") from error
