"""The tables: signatures, return values and exceptions, for requests and for CloudEvents, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from funcs import Context, DeadLetter, Drop, Event, HTTPError, Logger, Response, Retry
from funcs.sdk.context import Surroundings
from funcs.sdk.identity import identities
from runtimes.function.application import Application
from runtimes.function.lifecycle import Lifecycle
from runtimes.function.loading import LoadError
from runtimes.function.shape import shape_of
from runtimes.http.client import Pool
from runtimes.http.server import serve
from runtimes.http.settings import Limits

CE = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0", "content-type": "application/json"}
Line = tuple[str, str, Mapping[str, Any]]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Emitted:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def send(self, events: list[Event]) -> None:
        self.events += events


class Function:
    def __init__(self, pool: Pool, address: tuple[str, int], lines: list[Line], emitted: Emitted) -> None:
        self._pool = pool
        self._address = address
        self.lines = lines
        self.emitted = emitted.events

    async def __call__(
        self, body: bytes = b"", headers: Mapping[str, str] | None = None, path: str = "/", method: str = "POST"
    ) -> Answer:
        pairs = [(b"host", b"x")] + [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
        response = await self._pool.request(self._address, method.encode(), path.encode(), pairs, body=body)
        content = await response.read()
        return Answer(response.status, {k.decode(): v.decode() for k, v in response.headers}, content)

    async def event(self, body: bytes = b'{"n": 1}', **headers: str) -> Answer:
        return await self(body, {**CE, **headers})


@asynccontextmanager
async def function(
    handler: Callable[..., Any], owner: object = None, timeout: float | None = None
) -> AsyncIterator[Function]:
    lines: list[Line] = []
    logger = Logger(lambda level, message, fields: lines.append((level, message, fields)))
    lifecycle = Lifecycle(owner, logger)
    surroundings = Surroundings(
        function="f",
        source="/ns/f",
        logger=logger,
        identity=identities(),
        clock=time.monotonic,
        background=lifecycle.background,
    )
    emitted = Emitted()
    with ThreadPoolExecutor(2) as threads, socket.create_server(("127.0.0.1", 0)) as sock:
        shape = shape_of(handler, "test")
        app = Application(shape, lifecycle, surroundings, timeout=timeout, threads=threads, outlet=emitted)
        server = await serve(app, sock, limits=Limits(answer_timeout=timeout), failure=app.failed)
        pool = Pool()
        try:
            yield Function(pool, sock.getsockname(), lines, emitted)
        finally:
            await pool.close()
            await server.close()


# Signatures


async def _async(ctx: Context, event: Event) -> Any:
    return {"got": event.data, "f": ctx.function}


def _sync(ctx: Context, event: Event) -> Any:
    return {"got": event.data, "f": ctx.function}


async def _swapped(event: Event, context: Context) -> Any:
    return {"got": event.data, "f": context.function}


async def _unnamed(first: Any, second: Any) -> Any:
    return {"got": second.data, "f": first.function}


async def _event_only(event: Any) -> Any:
    return {"got": event.data, "f": "f"}


async def _keyword_only(*, event: Any, ctx: Any) -> Any:
    return {"got": event.data, "f": ctx.function}


async def _defaults(ctx: Any, event: Any, extra: int = 1, *more: Any, **named: Any) -> Any:
    return {"got": event.data, "f": ctx.function}


class _Callable:
    async def __call__(self, ctx: Any, event: Any) -> Any:
        return {"got": event.data, "f": ctx.function}


@pytest.mark.parametrize(
    "handler",
    [_async, _sync, _swapped, _unnamed, _event_only, _keyword_only, _defaults, _Callable()],
    ids=["async", "sync", "swapped", "unnamed", "event", "keywords", "defaults", "instance"],
)
async def test_a_handler_is_called_by_the_names_of_its_parameters(handler: Callable[..., Any]) -> None:
    async with function(handler) as call:
        answer = await call(b'{"n":1}', {"content-type": "application/json"})
        assert (answer.status, json.loads(answer.body)) == (200, {"got": {"n": 1}, "f": "f"})
        assert json.loads((await call.event()).body) == {"got": {"n": 1}, "f": "f"}


async def test_a_handler_without_parameters_or_with_the_context_alone_is_called_too() -> None:
    async def ctx_only(ctx: Any) -> str:
        return str(ctx.request.path)

    async with function(lambda: "nothing") as call:
        assert (await call()).body == b"nothing"
    async with function(ctx_only) as call:
        assert (await call(path="/p")).body == b"/p"


def test_a_handler_that_wants_more_is_refused_at_load() -> None:
    with pytest.raises(LoadError, match="cannot be called"):
        shape_of(lambda a, b, c: None, "test")


@dataclass
class Order:
    id: int
    tags: list[str]


class Named(TypedDict):
    id: int


class Packed(msgspec.Struct):
    id: int


@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (Order, b'{"id":1,"tags":["a"]}', "Order(id=1, tags=['a'])"),
        (Named, b'{"id":1}', "{'id': 1}"),
        (Packed, b'{"id":1}', "Packed(id=1)"),
        (dict, b'{"id":1}', "{'id': 1}"),
        (list, b"[1]", "[1]"),
        (list[int], b"[1]", "[1]"),
        (str, b"[1]", "'[1]'"),
        (bytes, b"[1]", "b'[1]'"),
    ],
)
async def test_an_annotation_says_what_the_event_is_given_as(annotation: Any, body: bytes, expected: str) -> None:
    def handle(event: Any) -> str:
        return repr(event)

    handle.__annotations__["event"] = annotation
    async with function(handle) as call:
        assert (await call(body, {"content-type": "application/json"})).body.decode() == expected


async def test_data_that_does_not_fit_is_422_and_for_events_400_naming_the_field() -> None:
    async def handle(event: Order) -> str:
        return "never"

    handle.__annotations__["event"] = Order
    async with function(handle) as call:
        answer = await call(b'{"id":"x","tags":[]}', {"content-type": "application/json"})
        assert answer.status == 422
        assert b"$.id" in answer.body
        assert (await call.event(b'{"id":"x"}')).status == 400


async def test_an_envelope_with_typed_data() -> None:
    async def handle(event: Any) -> str:
        return f"{event.type} {event.data!r}"

    handle.__annotations__["event"] = Event[Packed]
    async with function(handle) as call:
        assert (await call.event(b'{"id":1}')).body == b"t Packed(id=1)"


BATCH = {"content-type": "application/cloudevents-batch+json"}


def batch_of(count: int) -> bytes:
    return json.dumps(
        [{"id": str(i), "source": "/s", "type": "t", "specversion": "1.0", "data": i} for i in range(count)]
    ).encode()


async def test_a_batch_comes_whole_to_who_asks_for_it_and_one_by_one_to_others() -> None:
    async def whole(event: Any) -> dict[str, int]:
        return {"count": len(event)}

    async def single(event: Any) -> Any:
        return Event(event.data, type="doubled") if event.data else None

    whole.__annotations__["event"] = list[Event]
    async with function(whole) as call:
        assert json.loads((await call(batch_of(3), BATCH)).body) == {"count": 3}
    async with function(single) as call:
        answer = await call(batch_of(3), BATCH)
        assert answer.headers["content-type"] == "application/cloudevents-batch+json"
        assert [event["data"] for event in json.loads(answer.body)] == [1, 2]


# Return values


@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        (None, 204, None, b""),
        ("é", 200, "text/plain; charset=utf-8", "é".encode()),
        (b"\xff", 200, "application/octet-stream", b"\xff"),
        ({"statusCode": 404}, 200, "application/json", b'{"statusCode":404}'),
        ([{"a": 1}], 200, "application/json", b'[{"a":1}]'),
        ([], 200, "application/json", b"[]"),
        (True, 200, "application/json", b"true"),
        (1.5, 200, "application/json", b"1.5"),
        (Order(1, []), 200, "application/json", b'{"id":1,"tags":[]}'),
        (datetime(2026, 1, 1, tzinfo=UTC), 200, "application/json", b'"2026-01-01T00:00:00Z"'),
        (UUID(int=0), 200, "application/json", b'"00000000-0000-0000-0000-000000000000"'),
        (Decimal("1.10"), 200, "application/json", b'"1.10"'),
        (("made", 201), 201, "text/plain; charset=utf-8", b"made"),
        (({"a": 1}, 202, {"content-type": "application/x"}), 202, "application/x", b'{"a":1}'),
        ((1, 2, 3), 200, "application/json", b"[1,2,3]"),
        (Response("x", 418, {"X-Tea": "yes"}), 418, "text/plain; charset=utf-8", b"x"),
        (Response(status=404), 404, None, b""),
    ],
)
async def test_what_is_returned_to_a_request(value: Any, status: int, content_type: str | None, body: bytes) -> None:
    async with function(lambda: value) as call:
        answer = await call()
        assert (answer.status, answer.headers.get("content-type"), answer.body) == (status, content_type, body)


@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        ("é", 200, "text/plain; charset=utf-8", "é".encode()),
        (b"\xff", 200, "application/octet-stream", b"\xff"),
        ({"id": 7}, 200, "application/json", b'{"id":7}'),
        ([{"a": 1}], 200, "application/json", b'[{"a":1}]'),
        (Order(1, []), 200, "application/json", b'{"id":1,"tags":[]}'),
        (({"a": 1}, 202), 202, "application/json", b'{"a":1}'),
    ],
)
async def test_what_is_returned_to_an_event_is_the_data_of_a_reply(
    value: Any, status: int, content_type: str, body: bytes
) -> None:
    async with function(lambda: value) as call:
        answer = await call.event()
        assert (answer.status, answer.headers["content-type"], answer.body) == (status, content_type, body)
        assert (answer.headers["ce-type"], answer.headers["ce-source"]) == ("t.reply", "/ns/f")
        assert answer.headers["ce-id"] not in {"", "1"}
        assert "ce-time" not in answer.headers


async def test_nothing_returned_to_an_event_replies_nothing() -> None:
    async with function(lambda: None) as call:
        answer = await call.event()
        assert (answer.status, answer.body) == (204, b"")
        assert not [name for name in answer.headers if name.startswith("ce-")]


async def test_a_returned_event_is_a_reply_of_its_own_type() -> None:
    async with function(lambda: Event({"n": 2}, type="mine", subject="s")) as call:
        answer = await call.event()
        assert (answer.headers["ce-type"], answer.headers["ce-subject"], answer.body) == ("mine", "s", b'{"n":2}')


async def test_generators_stream_to_requests_and_are_collected_for_events() -> None:
    async def agen() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    def gen() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        yield {"n": 2}

    async with function(agen) as call:
        answer = await call()
        assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"ab")
        sse = await call(headers={"accept": "text/event-stream"})
        assert (sse.headers["content-type"], sse.body) == ("text/event-stream", b"data: a\n\ndata: b\n\n")
    async with function(gen) as call:
        answer = await call()
        assert (answer.headers["content-type"], answer.body) == ("application/x-ndjson", b'{"n":1}\n{"n":2}\n')
        assert [e["data"] for e in json.loads((await call.event()).body)] == [{"n": 1}, {"n": 2}]


# Exceptions


def raising(error: BaseException) -> Callable[[], Any]:
    def handle() -> Any:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "status", "event_status"),
    [
        (HTTPError(409, "twice"), 409, 409),
        (Retry(after=1.2), 503, 503),
        (Drop(), 200, 200),
        (DeadLetter("hopeless"), 422, 422),
        (TimeoutError("secret"), 504, 504),
        (ValueError("secret"), 500, 500),
        (KeyError("secret"), 500, 500),
    ],
)
async def test_what_is_raised(error: Exception, status: int, event_status: int) -> None:
    async with function(raising(error)) as call:
        answer = await call()
        assert answer.status == status
        assert (await call.event()).status == event_status
        assert b"secret" not in answer.body
        if isinstance(error, Retry):
            assert answer.headers["retry-after"] == "2"
        if isinstance(error, HTTPError | DeadLetter):
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.body)["detail"] in {"twice", "hopeless"}


async def test_an_unexpected_exception_is_found_in_the_log_by_its_id() -> None:
    async with function(raising(ValueError("secret"))) as call:
        invocation = json.loads((await call()).body)["instance"].removeprefix("urn:invocation:")
        [(level, _, fields)] = call.lines
        assert (level, fields["invocation"]) == ("error", invocation)
        assert "ValueError: secret" in fields["traceback"]


async def test_a_value_that_json_cannot_hold_is_the_functions_failure() -> None:
    async with function(lambda: {1: object()}) as call:
        assert (await call()).status == 500
        assert "cannot be written as JSON" in call.lines[0][2]["traceback"]


async def test_malformed_events_and_data_are_400_and_never_reach_the_handler() -> None:
    called: list[object] = []
    async with function(lambda event: called.append(event.data)) as call:
        assert (await call(headers={"ce-id": "1"})).status == 400
        assert (await call(b"{", {"content-type": "application/cloudevents+json"})).status == 400
        assert called == []
        assert (await call(b"{", {"content-type": "application/json"})).status == 400


async def test_a_handler_that_takes_too_long_is_504() -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    async with function(slow, timeout=0.1) as call:
        assert (await call()).status == 504


# Around it


async def test_events_are_emitted_when_the_handler_succeeds_and_only_then() -> None:
    async def handle(ctx: Context, event: Event) -> None:
        ctx.emit("made", {"n": 1}, subject="s")
        if event.path == "/fail":
            raise ValueError

    async with function(handle) as call:
        assert (await call(path="/fail")).status == 500
        assert call.emitted == []
        assert (await call()).status == 204
        [event] = call.emitted
        assert (event.type, event.subject, event.source) == ("made", "s", "/ns/f")
        assert event.id


async def test_health_is_beside_the_handler_and_says_why_not() -> None:
    class Owner:
        def alive(self) -> bool:
            return True

        async def ready(self) -> tuple[bool, str]:
            return False, "no database"

    async with function(lambda: "handler", Owner()) as call:
        assert (await call(path="/health/liveness", method="GET")).status == 200
        answer = await call(path="/health/readiness", method="GET")
        assert (answer.status, answer.body) == (503, b"no database\n")


async def test_log_lines_carry_the_trace() -> None:
    def handle(ctx: Context) -> None:
        ctx.logger.info("seen %s", "it", order=7)

    async with function(handle) as call:
        await call(headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        [(level, message, fields)] = call.lines
        assert (level, message, fields["order"]) == ("info", "seen it", 7)
        assert fields["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
