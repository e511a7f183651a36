"""Params: what was declared, what was given, what they come to.

Law: a value given wins over a default, key by key for objects; unknown params are allowed and ignored.
Source: Tekton's pkg/reconciler/taskrun/validate_taskrun.go, pipelinerun/resources/validate_params.go. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from funcs.api.pipeline_defaults import normal_value, type_of
from funcs.api.pipeline_views import Param, ParamSpec
from funcs.errors import Terminal

from . import substitution
from .substitution import Replacements, Value

DEEPEST = 10
_INDEXED = re.compile(r"""params(?:\.([^.\[\]]+)|\[["']([^"'\]]+)["']\])\[([0-9]+)\]""")


def given(params: Iterable[Param]) -> dict[str, Value]:
    return {param.name: normal_value(param.value) for param in params}


def bind(declared: Sequence[ParamSpec], values: Mapping[str, Value]) -> dict[str, Value]:
    """Every declared param that has a value or a default, and every other that was given.

    A default may refer to other params. Raises Terminal (ParameterMissing) for a circle or an undefined one.
    """
    bound: dict[str, Value] = dict(values)
    defaults = {spec.name: normal_value(spec.default) for spec in declared if spec.default is not None}
    for name, default in defaults.items():
        if name not in bound:
            bound[name] = _resolved(name, defaults, values, ())
        elif isinstance(default, dict) and isinstance(bound[name], dict):
            bound[name] = {**default, **_object(bound[name])}
    return bound


def _object(value: Value) -> dict[str, str]:
    return value if isinstance(value, dict) else {}


def _resolved(name: str, defaults: Mapping[str, Value], values: Mapping[str, Value], path: tuple[str, ...]) -> Value:
    if name in values:
        return values[name]
    if name in path:
        raise _broken(f'circular dependency detected in param "{name}"')
    if len(path) > DEEPEST:
        raise _broken(f"maximum recursion depth ({DEEPEST}) exceeded")
    default = defaults[name]
    wanted = {found for template in _templates(default) for found in referenced(template)}
    found = {
        other: _resolved(other, defaults, values, (*path, name)) for other in wanted if _has(other, defaults, values)
    }
    return substitution.value(default, substitution.replacements("params", found))


def _has(name: str, defaults: Mapping[str, Value], values: Mapping[str, Value]) -> bool:
    return name in defaults or name in values


def _broken(message: str) -> Terminal:
    return Terminal(f"parameter resolution failed: {message}", reason="ParameterMissing")


def _templates(value: Value) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(value.values()) if isinstance(value, dict) else value


def referenced(template: str) -> list[str]:
    """The names of params that a string refers to."""
    return [name for variable in substitution.names_in(template) if (name := param_of(variable))]


def param_of(variable: str) -> str:
    """The param's name in `params.x`, `params.x[0]`, `params.x.key`, `params["x.y"]`; "" if it speaks of none."""
    if variable.startswith("params."):
        return re.split(r"[.\[]", variable.removeprefix("params."), maxsplit=1)[0]
    bracketed = re.match(r"""params\[(?:"([^"]+)"|'([^']+)')\]""", variable)
    return (bracketed[1] or bracketed[2]) if bracketed else ""


def missing(declared: Iterable[ParamSpec], values: Mapping[str, Value]) -> list[str]:
    return [spec.name for spec in declared if spec.default is None and spec.name not in values]


def mismatched(declared: Iterable[ParamSpec], values: Mapping[str, Value]) -> list[str]:
    """Names of params given with another type than declared."""
    return [
        spec.name for spec in declared if spec.name in values and type_of(values[spec.name]) != (spec.type or "string")
    ]


def missing_keys(declared: Iterable[ParamSpec], values: Mapping[str, Value]) -> dict[str, list[str]]:
    """By object param, the keys of its properties that neither its default nor its value gives."""
    lacking: dict[str, list[str]] = {}
    for spec in declared:
        if spec.type != "object" or (spec.name not in values and spec.default is None):
            continue
        present = {**_object(normal_value(spec.default or {})), **_object(values.get(spec.name, {}))}
        absent = sorted(key for key in spec.properties or {} if key not in present)
        if absent:
            lacking[spec.name] = absent
    return lacking


def out_of_bounds(templates: Iterable[str], values: Mapping[str, Value]) -> list[str]:
    """`$(params.a[7])` where `a` is an array that has no such element."""
    wrong = set()
    for template in templates:
        for variable in substitution.names_in(template):
            found = _INDEXED.fullmatch(variable)
            value = values.get(found[1] or found[2]) if found else None
            if found and isinstance(value, list) and int(found[3]) >= len(value):
                wrong.add(f"$({variable})")
    return sorted(wrong)


def replacements(values: Mapping[str, Value]) -> Replacements:
    return substitution.replacements("params", values)
