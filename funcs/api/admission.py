"""Admission: what every write of a resource passes, on every substrate.

Law: pure; the object, the old object, the user and the config maps are arguments. Each group's module defaults and
validates its own kinds; this one only finds it. Called in process by the embedded API server and by webhook on a
cluster. No IO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from funcs.errors import FieldError, Invalid

from . import meta
from .kinds import Kind
from .meta import Object

Operation = Literal["CREATE", "UPDATE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One write under review. A defaulter changes `object` in place; `config` is the data of config maps by name."""

    kind: Kind
    operation: Operation
    object: Object
    old: Object | None = None
    user: str = ""
    subresource: str = ""
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """A group's part: `default` changes the object in place, `validate` names what is wrong, `warn` what is unwise."""

    default: Callable[[Request], None] = lambda request: None
    validate: Callable[[Request], list[FieldError]] = lambda request: []
    warn: Callable[[Request], list[str]] = lambda request: []


NO_RULES = Rules()


def admit(request: Request, rules: Mapping[Kind, Rules]) -> list[str]:
    """Default in place, then validate. Returns warnings. Raises Invalid with every cause."""
    found = rules.get(request.kind, NO_RULES)
    if request.subresource == "":
        found.default(request)
    problems = found.validate(request)
    if problems:
        name = meta.name(request.object)
        raise Invalid(
            f'{request.kind.group_kind} "{name}" is invalid: ' + "; ".join(str(problem) for problem in problems),
            causes=problems,
        )
    return found.warn(request)
