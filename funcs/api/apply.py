"""Server-side apply: who owns which fields, and what an applied configuration does to a live object.

Law: a set of fields is `fieldsV1` itself (`{"f:spec": {"f:replicas": {}}}`), so nothing is translated. A manager that
stops mentioning a field gives it up, and a field that nobody owns any more is removed. Any other write makes its writer
the owner of what it changed. Source: structured-merge-diff's specification. No IO; arguments are never changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from funcs.errors import Conflict, FieldError

from .lists import MergeKey, identity, merge_key
from .meta import Object, Objects

Fields = dict[str, Any]

_UNOWNED = frozenset(
    [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, how, where and when: the heading of a managedFields entry. `time` is metav1.Time text."""

    manager: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str
    time: str
    native: bool

    def wrote(self, entry: Object) -> bool:
        return (
            entry.get("manager") == self.manager
            and entry.get("operation") == self.operation
            and entry.get("apiVersion") == self.api_version
            and (entry.get("subresource") or "") == self.subresource
        )


def applied(live: Object, config: Object, writer: Writer, *, force: bool) -> Object:
    """`live` with `config` merged in and ownership recorded. Raises Conflict unless `force`."""
    entries = live["metadata"].get("managedFields") or []
    wanted, native = fields_of(config, writer.native), writer.native
    others = [entry for entry in entries if not writer.wrote(entry)]
    merged = _merge(live, _content(config), "", native)
    altered = changed(live, merged, native)
    if not force:
        _refuse_conflicts(altered, others)
    others = [_with_fields(entry, _minus(_fields(entry), altered), writer.time) for entry in others]
    given_up = next((_fields(entry) for entry in entries if writer.wrote(entry)), {})
    owned = wanted
    for entry in others:
        owned = _union(owned, _fields(entry))
    result: Object = _without(merged, _unmentioned(given_up, owned), owned, "", native)
    return _recorded(result, entries, others, wanted, writer)


def updated(old: Object, new: Object, writer: Writer) -> Object:
    """`new` with managedFields that say the writer owns what differs from `old` ({} for a creation)."""
    entries = (old.get("metadata") or {}).get("managedFields") or []
    altered = changed(old, new, writer.native)
    mine = next((_fields(entry) for entry in entries if writer.wrote(entry)), {})
    others = [
        _with_fields(entry, _existing(_minus(_fields(entry), altered), new, "", writer.native), writer.time)
        for entry in entries
        if not writer.wrote(entry)
    ]
    owned = _union(_existing(mine, new, "", writer.native), altered)
    return _recorded(new, entries, others, owned, writer)


def fields_of(obj: Object, native: bool) -> Fields:
    """Every field that an object sets, as fieldsV1."""
    found = _fields_of(_content(obj), "", native)
    return found if isinstance(found, dict) else {}


def changed(old: Object, new: Object, native: bool) -> Fields:
    """The fields that are new or different in `new`; what is gone is not among them."""
    return _changed(_content(old), _content(new), "", native)


def _content(obj: Object) -> Object:
    """The part of an object that can be owned."""
    content = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in _UNOWNED}
    return {"metadata": metadata, **content} if metadata else content


def _fields_of(value: Any, field: str, native: bool) -> Fields:
    if isinstance(value, dict):
        return {f"f:{name}": _fields_of(inner, name, native) for name, inner in value.items()}
    if isinstance(value, list) and value:
        key = merge_key(field, value, native)
        if key is not None:
            return {identity(key, item): {".": {}, **_fields_of(item, "", native)} for item in value}
    return {}


def _changed(old: Any, new: Any, field: str, native: bool) -> Fields:
    if isinstance(old, dict) and isinstance(new, dict):
        return _changed_members(old, new, native)
    if isinstance(old, list) and isinstance(new, list) and old and new:
        key = merge_key(field, new, native)
        if key is not None and merge_key(field, old, native) == key:
            return _changed_items(key, old, new, native)
    return _fields_of(new, field, native)


def _changed_members(old: Object, new: Object, native: bool) -> Fields:
    found: Fields = {}
    for name, value in new.items():
        if name not in old:
            found[f"f:{name}"] = _fields_of(value, name, native)
        elif old[name] != value:
            inner = _changed(old[name], value, name, native)
            if inner or not isinstance(value, dict | list) or not isinstance(old[name], type(value)):
                found[f"f:{name}"] = inner
            elif isinstance(value, list) and merge_key(name, value, native) is None:
                found[f"f:{name}"] = {}
    return found


def _changed_items(key: MergeKey, old: list[Any], new: list[Any], native: bool) -> Fields:
    before = {identity(key, item): item for item in old}
    found: Fields = {}
    for item in new:
        name = identity(key, item)
        if name not in before:
            found[name] = {".": {}, **_fields_of(item, "", native)}
        elif before[name] != item:
            inner = _changed(before[name], item, "", native)
            if inner:
                found[name] = inner
    return found


def _merge(live: Any, config: Any, field: str, native: bool) -> Any:
    if isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = _merge(live.get(name), value, name, native)
        return merged
    if isinstance(live, list) and isinstance(config, list):
        key = merge_key(field, config or live, native)
        if key is not None and merge_key(field, live, native) == key:
            return _merge_items(key, live, config, native)
    return copy.deepcopy(config)


def _merge_items(key: MergeKey, live: list[Any], config: list[Any], native: bool) -> list[Any]:
    given = {identity(key, item): item for item in config}
    merged = []
    for item in live:
        name = identity(key, item)
        merged.append(_merge(item, given.pop(name), "", native) if name in given else item)
    return merged + copy.deepcopy(list(given.values()))


def _without(value: Any, fields: Fields, owned: Fields, field: str, native: bool) -> Any:
    """`value` less the given fields, and less the parents that this leaves empty, unless they are themselves owned."""
    if not fields:
        return value
    if isinstance(value, dict):
        return _without_members(value, fields, owned, native)
    key = merge_key(field, value, native) if isinstance(value, list) else None
    if key is None:
        return value
    kept = []
    for item in value:
        name = identity(key, item)
        gone = fields.get(name)
        if gone is None:
            kept.append(item)
        elif "." not in gone:
            rest = {inner: within for inner, within in gone.items() if inner[2:] not in key}
            kept.append(_without(item, rest, owned.get(name, {}), "", native))
    return kept


def _without_members(value: Object, fields: Fields, owned: Fields, native: bool) -> Object:
    kept = dict(value)
    for element, inner in fields.items():
        name = element[2:]
        if name not in kept or not element.startswith("f:"):
            continue
        left = _without(kept[name], inner, owned.get(element, {}), name, native) if inner else None
        if left or element in owned or (left is not None and left == kept[name]):
            kept[name] = left
        else:
            del kept[name]
    return kept


def _minus(left: Fields, right: Fields) -> Fields:
    """The fields of `left` less those of `right`, which as a leaf stands for all that was within."""
    found: Fields = {}
    for name, inner in left.items():
        if name not in right:
            found[name] = inner
        elif name != "." and inner and right[name]:
            rest = _minus(inner, right[name])
            if rest:
                found[name] = rest
    return found


def _unmentioned(left: Fields, right: Fields) -> Fields:
    """The fields of `left` that `right` does not mention: a leaf mentions nothing within, and whoever mentions anything
    within an item mentions the item."""
    found: Fields = {}
    for name, inner in left.items():
        if name not in right:
            if name != "." or not right:
                found[name] = inner
        elif name != "." and inner:
            rest = _unmentioned(inner, right[name])
            if rest:
                found[name] = rest
    return found


def _union(left: Fields, right: Fields) -> Fields:
    found = dict(left)
    for name, inner in right.items():
        found[name] = _union(left[name], inner) if name in left else inner
    return found


def _overlap(left: Fields, right: Fields) -> Iterator[tuple[str, ...]]:
    for name, inner in left.items():
        if name == "." or name not in right:
            continue
        if not inner or not right[name]:
            yield (name,)
        else:
            yield from ((name, *rest) for rest in _overlap(inner, right[name]))


def _existing(fields: Fields, value: Any, field: str, native: bool) -> Fields:
    """The fields that `value` (still) has."""
    if isinstance(value, dict):
        parts = {f"f:{name}": (inner, name) for name, inner in value.items()}
    elif isinstance(value, list) and (key := merge_key(field, value, native)) is not None:
        parts = {identity(key, item): (item, "") for item in value}
    else:
        return fields
    found: Fields = {}
    for name, inner in fields.items():
        if name == ".":
            found[name] = inner
        elif name in parts:
            rest = _existing(inner, *parts[name], native) if inner else inner
            if rest or not inner:
                found[name] = rest
    return found


def _refuse_conflicts(altered: Fields, others: Objects) -> None:
    causes = [
        FieldError(f'conflict with "{entry.get("manager")}"', _dotted(path))
        for entry in others
        for path in _overlap(_fields(entry), altered)
    ]
    if causes:
        raise Conflict(
            f"Apply failed with {len(causes)} conflict{'s' if len(causes) > 1 else ''}: "
            + "; ".join(f"{cause.message}: {cause.path}" for cause in causes),
            hint="Apply with force to take the fields over, or leave them to their owner.",
            causes=causes,
        )


def _dotted(path: tuple[str, ...]) -> str:
    parts = []
    for element in path:
        if element.startswith("f:"):
            parts.append(f".{element[2:]}")
        elif element.startswith("k:"):
            named = json.loads(element[2:])
            parts.append("[" + ",".join(f"{name}={json.dumps(value)}" for name, value in named.items()) + "]")
        else:
            parts.append(f"[{element[2:]}]")
    return "".join(parts)


def _fields(entry: Object) -> Fields:
    found: Fields = entry.get("fieldsV1") or {}
    return found


def _with_fields(entry: Object, fields: Fields, time: str) -> Object:
    return entry if fields == _fields(entry) else {**entry, "fieldsV1": fields, "time": time}


def _recorded(obj: Object, entries: Objects, others: Objects, owned: Fields, writer: Writer) -> Object:
    before = next((entry for entry in entries if writer.wrote(entry)), None)
    made: Object = {
        "manager": writer.manager,
        "operation": writer.operation,
        "apiVersion": writer.api_version,
        "time": writer.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    if writer.subresource:
        made["subresource"] = writer.subresource
    mine = before if before is not None and _fields(before) == owned else made
    kept = [entry for entry in others if _fields(entry)]
    if owned:
        kept.insert(next((index for index, entry in enumerate(entries) if writer.wrote(entry)), len(kept)), mine)
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if kept:
        metadata["managedFields"] = kept
    return {**obj, "metadata": metadata}
