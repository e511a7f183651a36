"""What a trigger takes out of an event: `$(body.x.y)`, `$(header.X-Foo)`, `$(extensions.k)`, `$(context.eventID)`.

Law: pure; the innermost `$()` counts, what it gives is not looked through again. A string is taken as it is, anything
else as JSON text. What is missing is an error, unless the template has a default. The paths are Kubernetes' JSONPath as
far as names, indexes and `[*]` go. Source: Tekton Triggers, TriggerBindings. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from funcs.api.triggers import BoundParam
from funcs.errors import Invalid

_EXPRESSION = re.compile(r"\$\(((?:body|header|extensions|context)(?:[.\[][^()$]*)?)\)")
_STEP = re.compile(
    r"""\.((?:[^.\[\]\\]|\\.)+)      # .name, with \. for a dot in it
      | \[(-?[0-9]{1,9})\]           # [3]
      | \['([^']*)'\]                # ['name']
      | (\[\*\])                     # [*]
    """,
    re.VERBOSE,
)
_ALL = object()


@dataclass(frozen=True, slots=True)
class Event:
    """What came in. `headers` by canonical name (`X-Github-Event`), `body` decoded."""

    id: str
    body: Any
    headers: Mapping[str, str]
    extensions: Mapping[str, Any] = field(default_factory=dict)


def canonical(name: str) -> str:
    """A header's name as Go writes it: `x-github-EVENT` is `X-Github-Event`."""
    return "-".join(part.capitalize() for part in name.split("-"))


def evaluate(params: Iterable[BoundParam], event: Event, defaults: Mapping[str, str]) -> dict[str, str]:
    """Values by name; a later param of the same name wins. Raises Invalid naming the param and what is missing."""
    values: dict[str, str] = {}
    for param in params:
        try:
            values[param.name] = _EXPRESSION.sub(lambda found: _text(_find(found[1], event)), param.value)
        except Invalid as error:
            if param.name not in defaults:
                raise Invalid(f"param {param.name}: {error.message}", reason="MissingValue") from error
            values[param.name] = defaults[param.name]
    return values


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _find(expression: str, event: Event) -> Any:
    """Raises Invalid."""
    root = re.match("[a-z]+", expression)
    name = root[0] if root else ""
    rest = expression[len(name) :]
    if name == "header":
        return _header(rest, event)
    roots: Mapping[str, Any] = {
        "body": event.body,
        "extensions": event.extensions,
        "context": {"eventID": event.id},
    }
    return _walk(roots[name], _steps(rest, expression), expression)


def _header(rest: str, event: Event) -> Any:
    if not rest:
        return dict(event.headers)
    wanted = canonical(rest.removeprefix(".").removeprefix("['").removesuffix("']"))
    if wanted not in event.headers:
        raise Invalid(f"{wanted} is not found in the headers")
    return event.headers[wanted]


def _steps(rest: str, expression: str) -> list[Any]:
    steps: list[Any] = []
    position = 0
    while position < len(rest):
        found = _STEP.match(rest, position)
        if found is None:
            raise Invalid(f"$({expression}) is not a path of names, [indexes] and [*]")
        position = found.end()
        dotted, index, quoted, every = found.groups()
        if every:
            steps.append(_ALL)
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(quoted if quoted is not None else re.sub(r"\\(.)", r"\1", dotted))
    return steps


def _walk(value: Any, steps: list[Any], expression: str) -> Any:
    for position, step in enumerate(steps):
        if step is _ALL:
            rest = steps[position + 1 :]
            return [_walk(element, rest, expression) for element in _elements(value, expression)]
        value = _into(value, step, expression)
    return value


def _elements(value: Any, expression: str) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list):
        return value
    raise Invalid(f"$({expression}): {type(value).__name__} has no elements")


def _into(value: Any, step: int | str, expression: str) -> Any:
    if isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    if isinstance(step, str) and isinstance(value, dict) and step in value:
        return value[step]
    raise Invalid(f"{step} is not found: $({expression})")
