"""The API server as an ASGI application: who asks, may they, and which verb answers.

Law: every request passes host, authentication and authorization before its body is read; every error becomes a Status.
What lies behind is a Client: the server holds no resource of its own. IO: ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from funcs.api import admission
from funcs.api.core import CUSTOM_RESOURCE_DEFINITION
from funcs.api.kinds import Kind
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.errors import BadRequest, Forbidden, FuncsError, NotFound, Unauthorized, Unsupported
from funcs.version import __version__

from . import impersonation, media, rbac, requests, status, tokens
from .authentication import Authenticator
from .calls import Call
from .discovery import Discovery
from .escalation import Escalation
from .hosts import Hosts
from .openapi import OpenApi
from .public import Public
from .rbac import Attributes, Reader
from .reading import Reading
from .requests import RequestInfo
from .reviews import REVIEWS, Reviews
from .schemas import Schemas
from .subresources import Subresources
from .users import ANONYMOUS, User
from .writing import Writing

_log = logging.getLogger(__name__)

Verb = Callable[[Call, Kind], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What the server serves. `rules` are for warnings only: admission itself is the Client's."""

    kinds: Sequence[Kind]
    views: Mapping[Kind, type[msgspec.Struct]] = field(default_factory=dict)
    rules: Mapping[Kind, admission.Rules] = field(default_factory=dict)
    hosts: Hosts = field(default_factory=Hosts)
    version: str = __version__


class ApiServer:
    """`reader` is a Cache of roles and bindings; `authenticator` knows the tokens."""

    def __init__(
        self, settings: ApiSettings, client: Client, reader: Reader, authenticator: Authenticator, clock: Clock
    ) -> None:
        schemas = Schemas(settings.views)
        self._settings, self._reader, self._authenticator = settings, reader, authenticator
        self._closing = asyncio.Event()
        self._reading = Reading(client, clock, self._closing)
        self._writing = Writing(client, schemas, settings.rules, self._reading, Escalation(reader))
        self._parts = Subresources(client, self._reading, self._writing, self._closing)
        self._reviews = Reviews(reader, authenticator.bearer, tokens.AUDIENCE)
        self._public = Public(
            Discovery(settings.kinds, REVIEWS), OpenApi(settings.kinds, schemas, settings.version),
            authenticator.key, settings.version,
        )  # fmt: skip
        self._verbs: Mapping[str, Verb] = {
            "get": self._reading.get,
            "list": self._reading.list,
            "create": self._writing.create,
            "update": self._writing.update,
            "patch": self._writing.patch,
            "delete": self._writing.delete,
            "deletecollection": self._writing.delete_collection,
        }
        self._kinds = {(kind.group, kind.version, kind.plural): kind for kind in (*settings.kinds, *REVIEWS)}

    def close(self) -> None:
        """End every watch and followed log; new ones end at once."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"a connection of the type {scope['type']} reached the API server")
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> ASGIApp:
        info: RequestInfo | None = None
        try:
            query = _query(request.query_params)
            info = requests.read_info(request.method, request.scope["raw_path"].decode("latin-1"), query)
            return await self._served(request, info, query)
        except FuncsError as error:
            return _failed(error, info)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            return Response(media.encode(status.internal()), 500, media_type=media.JSON)

    async def _served(self, request: Request, info: RequestInfo, query: Mapping[str, str]) -> ASGIApp:
        host = request.headers.get("host", "")
        self._settings.hosts.check(host)
        user = await self._authenticator.user(request.headers.get("authorization", ""))
        user = impersonation.acting(user, request.headers, self._reader)
        self._authorize(user, info)
        call = Call(
            info=info,
            user=user,
            query=query,
            accept=request.headers.get("accept", ""),
            content_type=request.headers.get("content-type", ""),
            agent=request.headers.get("user-agent", ""),
            host=host,
            body=await _body(request) if request.method not in ("GET", "HEAD") else b"",
        )
        if not info.is_resource:
            return self._public.serve(call, request.method)
        return await self._resource(call, self._kind(info))

    def _authorize(self, user: User, info: RequestInfo) -> None:
        """Raises Forbidden in Kubernetes' words, Unauthorized where a token might help."""
        wanted = (
            Attributes(
                verb=info.verb, group=info.group, resource=info.resource, subresource=info.subresource,
                namespace=info.namespace, name=info.name,
            )
            if info.is_resource
            else Attributes(verb=info.verb, path=info.path)
        )  # fmt: skip
        if rbac.is_allowed(user, wanted, self._reader):
            return
        if user == ANONYMOUS:
            raise Unauthorized("Unauthorized")
        why = rbac.refusal(user, wanted)
        if not info.is_resource:
            raise Forbidden(f"forbidden: {why}")
        named = f'{info.group_resource} "{info.name}"' if info.name else info.group_resource
        raise Forbidden(f"{named} is forbidden: {why}")

    def _kind(self, info: RequestInfo) -> Kind:
        kind = self._kinds.get((info.group, info.version, info.resource))
        if kind is None or (info.namespace and not kind.namespaced and kind.plural != "namespaces"):
            raise NotFound("the server could not find the requested resource")
        return kind

    async def _resource(self, call: Call, kind: Kind) -> ASGIApp:
        if kind in REVIEWS:
            if call.info.verb != "create":
                raise Unsupported("the server does not allow this method on the requested resource")
            return await self._reviews.create(call, kind)
        if kind == CUSTOM_RESOURCE_DEFINITION and call.info.verb not in ("get", "list", "watch"):
            raise Unsupported("this cluster serves its built-in kinds only: definitions cannot be created or changed")
        call = _in_place(call, kind)
        if call.info.subresource:
            return await self._parts.serve(call, kind)
        if call.info.verb == "watch":
            return self._reading.watch(call, kind)
        verb = self._verbs.get(call.info.verb)
        if verb is None:
            raise Unsupported("the server does not allow this method on the requested resource")
        return await verb(call, kind)


def _in_place(call: Call, kind: Kind) -> Call:
    """A cluster-wide kind lies in no namespace, though the path of a namespace itself seems to name one."""
    if kind.namespaced or not call.info.namespace:
        return call
    return replace(call, info=replace(call.info, namespace=""))


def _query(parameters: QueryParams) -> Mapping[str, str]:
    if len(parameters.multi_items()) > 100:
        raise BadRequest("the query has too many parameters")
    return dict(reversed(parameters.multi_items()))


async def _body(request: Request) -> bytes:
    """Raises TooLarge as soon as the body is known to pass the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > media.BODY_LIMIT:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > media.BODY_LIMIT:
            raise _too_large()
    return bytes(body)


def _too_large() -> FuncsError:
    return status.TooLarge(f"Request entity too large: limit is {media.BODY_LIMIT}")


def _failed(error: FuncsError, info: RequestInfo | None) -> Response:
    response = Response(media.encode(status.failure(error, info)), error.code, media_type=media.JSON)
    if error.code == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.code == 503:
        response.headers["retry-after"] = "1"
    if error.code == 413:
        response.headers["connection"] = "close"
    return response
