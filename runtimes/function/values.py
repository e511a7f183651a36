"""What a handler returned, as an HTTP answer.

Law: the table of return values: a list of Events is a batch and a list of anything else is data; a dict is data,
whatever its keys; `(body, status)` and `(body, status, headers)` are answers if the status is an int. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from funcs import sdk
from funcs.sdk import Event
from funcs.sdk.binding import BATCH, to_headers
from funcs.sdk.event import batch
from funcs.sdk.identity import identities

from ..http.headers import Block, block
from ..http.message import Response

Fill = Callable[[Event], Event]
"""Completes an event that is to be sent."""

_NO_HEADERS = block(())
TEXT = block(((b"content-type", b"text/plain; charset=utf-8"),))
BYTES = block(((b"content-type", b"application/octet-stream"),))
JSON = block(((b"content-type", b"application/json"),))


def _other(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # pydantic
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"a handler returned a {type(value).__name__}, which cannot be written as JSON")


_identity = identities()
encode = msgspec.json.Encoder(enc_hook=_other).encode


def answer(value: Any, status: int = 0, headers: Mapping[str, str] | None = None, *, fill: Fill) -> Response:
    """The answer to a plain request. Raises TypeError for a value that JSON cannot hold."""
    kind = type(value)
    if kind is str:
        response = Response(200, TEXT, value.encode())
    elif kind is bytes:
        response = Response(200, BYTES, value)
    elif kind is dict:
        response = Response(200, JSON, encode(value))
    elif value is None:
        response = Response(status or 204, _NO_HEADERS)
    elif isinstance(value, Event):
        pairs, body = fill(value).to_binary()
        response = Response(200, pairs, body)
    elif kind is list and value and all(isinstance(item, Event) for item in value):
        response = Response(200, ((b"content-type", BATCH.encode()),), batch([fill(event) for event in value]))
    elif isinstance(value, sdk.Response):
        return answer(value.body, value.status, value.headers, fill=fill)
    elif is_answer(value):
        return answer(value[0], value[1], value[2] if len(value) == 3 else None, fill=fill)
    elif isinstance(value, bytearray | memoryview):
        response = Response(200, BYTES, bytes(value))
    else:
        response = Response(200, JSON, encode(value))
    if status:
        response.status = status
    if headers:
        response.headers = with_headers(response.headers, headers)
    return response


def reply(value: Any, request: Event, *, fill: Fill) -> Response:
    """The answer to a CloudEvent: data becomes a reply event of the type `<type>.reply`."""
    if value is None:
        return Response(204, _NO_HEADERS)
    if isinstance(value, sdk.Response):
        return _replied(value.body, value.status, value.headers, request, fill)
    if is_answer(value):
        return _replied(value[0], value[1], value[2] if len(value) == 3 else None, request, fill)
    if isinstance(value, Event) or (type(value) is list and value and all(isinstance(item, Event) for item in value)):
        return answer(value, fill=fill)
    return _reply_event(value, request, fill)


def replies(values: list[Any], request: Event, *, fill: Fill) -> Response:
    """Of several values: every event among them, and every other value as one."""
    events: list[Event] = []
    for value in values:
        for item in value if type(value) is list and value and isinstance(value[0], Event) else (value,):
            if item is not None:
                event = item if isinstance(item, Event) else _event(item, request)
                events.append(event)
    if len(events) < 2:
        return answer(events[0] if events else None, fill=fill)
    return answer(events, fill=fill)


def is_answer(value: Any) -> bool:
    """Whether a tuple is `(body, status)` or `(body, status, headers)`."""
    return (
        isinstance(value, tuple)
        and len(value) in {2, 3}
        and type(value[1]) is int
        and 100 <= value[1] <= 999
        and (len(value) == 2 or isinstance(value[2], Mapping))
    )


def with_headers(pairs: Any, extra: Mapping[str, str]) -> Block:
    """Header lines with `extra` over them. Raises Invalid for what cannot be a header."""
    named = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in extra.items()]
    given = {name for name, _ in named}
    kept = [pair for pair in _pairs(pairs) if pair[0] not in given]
    return block([*kept, *((name, value) for name, value in named if name != b"content-length")])


def piece(value: Any) -> bytes:
    """One item of a streamed answer."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else encode(value) + b"\n"


def sse(value: Any) -> bytes:
    """One item as a server-sent event."""
    text = value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else encode(value).decode()
    return "".join(f"data: {line}\n" for line in text.splitlines() or [""]).encode() + b"\n"


def stream_type(first: Any) -> Block:
    if isinstance(first, bytes):
        return BYTES
    return TEXT if isinstance(first, str) else block(((b"content-type", b"application/x-ndjson"),))


def _replied(body: Any, status: int, headers: Mapping[str, str] | None, request: Event, fill: Fill) -> Response:
    response = reply(body, request, fill=fill)
    response.status = status
    if headers:
        response.headers = with_headers(response.headers, headers)
    return response


def _reply_event(value: Any, request: Event, fill: Fill) -> Response:
    """As `answer(fill(_event(value)))`, without the Event in between: what most handlers of events return."""
    kind = type(value)
    if kind is str:
        content, body = TEXT, value.encode()
    elif kind is bytes:
        content, body = BYTES, value
    else:
        content, body = JSON, encode(value)
    fixed = _fixed(request.type, fill, content)
    return Response(200, Block(b"ce-id: %b\r\n%b" % (_identity().encode(), fixed)), body)


@lru_cache(1024)
def _fixed(type: str, fill: Fill, content: Block) -> Block:
    """What the headers of all replies to events of one type have in common."""
    attributes = dict(fill(Event(type=f"{type}.reply", id="-")).attributes)
    del attributes["id"]
    return Block(block(to_headers(attributes)) + content)


def _event(value: Any, request: Event) -> Event:
    if not isinstance(value, str | bytes):
        return Event(encode(value), type=f"{request.type}.reply", datacontenttype="application/json")
    return Event(value, type=f"{request.type}.reply")


def _pairs(lines: Any) -> list[tuple[bytes, bytes]]:
    if not isinstance(lines, Block):
        return list(lines)
    return [(name, value) for line in lines.split(b"\r\n") if line for name, _, value in (line.partition(b": "),)]
