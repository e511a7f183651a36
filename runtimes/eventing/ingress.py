"""A broker's front door: `POST /<namespace>/<broker>`.

Law: 202 means that the event is on disk; anything else means that it was not accepted, and says why. Answers are those
of Knative's broker ingress. IO: through the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Container
from functools import partial

from funcs.control.clock import Clock
from funcs.errors import FuncsError
from runtimes.http.headers import block
from runtimes.http.message import LATER, Answer, Request, Response, text

from . import event
from .log import EventLog

_ALLOW = ((b"allow", b"POST, OPTIONS"),)
_HANDSHAKE = block((*_ALLOW, (b"webhook-allowed-origin", b"*"), (b"webhook-allowed-rate", b"*")))
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_AGAIN = ((b"retry-after", b"1"),)
_ACCEPTED = Response(202, block(_ALLOW))


class Ingress:
    """A handler for `runtimes.http.server`. `brokers` are those that are open, as `namespace/name`."""

    def __init__(self, log: EventLog, brokers: Container[str], clock: Clock) -> None:
        self._log = log
        self._brokers = brokers
        self._clock = clock

    def __call__(self, request: Request) -> Answer | Awaitable[Answer]:
        broker = self._broker(request)
        if isinstance(broker, Response):
            return broker
        body = request.whole
        return self._accept(request, broker, body) if body is not None else self._read(request, broker)

    def _broker(self, request: Request) -> str | Response:
        """Whose event it is, or why it is nobody's."""
        path = request.target.partition(b"?")[0].decode("latin-1")
        if request.method == b"GET" and path == "/healthz":
            return text(200, "ok")
        if request.method == b"OPTIONS":
            return Response(200, _HANDSHAKE)
        if request.method != b"POST":
            return Response(405, (*_ALLOW, _TEXT), b"events are sent with POST\n")
        if path == "/":
            return text(404, "send events to /<namespace>/<broker>")
        parts = path.removesuffix("/").split("/")
        if len(parts) != 3 or parts[0] or not all(parts[1:]):
            return text(400, f"{path} is not /<namespace>/<broker>")
        broker = f"{parts[1]}/{parts[2]}"
        if broker not in self._brokers:
            return text(404, f"there is no broker {parts[2]} in namespace {parts[1]}, or it is not ready")
        return broker

    async def _read(self, request: Request, broker: str) -> Answer:
        return self._accept(request, broker, await request.read())

    def _accept(self, request: Request, broker: str, body: bytes) -> Answer:
        now = self._clock.now()
        try:
            accepted = self._log.append(broker, event.parse(request.headers, body).arriving(now), now)
        except FuncsError as error:
            return _refusal(error)
        accepted.add_done_callback(partial(_answer, request))
        return LATER


def _answer(request: Request, accepted: asyncio.Future[int]) -> None:
    error = accepted.exception()
    if error is None:
        request.respond(_ACCEPTED)
    elif isinstance(error, FuncsError):
        request.respond(_refusal(error))
    else:
        request.respond(text(500, "internal error"))


def _refusal(error: FuncsError) -> Response:
    lines = [error.message, *([error.hint] if error.hint else [])]
    later = _AGAIN if error.code in (429, 503) else ()
    return Response(error.code, (_TEXT, *later), ("\n".join(lines) + "\n").encode())
