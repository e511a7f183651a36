"""Which triggers want an event: filters compiled to predicates, and an index that asks few of them.

Law: pure; an attribute is compared by its canonical string, an absent one matches nothing but `not`. The index answers
exactly what asking every filter would answer. Sources: Knative's Trigger filters, CloudEvents Subscriptions API
section 3.2.4. No IO.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Attributes = Mapping[str, str]
Predicate = Callable[[Attributes], bool]
Anchor = tuple[str, str]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Filter:
    """A predicate, and its anchors: each of these sets has an attribute value in common with every matching event."""

    matches: Predicate
    anchors: tuple[frozenset[Anchor], ...] = ()


def everything(event: Attributes) -> bool:
    return True


def compile_filter(legacy: Mapping[str, str] | None, filters: Sequence[Mapping[str, Any]]) -> Filter:
    """A trigger's filter: `filters` if there are any (all must match), else `filter.attributes`, else everything.

    The mappings are valid by admission (`funcs.api.eventing`).
    """
    if filters:
        return _all([_dialect(found) for found in filters])
    if not legacy:
        return Filter(everything)
    present = [name for name, value in legacy.items() if value == ""]
    wanted = {name: value for name, value in legacy.items() if value != ""}
    parts = [Filter(lambda event, name=name: bool(event.get(name))) for name in present]  # type: ignore[misc]
    return _all([*parts, _exact(wanted)] if wanted else parts)


def _dialect(found: Mapping[str, Any]) -> Filter:
    for name, make in _MAKERS.items():
        if found.get(name):
            return make(found[name])
    raise ValueError(f"a filter without a known dialect: {sorted(found)}")


def _exact(wanted: Mapping[str, str]) -> Filter:
    pairs = tuple(wanted.items())
    if len(pairs) == 1:
        ((name, value),) = pairs
        return Filter(lambda event: event.get(name) == value, (frozenset(pairs),))
    return _all([Filter(lambda event, n=n, v=v: event.get(n) == v, (frozenset(((n, v),)),)) for n, v in pairs])  # type: ignore[misc]


def _prefix(wanted: Mapping[str, str]) -> Filter:
    pairs = tuple(wanted.items())
    return Filter(lambda event: all(event.get(name, "").startswith(value) for name, value in pairs))


def _suffix(wanted: Mapping[str, str]) -> Filter:
    pairs = tuple(wanted.items())
    return Filter(lambda event: all(event.get(name, "").endswith(value) for name, value in pairs))


def _not(found: Mapping[str, Any]) -> Filter:
    inner = _dialect(found).matches
    return Filter(lambda event: not inner(event))


def _all(parts: Sequence[Filter]) -> Filter:
    if len(parts) == 1:
        return parts[0]
    predicates = tuple(part.matches for part in parts)
    anchors = tuple(anchor for part in parts for anchor in part.anchors)
    return Filter(lambda event: all(matches(event) for matches in predicates), anchors)


def _any(parts: Sequence[Filter]) -> Filter:
    predicates = tuple(part.matches for part in parts)
    if not all(part.anchors for part in parts):
        return Filter(lambda event: any(matches(event) for matches in predicates))
    union = frozenset[Anchor]().union(*(min(part.anchors, key=len) for part in parts))
    return Filter(lambda event: any(matches(event) for matches in predicates), (union,))


_MAKERS: Mapping[str, Callable[[Any], Filter]] = {
    "exact": _exact,
    "prefix": _prefix,
    "suffix": _suffix,
    "not": _not,
    "all": lambda found: _all([_dialect(nested) for nested in found]),
    "any": lambda found: _any([_dialect(nested) for nested in found]),
}


class Index(Generic[K]):
    """Many filters asked at once: by hash where a filter is anchored, one by one where it is not."""

    def __init__(self, filters: Iterable[tuple[K, Filter]]) -> None:
        self._anchored: dict[str, dict[str, list[tuple[K, Predicate]]]] = {}
        self._rest: list[tuple[K, Predicate]] = []
        filters = list(filters)
        shared = Counter(anchor for _, found in filters for anchors in found.anchors for anchor in anchors)
        for key, found in filters:
            self._add(key, found, shared)

    def _add(self, key: K, found: Filter, shared: Counter[Anchor]) -> None:
        """Under the anchors that the fewest others share."""
        if not found.anchors:
            self._rest.append((key, found.matches))
            return
        for name, value in min(found.anchors, key=lambda anchors: sum(shared[anchor] for anchor in anchors)):
            self._anchored.setdefault(name, {}).setdefault(value, []).append((key, found.matches))

    def match(self, event: Attributes) -> list[K]:
        """The keys of every filter that matches, each once."""
        found = [key for key, matches in self._rest if matches(event)]
        for name, by_value in self._anchored.items():
            for key, matches in by_value.get(event.get(name, ""), ()):
                if matches(event):
                    found.append(key)
        return found if len(found) < 2 else list(dict.fromkeys(found))
