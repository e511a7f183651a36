"""Label and field selectors: text, parsed once, to a predicate.

Law: the grammar is Kubernetes' own (apimachinery `labels.Parse` and `fields.ParseSelector`); what cannot be parsed is a
BadRequest that names the place. A requirement on an absent label: `!=` and `notin` match it, `=` and `in` do not. No
IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from funcs.errors import BadRequest

from .kinds import Kind
from .meta import Object

Operator = Literal["in", "notin", "exists", "!", "gt", "lt"]

_TOKEN = re.compile(r"\s*(?:(?P<symbol>==|!=|=|!|<|>|\(|\)|,)|(?P<word>[^\s=!<>(),]+))")
_NAME = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comma-separated part of a label selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.key)
        match self.operator:
            case "in":
                return found in self.values
            case "notin":
                return found not in self.values
            case "exists":
                return found is not None
            case "!":
                return found is None
            case "gt" | "lt":
                return found is not None and _compares(found, self.operator, next(iter(self.values)))


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def exact(self) -> list[tuple[str, str]]:
        """The (label, value) pairs that every match must carry: what an index can answer."""
        return [
            (requirement.key, next(iter(requirement.values)))
            for requirement in self.requirements
            if requirement.operator == "in" and len(requirement.values) == 1
        ]


EVERYTHING = LabelSelector()


def parse_labels(text: str) -> LabelSelector:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Raises BadRequest."""
    return LabelSelector(tuple(_Parser(text).requirements())) if text.strip() else EVERYTHING


def from_object(selector: Object) -> LabelSelector:
    """A metav1.LabelSelector (`matchLabels`, `matchExpressions`). Raises BadRequest."""
    found = [Requirement(key, "in", frozenset((value,))) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        operator = _EXPRESSIONS.get(str(expression.get("operator")))
        if operator is None:
            raise BadRequest(f'"{expression.get("operator")}" is not a valid label selector operator')
        found.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or ())))
    return LabelSelector(tuple(found))


_EXPRESSIONS: Mapping[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_key_problem(key: str) -> str | None:
    """What is wrong with a label's or annotation's key (a qualified name), if anything."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return f'"{key}": the part before the slash must be a DNS subdomain'
    if not _NAME.fullmatch(name):
        return f'"{key}": a name is 1 to 63 alphanumerics, "-", "_" or ".", and starts and ends with an alphanumeric'
    return None


def label_value_problem(value: str) -> str | None:
    if value and not _NAME.fullmatch(value):
        return f'"{value}": a value is at most 63 alphanumerics, "-", "_" or ".", starting and ending alphanumeric'
    return None


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    path: tuple[str, ...]
    value: str
    equal: bool

    def matches(self, obj: Object) -> bool:
        return (_at(obj, self.path) == self.value) is self.equal


@dataclass(frozen=True, slots=True)
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Object) -> bool:
        return all(requirement.matches(obj) for requirement in self.requirements)

    def named(self) -> str | None:
        """The one name that a match can have, if the selector says so."""
        for requirement in self.requirements:
            if requirement.path == ("metadata", "name") and requirement.equal:
                return requirement.value
        return None


def parse_fields(text: str, kind: Kind) -> FieldSelector:
    """`status.phase!=Running,metadata.name=x`; only fields that the kind can be selected by. Raises BadRequest."""
    return FieldSelector(tuple(_field(part, kind) for part in _split(text) if part))


_SELECTABLE: Mapping[tuple[str, str], frozenset[str]] = {
    ("", "Pod"): frozenset(
        [
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ]
    ),
    ("", "Event"): frozenset(
        [
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    ),
    ("", "Secret"): frozenset(("type",)),
    ("", "Namespace"): frozenset(("status.phase",)),
    ("", "Node"): frozenset(("spec.unschedulable",)),
    ("apps", "ReplicaSet"): frozenset(("status.replicas",)),
}
_EVERYWHERE = frozenset(("metadata.name", "metadata.namespace"))


def _field(part: str, kind: Kind) -> FieldRequirement:
    found = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part, re.DOTALL)
    if found is None:
        raise BadRequest(f'invalid field selector "{part}"', hint="Write field=value or field!=value.")
    path, operator, value = found.groups()
    path = path.strip()
    if path not in _EVERYWHERE and path not in _SELECTABLE.get((kind.group, kind.kind), frozenset()):
        raise BadRequest(f'field label not supported: "{path}" of {kind.resource}')
    return FieldRequirement(tuple(path.split(".")), _unescaped(value), operator != "!=")


def _split(text: str) -> Iterable[str]:
    return re.split(r"(?<!\\),", text)


def _unescaped(value: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", value)


def _at(obj: Object, path: tuple[str, ...]) -> str:
    found: object = obj
    for step in path:
        if not isinstance(found, dict):
            return ""
        found = found.get(step)
    if path == ("source",) and isinstance(found, dict):
        found = found.get("component")
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


def _compares(found: str, operator: Operator, bound: str) -> bool:
    try:
        return int(found) > int(bound) if operator == "gt" else int(found) < int(bound)
    except ValueError:
        return False


class _Parser:
    """A cursor over the tokens of one label selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._next = 0

    def requirements(self) -> Iterable[Requirement]:
        while True:
            yield self._requirement()
            if self._peek() == "":
                return
            self._expect(",")

    def _scan(self) -> Iterable[tuple[str, int, bool]]:
        position, end = 0, len(self._text.rstrip())
        while position < end:
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self._problem("unexpected character", position)
            token = found[0].strip()
            yield token, found.end() - len(token), found["word"] is not None
            position = found.end()

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take()
            return Requirement(self._key(), "!")
        key = self._key()
        match self._peek():
            case "" | ",":
                return Requirement(key, "exists")
            case "=" | "==":
                self._take()
                return Requirement(key, "in", frozenset((self._value(),)))
            case "!=":
                self._take()
                return Requirement(key, "notin", frozenset((self._value(),)))
            case ">" | "<" as sign:
                self._take()
                return Requirement(key, "gt" if sign == ">" else "lt", frozenset((self._number(),)))
            case "in" | "notin" as word:
                self._take()
                return Requirement(key, "in" if word == "in" else "notin", frozenset(self._values()))
            case other:
                raise self._problem(f'found "{other}", expected one of = == != in notin < > or a comma')

    def _key(self) -> str:
        key = self._word("a label's key")
        problem = label_key_problem(key)
        if problem:
            raise self._problem(problem)
        return key

    def _value(self) -> str:
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._word("a label's value")
        problem = label_value_problem(value)
        if problem:
            raise self._problem(problem)
        return value

    def _values(self) -> Iterable[str]:
        self._expect("(")
        while True:
            yield self._value()
            if self._peek() == ")":
                self._take()
                return
            self._expect(",")

    def _number(self) -> str:
        value = self._word("a whole number")
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise self._problem(f'"{value}" is not a whole number')
        return value

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][0]

    def _word(self, wanted: str) -> str:
        if self._next >= len(self._tokens) or not self._tokens[self._next][2]:
            raise self._problem(f"expected {wanted}")
        return self._take()

    def _expect(self, symbol: str) -> None:
        if self._peek() != symbol:
            raise self._problem(f'expected "{symbol}"')
        self._take()

    def _problem(self, message: str, position: int | None = None) -> BadRequest:
        if position is None:
            position = self._tokens[self._next][1] if self._next < len(self._tokens) else len(self._text)
        return BadRequest(f'unable to parse label selector "{self._text}": {message} at position {position}')
