"""JSON patch (RFC 6902) and merge patch (RFC 7386), each a pure function from a document to a new one.

Law: the document given is never changed; a patch that cannot be applied raises Invalid (it does not fit this document)
or BadRequest (it is no patch), naming the operation and the place. The strategic kind has its own module. No IO.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from funcs.errors import BadRequest, Invalid

from .meta import Object

_LONGEST = 10_000  # operations, as the Kubernetes API server allows


def merge(document: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def difference(old: Any, new: Any) -> Any:
    """The merge patch that turns `old` into `new`, if neither holds a null (which a merge patch cannot express)."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return copy.deepcopy(new)
    patch: Object = {name: None for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            patch[name] = copy.deepcopy(value)
        elif old[name] != value:
            patch[name] = difference(old[name], value)
    return patch


def apply_json(document: Any, operations: object) -> Any:
    """RFC 6902: all operations or none. Raises BadRequest, Invalid."""
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch is a list of operations")
    if len(operations) > _LONGEST:
        raise BadRequest(f"a JSON patch may hold {_LONGEST} operations, this one holds {len(operations)}")
    document = copy.deepcopy(document)
    for index, operation in enumerate(operations):
        document = _operate(document, operation, index)
    return document


def _operate(document: Any, operation: object, index: int) -> Any:
    if not isinstance(operation, dict):
        raise BadRequest(f"operation {index} of the JSON patch is not an object")
    name = operation.get("op")
    found = _OPERATIONS.get(str(name))
    if found is None:
        raise BadRequest(f'operation {index} of the JSON patch: "{name}" is not one of {", ".join(_OPERATIONS)}')
    missing = [field for field in ("path", *_NEEDS.get(str(name), ())) if field not in operation]
    if missing:
        raise BadRequest(f'operation {index} ("{name}") of the JSON patch lacks "{missing[0]}"')
    try:
        return found(document, operation)
    except _Misfit as misfit:
        raise Invalid(f'operation {index} ("{name}" {operation["path"]}) of the JSON patch: {misfit}') from None


class _Misfit(Exception):
    pass


def _add(document: Any, operation: Object) -> Any:
    return _put(document, operation["path"], copy.deepcopy(operation["value"]))


def _remove(document: Any, operation: Object) -> Any:
    _take(document, operation["path"])
    return document


def _replace(document: Any, operation: Object) -> Any:
    steps = _steps(operation["path"])
    if not steps:
        return copy.deepcopy(operation["value"])
    parent = _walk(document, steps[:-1])
    parent[_existing(parent, steps[-1])] = copy.deepcopy(operation["value"])
    return document


def _move(document: Any, operation: Object) -> Any:
    source, target = operation["from"], operation["path"]
    if str(target).startswith(f"{source}/"):
        raise _Misfit("a value cannot be moved into itself")
    if source == target:
        _walk(document, _steps(source))
        return document
    return _put(document, target, _take(document, source))


def _copy(document: Any, operation: Object) -> Any:
    return _put(document, operation["path"], copy.deepcopy(_walk(document, _steps(operation["from"]))))


def _test(document: Any, operation: Object) -> Any:
    if not same(_walk(document, _steps(operation["path"])), operation["value"]):
        raise _Misfit("the value there is another")
    return document


_OPERATIONS: Mapping[str, Callable[[Any, Object], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "move": ("from",),
    "copy": ("from",),
}


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values, in which true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _put(document: Any, pointer: object, value: Any) -> Any:
    steps = _steps(pointer)
    if not steps:
        return value
    parent, last = _walk(document, steps[:-1]), steps[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        raise _Misfit("there is no object or list to add to")
    return document


def _take(document: Any, pointer: object) -> Any:
    steps = _steps(pointer)
    if not steps:
        raise _Misfit("the whole document cannot be removed")
    parent = _walk(document, steps[:-1])
    return parent.pop(_existing(parent, steps[-1]))


def _walk(document: Any, steps: list[str]) -> Any:
    for step in steps:
        document = document[_existing(document, step)]
    return document


def _existing(parent: Any, step: str) -> Any:
    if isinstance(parent, dict) and step in parent:
        return step
    if isinstance(parent, list):
        return _index(step, len(parent) - 1)
    raise _Misfit(f'"{step}" does not exist')


def _index(step: str, highest: int) -> int:
    if not (step.isascii() and step.isdigit()) or (step != "0" and step.startswith("0")):
        raise _Misfit(f'"{step}" is not a list index')
    if len(step) > 9 or int(step) > highest:
        raise _Misfit(f"the list has no index {step[:12]}")
    return int(step)


def _steps(pointer: object) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise _Misfit(f'{pointer!r} is not a JSON pointer, which starts with "/"')
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
