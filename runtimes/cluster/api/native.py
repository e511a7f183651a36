"""Structural schemas of Kubernetes' own kinds, from a table of their shapes.

Law: the table (native.json) holds names and types only and is read on first use; a shape that holds itself is left open
where it recurs. IO: reads that one file of the package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from funcs.api import core
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.api.schema import INT_OR_STRING, PRESERVE

FILE = "native.json"
ROOTS: Mapping[Kind, str] = {
    kind: {core.EVENT: "CoreV1Event"}.get(kind, f"V1{kind.kind}")
    for kind in core.KINDS
    if kind != core.CUSTOM_RESOURCE_DEFINITION
}

_SCALARS: Mapping[str, Object] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "datetime": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {PRESERVE: True},
}
# Fields whose JSON may be a number or a text although the models say text: quantities and ports by name or number.
_QUANTITIES = ("limits", "requests", "capacity", "allocatable", "hard", "used", "overhead", "allocatedResources")
_EITHER = frozenset((*_QUANTITIES, "sizeLimit", "divisor", "port", "targetPort", "maxSurge", "maxUnavailable"))


@cache
def schema(kind: Kind) -> Object | None:
    """The schema of a kind of Kubernetes' own; None for any other."""
    root = ROOTS.get(kind)
    return _object(root, ()) if root is not None else None


@cache
def _shapes() -> dict[str, dict[str, str]]:
    return msgspec.json.decode(Path(__file__).with_name(FILE).read_bytes(), type=dict[str, dict[str, str]])


def _object(shape: str, above: tuple[str, ...]) -> Object:
    if shape in above:
        return {"type": "object", PRESERVE: True}
    fields = _shapes()[shape]
    made: Object = {
        "type": "object",
        "properties": {
            name.rstrip("!"): _field(name.rstrip("!"), text, (*above, shape)) for name, text in fields.items()
        },
    }
    required = [name.rstrip("!") for name in fields if name.endswith("!")]
    if required:
        made["required"] = required
    return made


def _field(name: str, text: str, above: tuple[str, ...]) -> Object:
    container = re.fullmatch(r"(List|Dict)\[(?:str, )?(.*)\]", text)
    if container is None:
        if name in _EITHER and text in ("str", "object"):
            return {INT_OR_STRING: True}
        return dict(_SCALARS[text]) if text in _SCALARS else _object(text, above)
    inner = _field(name, container.group(2), above)
    if container.group(1) == "List":
        return {"type": "array", "items": inner}
    return {"type": "object", "additionalProperties": inner}
