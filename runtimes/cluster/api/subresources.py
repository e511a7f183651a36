"""Subresources: status, scale, log, and those that are POSTed to (token, binding, eviction).

Law: a subresource that a kind does not have is not found; one that Kubernetes has and this server has not is refused
by its name. IO: the Client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp

from funcs.api.core import POD, SERVICE_ACCOUNT
from funcs.api.kinds import Kind
from funcs.control import scale
from funcs.control.client import Client
from funcs.errors import NotFound, Unsupported

from . import requests, streams
from .calls import Call, answer
from .reading import Reading
from .status import NotImplementedHere
from .streams import Stream
from .writing import Writing

_POSTED = {(POD, "binding"), (POD, "eviction"), (SERVICE_ACCOUNT, "token")}
_ABSENT = ("attach", "exec", "portforward", "proxy", "ephemeralcontainers", "resize")
_PATIENCE = 1.0  # seconds that the first bytes of a log are awaited before the answer starts without them


@dataclass(frozen=True, slots=True)
class Subresources:
    client: Client
    reading: Reading
    writing: Writing
    closing: asyncio.Event

    async def serve(self, call: Call, kind: Kind) -> ASGIApp:
        """Raises NotFound, NotImplementedHere, Unsupported."""
        part = call.info.subresource
        if kind == POD and part in _ABSENT:
            raise NotImplementedHere(f'the subresource "{part}" of pods is not served by this cluster')
        if (kind, part) in _POSTED:
            return await self._posted(call, kind)
        if kind == POD and part == "log":
            return await self._log(call)
        if call.info.rest or not ((part == "status" and kind.status) or (part == "scale" and kind.scale is not None)):
            raise NotFound("the server could not find the requested resource")
        return await self._part(call, kind)

    async def _part(self, call: Call, kind: Kind) -> Response:
        match call.info.verb:
            case "get" if call.info.subresource == "scale":
                found = await self.client.get(kind, call.info.name, call.info.scoped)
                return answer(call, scale.read(kind, found))
            case "get":
                return await self.reading.get(call, kind)
            case "update":
                return await self.writing.update(call, kind)
            case "patch":
                return await self.writing.patch(call, kind)
        raise _not_allowed()

    async def _posted(self, call: Call, kind: Kind) -> Response:
        if call.info.verb != "create":
            raise _not_allowed()
        made = await self.client.subresource(
            kind, call.info.name, call.info.subresource, call.object(), call.info.scoped
        )
        return answer(call, made, code=201)

    async def _log(self, call: Call) -> ASGIApp:
        if call.info.verb != "get":
            raise _not_allowed()
        options = requests.log_options(call.query)
        await self.client.get(POD, call.info.name, call.info.scoped)
        chunks = self.client.stream_log(call.info.name, call.info.namespace, options)
        return Stream(await streams.starting(chunks, _PATIENCE), self.closing, "text/plain")


def _not_allowed() -> Unsupported:
    return Unsupported("the server does not allow this method on the requested resource")
