"""The EventListeners' door: `POST /listeners/<namespace>/<name>`.

Law: 202 comes at once, before any trigger runs, and names the event; what it led to is known later (`outcome`). A
delivery that was handled is not handled again when its sender repeats it. What may wait is bounded. IO: HTTP, and the
client's.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from funcs.api import meta
from funcs.api.meta import Key, Object
from funcs.api.triggers import EVENT_LISTENER, PAYLOAD_VALIDATION, EventListener
from funcs.control.client import Client
from funcs.errors import BadRequest, FuncsError, NotFound, Timeout

from .bindings import Event, canonical
from .firing import Delivery, Firing, Outcome, described

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")
_DELIVERY_IDS = ("X-Github-Delivery", "X-Gitlab-Event-Uuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Bounds: the body's bytes, events waiting, events run at once, outcomes and delivery ids remembered."""

    body: int = 10 * 1024 * 1024
    waiting: int = 256
    parallel: int = 8
    remembered: int = 1024


class Listener:
    """`async with Listener(client, ids) as listener:` runs the triggers; `listener.routes()` go into an application.

    `ids` makes unique ids: of events, and the value of `$(uid)`.
    """

    def __init__(self, client: Client, ids: Callable[[], str], settings: ListenerSettings | None = None) -> None:
        self._client = client
        self._ids = ids
        self._settings = settings or ListenerSettings()
        self._firing = Firing(client, ids)
        self._waiting: asyncio.Queue[tuple[EventListener, Delivery]] = asyncio.Queue(self._settings.waiting)
        self._outcomes: OrderedDict[str, asyncio.Future[Outcome]] = OrderedDict()
        self._seen: OrderedDict[tuple[Key, str], str] = OrderedDict()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for number in range(self._settings.parallel):
            self._workers.append(asyncio.create_task(self._work(), name=f"listener {number}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """What has been accepted is run; new events are the application's server to refuse."""
        await self._waiting.join()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def routes(self) -> list[Route]:
        return [
            Route("/listeners/{namespace}/{name}", self._post, methods=["POST"]),
            Route("/listeners/{namespace}/{name}/live", _live, methods=["GET"]),
        ]

    async def outcome(self, event_id: str, deadline: float) -> Outcome:
        """What an event led to. Raises NotFound for one that is not (any more) known, Timeout after `deadline` s."""
        found = self._outcomes.get(event_id)
        if found is None:
            raise NotFound(f"no event {event_id} is known")
        try:
            return await asyncio.wait_for(asyncio.shield(found), deadline)
        except TimeoutError as error:
            raise Timeout(f"the triggers of event {event_id} have not run within {deadline} s") from error

    async def _post(self, request: Request) -> Response:
        key = Key(request.path_params["namespace"], request.path_params["name"])
        try:
            obj = await self._client.get(EVENT_LISTENER, key.name, key.namespace)
            body = await self._body(request)
            return self._accept(key, obj, _headers(request), body)
        except FuncsError as error:
            return PlainTextResponse(f"{error.message}\n", error.code)
        except ClientDisconnect:
            return PlainTextResponse("the sender went away\n", 400)
        except (msgspec.ValidationError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            return PlainTextResponse(f"the body is not JSON: {error}\n", 400)

    async def _body(self, request: Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > self._settings.body:
                raise TooLarge(f"the body is larger than {self._settings.body} bytes")
            parts.append(part)
        return b"".join(parts)

    def _accept(self, key: Key, obj: Object, headers: Mapping[str, str], body: bytes) -> Response:
        sent = next((headers[name] for name in _DELIVERY_IDS if headers.get(name)), "")
        repeated = self._seen.get((key, sent)) if sent else None
        if repeated is not None:
            return _accepted(key, obj, repeated)
        decoded = _decoded(obj, body)
        event_id = self._ids()
        delivery = Delivery(key, Event(event_id, decoded, headers), body)
        try:
            self._waiting.put_nowait((msgspec.convert(obj, EventListener), delivery))
        except asyncio.QueueFull:
            return PlainTextResponse("too many events wait\n", 503, {"retry-after": "1"})
        _remember(self._outcomes, event_id, asyncio.get_running_loop().create_future(), self._settings.remembered)
        if sent:
            _remember(self._seen, (key, sent), event_id, self._settings.remembered)
        return _accepted(key, obj, event_id)

    async def _work(self) -> None:
        while True:
            listener, delivery = await self._waiting.get()
            try:
                self._ended(delivery, await self._fire(listener, delivery))
            finally:
                self._waiting.task_done()

    async def _fire(self, listener: EventListener, delivery: Delivery) -> Outcome:
        try:
            return await self._firing.fire(listener, delivery)
        except Exception as error:
            log.exception("event %s of %s failed", delivery.event.id, delivery.listener)
            return Outcome(refused={"": f"{type(error).__name__}: {error}"})

    def _ended(self, delivery: Delivery, outcome: Outcome) -> None:
        level = logging.INFO if outcome.created else logging.WARNING
        log.log(level, "event %s of %s: %s", delivery.event.id, delivery.listener, described(outcome))
        if not outcome.created:
            self._forget(delivery.event.id)
        found = self._outcomes.get(delivery.event.id)
        if found is not None and not found.done():
            found.set_result(outcome)

    def _forget(self, event_id: str) -> None:
        """It made nothing: when its sender tries again, so do we."""
        for sent in [sent for sent, known in self._seen.items() if known == event_id]:
            del self._seen[sent]


class TooLarge(BadRequest):
    """A body beyond its limit."""

    code = 413
    default_reason = "RequestEntityTooLarge"


async def _live(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _accepted(key: Key, obj: Object, event_id: str) -> Response:
    answer = {
        "eventListener": key.name,
        "namespace": key.namespace,
        "eventListenerUID": meta.uid(obj),
        "eventID": event_id,
    }
    return JSONResponse(answer, 202)


def _headers(request: Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        known = canonical(name)
        headers[known] = f"{headers[known]},{value}" if known in headers else value
    return headers


def _decoded(obj: Object, body: bytes) -> Any:
    """The JSON that the body is; {} for no body, and for one that its listener says is something else."""
    if not body:
        return {}
    if meta.annotations(obj).get(PAYLOAD_VALIDATION) == "false":
        try:
            return json.loads(body)
        except ValueError:
            return {}
    return json.loads(body)


def _remember(held: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    held[key] = value
    while len(held) > most:
        held.popitem(last=False)
