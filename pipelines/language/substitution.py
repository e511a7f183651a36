"""`$(name)` replaced by what it stands for: one simultaneous pass, no rescanning, unknown names left as they are.

Law: a replaced value is never looked at again in the same pass (scopes run as passes, one after another); an array
replaces only an element that is nothing but its name. Source: Tekton's pkg/substitution. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = str | list[str] | dict[str, str]
"""A param's or result's value, normalised."""

_TOKEN = re.compile(r"\$\(([^()$]*)\)")
_STAR = "[*]"


@dataclass(frozen=True, slots=True)
class Replacements:
    """What each `name` in `$(name)` stands for."""

    strings: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, Sequence[str]] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __or__(self, other: Replacements) -> Replacements:
        """Both; `other` wins."""
        return Replacements(
            {**self.strings, **other.strings}, {**self.arrays, **other.arrays}, {**self.objects, **other.objects}
        )

    def without(self, prefix: str, names: Sequence[str]) -> Replacements:
        """All but those that speak of `names` under `prefix`, in any spelling."""
        heads = {spelling for name in names for spelling in spellings(prefix, name)}

        def kept(key: str) -> bool:
            return not any(key == head or key.startswith((f"{head}.", f"{head}[")) for head in heads)

        return Replacements(
            {key: value for key, value in self.strings.items() if kept(key)},
            {key: array for key, array in self.arrays.items() if kept(key)},
            {key: mapping for key, mapping in self.objects.items() if kept(key)},
        )


def spellings(prefix: str, name: str) -> tuple[str, str, str]:
    """The three ways to write one variable: `params.x`, `params["x"]`, `params['x']`."""
    return (f"{prefix}.{name}", f'{prefix}["{name}"]', f"{prefix}['{name}']")


def replacements(prefix: str, values: Mapping[str, Value]) -> Replacements:
    """For named values: the whole, an array's `[i]`, an object's `.key`, in every spelling."""
    strings: dict[str, str] = {}
    arrays: dict[str, Sequence[str]] = {}
    objects: dict[str, Mapping[str, str]] = {}
    for name, value in values.items():
        for key in spellings(prefix, name):
            if isinstance(value, str):
                strings[key] = value
            elif isinstance(value, dict):
                objects[key] = value
                strings.update({f"{key}.{part}": found for part, found in value.items()})
            else:
                arrays[key] = value
                strings.update({f"{key}[{index}]": found for index, found in enumerate(value)})
    return Replacements(strings, arrays, objects)


def text(template: str, known: Replacements) -> str:
    """One string."""
    return _TOKEN.sub(lambda found: known.strings.get(found[1], found[0]), template)


def elements(template: str, known: Replacements) -> list[str]:
    """One element of a list: an isolated array becomes its elements, anything else one string."""
    array = known.arrays.get(_isolated(template))
    return [text(template, known)] if array is None else list(array)


def value(template: Value, known: Replacements) -> Value:
    """A param's value. An isolated `$(x)` or `$(x[*])` of an array or object takes its type."""
    if isinstance(template, list):
        return [part for element in template for part in elements(element, known)]
    if isinstance(template, dict):
        return {key: text(found, known) for key, found in template.items()}
    name = _isolated(template)
    if name in known.arrays:
        return list(known.arrays[name])
    if name in known.objects:
        return dict(known.objects[name])
    return text(template, known)


def names_in(template: str) -> list[str]:
    """Every `name` of a `$(name)`, in order, known or not."""
    return _TOKEN.findall(template)


def _isolated(template: str) -> str:
    """The variable that is all of `template`, without `[*]`; "" if there is more or less."""
    found = _TOKEN.fullmatch(template)
    return found[1].removesuffix(_STAR) if found else ""
