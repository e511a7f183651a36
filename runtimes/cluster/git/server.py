"""git's smart HTTP protocol: `/git/<namespace>/<name>.git/info/refs`, `git-upload-pack`, `git-receive-pack`.

Law: `authorize` is asked before anything is looked at; the first authorised push makes the repository. The old "dumb"
protocol is refused by name. Sources: git's http-protocol and gitprotocol-v2 documents. IO: git processes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from funcs.api.meta import Key
from funcs.errors import BadRequest, Forbidden, FuncsError, Unauthorized, Unsupported

from . import hook
from .arrivals import Arrivals, Pushing
from .repositories import Repositories
from .service import Services, decoded

Action = Literal["read", "write"]
_SERVICES: Mapping[str, Action] = {"git-upload-pack": "read", "git-receive-pack": "write"}
_PROTOCOL = re.compile(r"[a-z0-9=:.,_-]{1,255}")
_NO_CACHE = {"cache-control": "no-cache, max-age=0, must-revalidate", "pragma": "no-cache", "expires": "0"}
_LARGEST_QUESTION = 64 * 1024 * 1024


class Authorize(Protocol):
    """The user's name, or raises Unauthorized (nobody we know) or Forbidden (may not). Header names are lower case."""

    def __call__(self, headers: Mapping[str, str], repository: Key, action: Action) -> str: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be answered."""

    request: Request
    service: str
    repository: Key
    path: Path
    user: str


class GitServer:
    """`routes()` go into an application; the hooks are served while `serving()` is entered."""

    def __init__(self, repositories: Repositories, authorize: Authorize, arrivals: Arrivals) -> None:
        self._repositories = repositories
        self._authorize = authorize
        self._arrivals = arrivals
        self._services = Services()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self._repositories.prepare()
        async with self._arrivals.listening():
            try:
                yield
            finally:
                await self._services.close()

    def routes(self) -> list[Route]:
        at = "/git/{namespace}/{name}"
        return [
            Route(f"{at}/info/refs", _answering(self._refs), methods=["GET"]),
            Route(f"{at}/{{service:path}}", _answering(self._serve), methods=["POST"]),
            Route(f"{at}/{{rest:path}}", _answering(_dumb), methods=["GET"]),
        ]

    async def _refs(self, request: Request) -> Response:
        """What there is to fetch, or to push to."""
        service = request.query_params.get("service", "")
        if service not in _SERVICES:
            raise Forbidden("only git's smart HTTP protocol is served", hint="Use git 1.6.6 or newer.")
        call = await self._call(request, service)
        command = self._repositories.command(service.removeprefix("git-"), "--stateless-rpc", "--advertise-refs", ".")
        running = await self._services.start(command, call.path, self._environment(call))
        pieces = _advertised(service, running.exchange(_nothing()), _is_v2(request))
        return Streamed(pieces, f"application/x-{service}-advertisement")

    async def _serve(self, request: Request) -> Response:
        service = request.path_params["service"]
        if service not in _SERVICES:
            raise BadRequest(f"there is no service {service[:80]}")
        wanted = f"application/x-{service}-request"
        if request.headers.get("content-type", "") != wanted:
            return PlainTextResponse(f"the content type must be {wanted}\n", 415)
        call = await self._call(request, service)
        most = self._repositories.largest_push if _SERVICES[service] == "write" else _LARGEST_QUESTION
        body = decoded(request.stream(), request.headers.get("content-encoding", "").lower(), most)
        return Streamed(self._exchange(call, body), f"application/x-{service}-result")

    async def _exchange(self, call: Call, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        word = ""
        if _SERVICES[call.service] == "write":
            word = self._arrivals.expect(Pushing(call.repository, call.path, call.user))
        command = self._repositories.command(call.service.removeprefix("git-"), "--stateless-rpc", ".")
        environment = self._environment(call, word)
        running = await self._services.start(command, call.path, environment, lambda: self._arrivals.forget(word))
        async with aclosing(running.exchange(_without_disconnect(body))) as pieces:
            async for piece in pieces:
                yield piece

    async def _call(self, request: Request, service: str) -> Call:
        """Raises what `authorize` raises, NotFound, Invalid."""
        name = request.path_params["name"].removesuffix(".git")
        repository = Key(request.path_params["namespace"], name)
        self._repositories.path(repository)
        action = _SERVICES[service]
        user = self._authorize(request.headers, repository, action)
        if action == "write":
            path = await self._repositories.made(repository)
        else:
            path = self._repositories.existing(repository)
        return Call(request, service, repository, path, user)

    def _environment(self, call: Call, word: str = "") -> dict[str, str]:
        more = {"REMOTE_USER": call.user}
        version = call.request.headers.get("git-protocol", "")
        if _PROTOCOL.fullmatch(version):
            more["GIT_PROTOCOL"] = version
        if word:
            more |= {hook.SOCKET: str(self._arrivals.socket.absolute()), hook.PUSH: word}
        return self._repositories.environment(more)


class Streamed(Response):
    """An answer in pieces, while the request is still being read (which Starlette's own streaming would do itself)."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(headers=_NO_CACHE, media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _answering(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except FuncsError as error:
            headers = {"www-authenticate": 'Basic realm="funcs git"'} if isinstance(error, Unauthorized) else None
            text = f"{error.message}\n{error.hint}\n" if error.hint else f"{error.message}\n"
            return PlainTextResponse(text, error.code, headers)

    return answer


async def _dumb(request: Request) -> Response:
    raise Unsupported("only git's smart HTTP protocol is served", hint="Use git 1.6.6 or newer.")


def _is_v2(request: Request) -> bool:
    return "version=2" in request.headers.get("git-protocol", "").split(":")


async def _advertised(service: str, answer: AsyncGenerator[bytes, None], is_v2: bool) -> AsyncGenerator[bytes, None]:
    """Before version 2, the service is named in a packet of its own."""
    if not (is_v2 and service == "git-upload-pack"):
        line = f"# service={service}\n".encode()
        yield b"%04x%b0000" % (len(line) + 4, line)
    async with aclosing(answer):
        async for piece in answer:
            yield piece


async def _without_disconnect(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A client that goes away in the middle of its request, as an error of ours. Raises BadRequest."""
    try:
        async for piece in body:
            yield piece
    except ClientDisconnect as error:
        raise BadRequest("the client went away") from error


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
