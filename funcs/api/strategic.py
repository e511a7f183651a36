"""Strategic merge patch: the patch that kubectl sends for Kubernetes' own kinds.

Law: maps merge as in RFC 7386; lists merge by the keys of the merge-key table, all others are replaced. Directives:
`$patch` (delete, replace, merge), `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`; any
other `$…` is a BadRequest. The document given is never changed. Source: apimachinery `strategicpatch`. No IO.
"""

from __future__ import annotations

import copy
from typing import Any

from funcs.errors import BadRequest

from .lists import SET, MergeKey, identity, merge_key
from .meta import Object

_ORDER = "$setElementOrder/"
_DROP = "$deleteFromPrimitiveList/"


def merge(document: Object, patch: Object) -> Object:
    """Raises BadRequest."""
    directive = _directive(patch)
    if directive == "delete":
        return {}
    if directive == "replace":
        return copy.deepcopy({name: value for name, value in patch.items() if name != "$patch"})
    merged = _retained(document, patch)
    for name, value in patch.items():
        if name.startswith("$"):
            _refuse_unknown(name)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_value(name, merged.get(name), value)
    for name, value in patch.items():
        if name.startswith(_DROP):
            _drop(merged, name.removeprefix(_DROP), value)
        elif name.startswith(_ORDER):
            _order(merged, name.removeprefix(_ORDER), value)
    return merged


def _merge_value(name: str, old: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return merge(old if isinstance(old, dict) else {}, value)
    if isinstance(value, list):
        return _merge_list(name, old if isinstance(old, list) else [], value)
    return value


def _merge_list(name: str, old: list[Any], patch: list[Any]) -> list[Any]:
    items = [item for item in patch if not (isinstance(item, dict) and item.keys() == {"$patch"})]
    if any(_directive(item) == "replace" for item in patch if isinstance(item, dict) and item not in items):
        return copy.deepcopy(items)
    deletions = [item for item in items if isinstance(item, dict) and _directive(item) == "delete"]
    additions = [item for item in items if item not in deletions]
    key = merge_key(name, items or old, native=True)
    if key is None or (old and merge_key(name, old, native=True) != key):
        if deletions:
            raise BadRequest(f'"$patch: delete" in "{name}": the items of that list are not merged by a key')
        return [merge({}, item) if isinstance(item, dict) else item for item in items]
    return _merge_items(key, old, additions, {identity(key, item) for item in deletions})


def _merge_items(key: MergeKey, old: list[Any], additions: list[Any], deleted: set[str]) -> list[Any]:
    given = {identity(key, item): item for item in additions}
    merged = []
    for item in old:
        name = identity(key, item)
        if name in given:
            patch = given.pop(name)
            merged.append(patch if key is SET else merge(item, patch))
        elif name not in deleted:
            merged.append(item)
    return merged + [item if key is SET else merge({}, item) for item in given.values()]


def _retained(document: Object, patch: Object) -> Object:
    retained = patch.get("$retainKeys")
    if retained is None:
        return dict(document)
    if not isinstance(retained, list):
        raise BadRequest('"$retainKeys" is a list of names')
    return {name: value for name, value in document.items() if name in retained}


def _drop(merged: Object, field: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest(f'"{_DROP}{field}" is a list of values')
    if isinstance(merged.get(field), list):
        merged[field] = [item for item in merged[field] if item not in values]


def _order(merged: Object, field: str, wanted: Any) -> None:
    """Items that the patch orders take their turns in the places they hold; the server's own stay where they are."""
    items = merged.get(field)
    if not isinstance(items, list) or not isinstance(wanted, list):
        return
    key = merge_key(field, items, native=True)
    if key is None or not all(isinstance(item, str if key is SET else dict) for item in wanted):
        return
    turn = {identity(key, item): index for index, item in enumerate(wanted)}
    ordered = iter(
        sorted((item for item in items if identity(key, item) in turn), key=lambda i: turn[identity(key, i)])
    )
    merged[field] = [next(ordered) if identity(key, item) in turn else item for item in items]


def _directive(patch: Object) -> str:
    found = patch.get("$patch", "merge")
    if found not in ("merge", "replace", "delete"):
        raise BadRequest(f'"$patch: {found}" is not one of merge, replace, delete')
    return str(found)


def _refuse_unknown(name: str) -> None:
    if name not in ("$patch", "$retainKeys") and not name.startswith((_ORDER, _DROP)):
        raise BadRequest(f'"{name}" is not a directive of a strategic merge patch')
