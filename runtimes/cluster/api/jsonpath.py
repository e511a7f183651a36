"""JSONPath as printer columns and scale subresources write it.

Law: pure and exact for what CRDs use: fields, quoted fields, indexes, `[*]`, and filters by equality; anything else is
refused when the path is compiled, never guessed. A path that leads nowhere finds nothing. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from funcs.errors import Invalid

Step = Callable[[Any], Iterator[Any]]

_TOKEN = re.compile(
    r"""\.(?P<field>(?:[^.\[\]'"()\s\\]|\\.)+)
      | \[\s*'(?P<quoted>(?:[^'\\]|\\.)*)'\s*\]
      | \[\s*(?P<index>-?\d{1,6})\s*\]
      | \[\s*(?P<all>\*)\s*\]
      | \[\s*\?\(\s*@(?P<path>[^=!<>]+?)\s*(?P<operator>==|!=)\s*
        (?P<value>'[^']*'|"[^"]*"|true|false|-?\d+)\s*\)\s*\]""",
    re.VERBOSE,
)


def find(path: str, document: Any) -> list[Any]:
    """Every value at the path, in order. Raises Invalid for a path that is not of the language."""
    found = [document]
    for step in _compile(path):
        found = [value for node in found for value in step(node)]
    return found


def first(path: str, document: Any) -> Any:
    """The first value at the path, or None."""
    return next(iter(find(path, document)), None)


def fields(path: str) -> tuple[str, ...]:
    """The names of a path of plain fields, such as `.spec.replicas`. Raises Invalid for any other."""
    names: list[str] = []
    for token in _tokens(path):
        name = token.group("field") or token.group("quoted")
        if name is None:
            raise Invalid(f'the path "{path}" must be made of fields only')
        names.append(_unescape(name))
    return tuple(names)


@lru_cache(maxsize=1024)
def _compile(path: str) -> tuple[Step, ...]:
    return tuple(_step(token) for token in _tokens(path))


def _tokens(path: str) -> Iterator[re.Match[str]]:
    path = path.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1]
    path = path.removeprefix("$")
    if not path.startswith((".", "[")):
        path = "." + path
    position = 0
    while position < len(path):
        token = _TOKEN.match(path, position)
        if token is None:
            raise Invalid(f'the JSONPath "{path}" cannot be read from "{path[position:]}" on')
        yield token
        position = token.end()


def _step(token: re.Match[str]) -> Step:
    if token.group("operator"):
        return _filter(token.group("path"), token.group("operator"), token.group("value"))
    if token.group("all") or token.group("field") == "*":
        return _children
    if token.group("index"):
        return _item(int(token.group("index")))
    return _field(_unescape(token.group("field") or token.group("quoted") or ""))


def _field(name: str) -> Step:
    def step(node: Any) -> Iterator[Any]:
        if isinstance(node, dict) and node.get(name) is not None:
            yield node[name]

    return step


def _item(index: int) -> Step:
    def step(node: Any) -> Iterator[Any]:
        if isinstance(node, list) and -len(node) <= index < len(node):
            yield node[index]

    return step


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, list):
        yield from node
    elif isinstance(node, dict):
        yield from node.values()


def _filter(path: str, operator: str, literal: str) -> Step:
    inner, wanted = _compile(path), _literal(literal)

    def step(node: Any) -> Iterator[Any]:
        for item in node if isinstance(node, list) else ():
            found = [item]
            for part in inner:
                found = [value for inside in found for value in part(inside)]
            if found and (found[0] == wanted) == (operator == "=="):
                yield item

    return step


def _literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    return text == "true" if text in ("true", "false") else int(text)


def _unescape(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)
