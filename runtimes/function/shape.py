"""How a handler is to be called, decided once.

Law: by parameter names first (`ctx`, `context`, `event`), by position for the rest, by the event parameter's annotation
for what it is given. Pure.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from funcs.errors import Invalid
from funcs.sdk import Context, Event
from funcs.sdk.binding import is_json

from .loading import LoadError

CTX = frozenset({"ctx", "context"})

Convert: TypeAlias = Callable[[Event], Any]
Call: TypeAlias = Callable[[Context, Any], Any]


class InvalidData(Invalid):
    """The event's data does not fit the handler's annotation."""

    default_reason = "InvalidData"


@dataclass(frozen=True, slots=True)
class Shape:
    """`call(ctx, argument)`; `convert` makes the argument of an Event, None: the Event itself; `batch`: of a list."""

    call: Call
    convert: Convert | None
    batch: bool
    kind: str
    """async, sync, agen or gen."""


def shape_of(handler: Callable[..., Any], name: str) -> Shape:
    """Raises LoadError for a signature that nothing can be passed to."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError) as error:
        raise LoadError(f"{name} has no signature: {error}") from error
    parameters = [p for p in signature.parameters.values() if p.default is p.empty and p.kind not in _VARIADIC]
    order = [_role(p, i, len(parameters)) for i, p in enumerate(parameters)]
    if len(order) > 2 or len(set(order)) != len(order):
        raise LoadError(f"{name}{signature} cannot be called", hint="Its parameters are `ctx` and `event`, or fewer.")
    annotation = _annotation(handler, parameters, order)
    batch = typing.get_origin(annotation) is list and _is_event(typing.get_args(annotation)[0])
    convert = None if batch else converter(annotation, name)
    return Shape(_caller(handler, parameters, order), convert, batch, _kind(handler))


def converter(annotation: Any, name: str) -> Convert | None:
    """What makes of an Event what the annotation asks for."""
    if annotation in {inspect.Parameter.empty, Any, Event}:
        return None
    if annotation is bytes:
        return lambda event: event.raw
    if annotation is str:
        return lambda event: event.text()
    if _is_event(annotation):
        decode = _decoder(typing.get_args(annotation)[0], name)
        return lambda event: event.with_data(decode(event))
    return _decoder(annotation, name)


def _decoder(wanted: Any, name: str) -> Convert:
    try:
        decoder = msgspec.json.Decoder(wanted)
    except TypeError as error:
        raise LoadError(f"{name}: an event cannot be given as {wanted!r}: {error}") from error

    def decode(event: Event) -> Any:
        try:
            if is_json(event.datacontenttype) or event.datacontenttype is None:
                return decoder.decode(event.raw)
            return msgspec.convert(event.data, wanted)
        except msgspec.ValidationError as error:
            raise InvalidData(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidData(f"the data is not JSON: {error}") from error

    return decode


_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _role(parameter: inspect.Parameter, index: int, count: int) -> str:
    if parameter.name in CTX or parameter.annotation in {Context, "Context"}:
        return "ctx"
    if parameter.name == "event" or count == 1:
        return "event"
    return ("ctx", "event", "?")[min(index, 2)]


def _annotation(handler: Callable[..., Any], parameters: list[inspect.Parameter], order: list[str]) -> Any:
    if "event" not in order:
        return inspect.Parameter.empty
    parameter = parameters[order.index("event")]
    try:
        hints = typing.get_type_hints(handler)
    except Exception:  # a forward reference that resolves nowhere is no reason not to serve
        return inspect.Parameter.empty if isinstance(parameter.annotation, str) else parameter.annotation
    return hints.get(parameter.name, inspect.Parameter.empty)


def _is_event(annotation: Any) -> bool:
    return annotation is Event or typing.get_origin(annotation) is Event


def _caller(handler: Callable[..., Any], parameters: list[inspect.Parameter], order: list[str]) -> Call:
    if any(p.kind is p.KEYWORD_ONLY for p in parameters):
        names = [p.name for p in parameters]
        return lambda ctx, event: handler(
            **{name: ctx if role == "ctx" else event for name, role in zip(names, order, strict=True)}
        )
    match order:
        case []:
            return lambda ctx, event: handler()
        case ["ctx"]:
            return lambda ctx, event: handler(ctx)
        case ["event"]:
            return lambda ctx, event: handler(event)
        case ["ctx", "event"]:
            return handler
    return lambda ctx, event: handler(event, ctx)


def _kind(handler: Callable[..., Any]) -> str:
    function = inspect.unwrap(handler)
    if not inspect.isroutine(function):
        function = type(function).__call__  # an instance that is called
    if inspect.isasyncgenfunction(function):
        return "agen"
    if inspect.iscoroutinefunction(function):
        return "async"
    return "gen" if inspect.isgeneratorfunction(function) else "sync"
