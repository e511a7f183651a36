"""What a trigger makes: a template's resources with `$(tt.params.x)` and `$(uid)` replaced in every string of them.

Law: pure; a value lands inside the string it is written in and can never change the shape of the object, whatever an
event holds. (Tekton replaces in the JSON text; for strings the outcome is the same, and where text would break the JSON
or add to it, here it stays text.) Source: Tekton Triggers, TriggerTemplates. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from funcs.api.meta import Object
from funcs.api.triggers import TriggerTemplateSpec
from funcs.errors import Invalid

_VARIABLE = re.compile(r"\$\((?:tt\.params\.([A-Za-z_][A-Za-z0-9_.-]*)|(uid))\)")

LABELS = "triggers.tekton.dev/"


def defaults(spec: TriggerTemplateSpec) -> dict[str, str]:
    return {param.name: param.default for param in spec.params if param.default is not None}


def render(spec: TriggerTemplateSpec, values: Mapping[str, str], uid: str) -> list[Object]:
    """The resources. Raises Invalid when a param that is used has neither a value nor a default."""
    known = {**defaults(spec), **values}
    return [_replaced(resource, known, uid) for resource in spec.resourcetemplates]


def labelled(resource: Object, namespace: str, labels: Mapping[str, str]) -> Object:
    """With a namespace, if it has none, and with `triggers.tekton.dev/<name>` labels."""
    metadata = dict(resource.get("metadata") or {})
    metadata.setdefault("namespace", namespace)
    ours = {f"{LABELS}{name}": value for name, value in labels.items() if value}
    metadata["labels"] = {**(metadata.get("labels") or {}), **ours}
    return {**resource, "metadata": metadata}


def _replaced(value: Any, values: Mapping[str, str], uid: str) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(lambda found: uid if found[2] else _value(found[1], values), value)
        case dict():
            return {_replaced(name, values, uid): _replaced(held, values, uid) for name, held in value.items()}
        case list():
            return [_replaced(held, values, uid) for held in value]
        case _:
            return value


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise Invalid(f"the template's param {name} has no value and no default", reason="MissingValue")
    return values[name]
