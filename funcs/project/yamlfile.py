"""YAML that somebody wrote, read without trusting it.

Law: size, depth and the number of values are bounded before anything is built, aliases counted each time they are
used; a key given twice is an error; every value keeps its line. Only plain YAML: mappings, lists, scalars. No IO.
"""

from __future__ import annotations

from typing import Any

import yaml

from funcs.errors import FieldError, Invalid

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

LARGEST = 256 * 1024  # bytes
_DEEPEST = 32
_MOST_VALUES = 20_000

_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
)

Lines = dict[str, int]


def load(data: bytes, what: str) -> tuple[Any, Lines]:
    """The value, and the line of every path such as `run.envs[0].name`. Raises Invalid, naming `what` and the line."""
    if len(data) > LARGEST:
        raise Invalid(f"{what} is {len(data)} bytes long; the most is {LARGEST}")
    try:
        _check_depth(data, what)
        loader = _Loader(data)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid(f"{what}{where} is not YAML: {getattr(error, 'problem', None) or error}") from error
    return _Reading(loader, what).value(node), _lines_of(node)


def _check_depth(data: bytes, what: str) -> None:
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise Invalid(f"{what}, line {line}: nested more than {_DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reading:
    """Builds values from nodes, and counts them."""

    def __init__(self, loader: Any, what: str) -> None:
        self._loader = loader
        self._what = what
        self._left = _MOST_VALUES

    def value(self, node: Any, depth: int = 0) -> Any:
        if node is None:
            return None
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise Invalid(f"{self._what} has more than {_MOST_VALUES} values, aliases counted each time")
        if node.tag not in _TAGS:
            raise self._wrong(node, f"the tag {node.tag!r} is not for this file")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value  # text: what people write is kept
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self._wrong(node, f"cannot be read: {getattr(error, 'problem', error)}") from error

    def _mapping(self, node: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key_node.tag == "tag:yaml.org,2002:merge":
                raise self._wrong(key_node, "a key must be a word")
            if key in found:
                raise self._wrong(key_node, f"{key!r} is given twice")
            found[key] = self.value(value_node, depth + 1)
        return found

    def _wrong(self, node: Any, why: str) -> Invalid:
        message = f"{self._what}, line {node.start_mark.line + 1}: {why}"
        return Invalid(message, causes=[FieldError(why)])


def _lines_of(node: Any) -> Lines:
    """A field's line is that of its key."""
    lines: Lines = {}
    ahead = [(node, "", node.start_mark.line + 1)] if node is not None else []
    while ahead and len(lines) < _MOST_VALUES:
        found, path, line = ahead.pop()
        lines[path] = line
        if isinstance(found, yaml.MappingNode):
            for key, value in found.value:
                ahead.append((value, f"{path}.{key.value}" if path else str(key.value), key.start_mark.line + 1))
        elif isinstance(found, yaml.SequenceNode):
            for index, value in enumerate(found.value):
                ahead.append((value, f"{path}[{index}]", value.start_mark.line + 1))
    return lines
