"""One function as a handler of HTTP requests: event in, author's code, answer out.

Law: an invocation that did not succeed emits nothing. Health is answered beside the author's code, never behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, Protocol

from funcs.errors import FuncsError, Unavailable
from funcs.sdk import Context, Event
from funcs.sdk.context import Surroundings
from funcs.sdk.event import received

from ..http.headers import block
from ..http.message import Request, Response, text
from . import values
from .failures import failure
from .lifecycle import Lifecycle
from .shape import Shape

SSE = block(((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")))
_END = object()
_PLAIN = frozenset({str, bytes, dict, list, tuple, type(None)})

Invoke = Callable[[Context, Any], Awaitable[Any]]


class Outlet(Protocol):
    """Where emitted events go."""

    async def send(self, events: list[Event]) -> None: ...


class Application:
    """`app(request)` is what `runtimes.http.server.serve` calls."""

    def __init__(
        self,
        shape: Shape,
        lifecycle: Lifecycle,
        surroundings: Surroundings,
        *,
        timeout: float | None = None,
        threads: Executor | None = None,
        outlet: Outlet | None = None,
    ) -> None:
        """`threads`: where handlers that are not async run; None: on the event loop."""
        self._shape = shape
        self._lifecycle = lifecycle
        self._surroundings = surroundings
        self._timeout = timeout
        self._threads = threads
        self._outlet = outlet
        self._call = shape.call
        self._direct = shape.kind == "async" and shape.convert is None and not shape.batch
        self._invoke = self._invoker()
        self._fill = filling(surroundings.source, surroundings.identity)

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        if request.target.startswith(b"/health/"):
            return self._health(request)
        return self._serve(request)

    async def _serve(self, request: Request) -> Response:
        event: Event | None = None
        ctx: Context | None = None
        try:
            body = request.whole
            if body is None:
                body = await request.read()
            given = received(request.method.decode(), request.target, request.headers, body)
            event = given if type(given) is Event else None
            ctx = Context(self._surroundings, event, None if self._timeout is None else self._deadline(self._timeout))
            if event is not None and self._direct:
                value = await self._call(ctx, event)
            else:
                value = await self._deliver(ctx, given)
            if ctx.emitted is not None:
                await self._emit(ctx)
            if type(value) not in _PLAIN and (hasattr(value, "__anext__") or hasattr(value, "__next__")):
                return await self._streamed(value, ctx, given)
            if event is None:
                return (
                    values.replies(value, given[0], fill=self._fill)
                    if isinstance(given, list) and given
                    else Response(204)
                )
            if event.is_cloudevent:
                return values.reply(value, event, fill=self._fill)
            return values.answer(value, fill=self._fill)
        except Exception as error:
            return self._failed(error, ctx, event)

    def failed(self, request: Request, error: BaseException) -> Response:
        """What the server answers for what `app` could not: the body's errors, a time-out, a client that left."""
        return self._failed(error, None, None)

    # The author's code.

    async def _deliver(self, ctx: Context, given: Event | list[Event]) -> Any:
        """Call the handler for an event, for a batch at once, or for each event of a batch in turn."""
        if self._shape.batch:
            value = await self._invoke(ctx, given if isinstance(given, list) else [given])
            return value if isinstance(given, Event) else [value]
        if isinstance(given, Event):
            return await self._invoke(ctx, self._argument(given))
        return [await self._invoke(ctx, self._argument(event)) for event in given]

    def _argument(self, event: Event) -> Any:
        return event if self._shape.convert is None else self._shape.convert(event)

    def _invoker(self) -> Invoke:
        call = self._shape.call
        if self._shape.kind == "async":
            return call
        threads = self._threads
        if self._shape.kind in {"agen", "gen"} or threads is None:

            async def at_once(ctx: Context, event: Any) -> Any:
                return await _settled(call(ctx, event))

            return at_once

        async def in_thread(ctx: Context, event: Any) -> Any:
            loop = asyncio.get_running_loop()
            return await _settled(await loop.run_in_executor(threads, copy_context().run, call, ctx, event))

        return in_thread

    def _deadline(self, timeout: float) -> float:
        return self._surroundings.clock() + timeout

    # Events that go out.

    async def _emit(self, ctx: Context) -> None:
        if self._outlet is None:
            raise Unavailable("the function emits events, but neither K_SINK nor FUNCS_BROKER says where to")
        await self._outlet.send([self._fill(event) for event in ctx.emitted or ()])

    # Streams.

    async def _streamed(self, value: Any, ctx: Context, given: Event | list[Event]) -> Response:
        items = value if hasattr(value, "__anext__") else self._threaded(value)
        if isinstance(given, list) or given.is_cloudevent:
            collected = [item async for item in items]
            if ctx.emitted is not None:
                await self._emit(ctx)
            first = given if isinstance(given, Event) else given[0]
            return values.replies(collected, first, fill=self._fill)
        first_item = await anext(items, _END)
        if "text/event-stream" in given.headers.get("accept", ""):
            return Response(200, SSE, self._pieces(first_item, items, values.sse, ctx))
        return Response(200, values.stream_type(first_item), self._pieces(first_item, items, values.piece, ctx))

    async def _pieces(
        self, first: Any, items: AsyncIterator[Any], encode: Callable[[Any], bytes], ctx: Context
    ) -> AsyncIterator[bytes]:
        try:
            if first is not _END:
                yield encode(first)
                async for item in items:
                    yield encode(item)
            if ctx.emitted is not None:
                await self._emit(ctx)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def _threaded(self, items: Iterator[Any]) -> AsyncIterator[Any]:
        """A generator that is not async, each step of it where handlers that are not async run."""
        loop = asyncio.get_running_loop()
        context = copy_context()
        while True:
            if self._threads is None:
                item = _step(items)
            else:
                item = await loop.run_in_executor(self._threads, context.run, _step, items)
            if item is _END:
                return
            yield item

    # Failures and health.

    def _failed(self, error: BaseException, ctx: Context | None, event: Event | None) -> Response:
        ctx = ctx or Context(self._surroundings, event)
        response, unexpected = failure(error, ctx.invocation_id, cloudevent=event is not None and event.is_cloudevent)
        if unexpected:
            ctx.logger.exception("the invocation failed", error=error)
        return response

    async def _health(self, request: Request) -> Response:
        if request.target == b"/health/liveness":
            well, message = await self._lifecycle.alive()
        elif request.target == b"/health/readiness":
            well, message = await self._lifecycle.ready()
        else:
            return text(404, "there are /health/liveness and /health/readiness")
        return text(200 if well else 503, message or ("ok" if well else "not ok"))


def filling(source: str, identity: Callable[[], str]) -> values.Fill:
    """Gives an event that is to be sent an id, if it has none, and `source`."""

    def fill(event: Event) -> Event:
        attributes = event._attributes
        if attributes is not None:
            attributes["id"] = attributes.get("id") or identity()
            attributes["source"] = attributes.get("source") or source
        return event

    return fill


def _step(items: Iterator[Any]) -> Any:
    return next(items, _END)


async def _settled(value: Any) -> Any:
    """What a function that is not async gave, awaited if it is awaitable."""
    return await value if hasattr(value, "__await__") else value


def refusing(error: FuncsError) -> Callable[[Request], Response]:
    """A handler for the time between a failed start and the end of the process."""

    def refuse(request: Request) -> Response:
        if request.target == b"/health/liveness":
            return text(200, "ok")
        if request.target == b"/health/readiness":
            return text(503, error.message)
        return text(503, "the function did not start")

    return refuse
