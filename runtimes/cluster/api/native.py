"""The shapes of Kubernetes' own kinds: structural schemas, and field numbers for protobuf.

Law: one table (native.json) holds names, numbers and types only and is read on first use; a shape that holds itself is
left open where it recurs. IO: reads that one file of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from funcs.api import core
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.api.schema import INT_OR_STRING, PRESERVE

FILE = "native.json"
_PACKAGES = {"rbac.authorization.k8s.io": "rbac"}


def _root(kind: Kind) -> str:
    package = _PACKAGES.get(kind.group) or kind.group.partition(".")[0] or "core"
    return f"{package}.{kind.version}.{kind.kind}"


KINDS = frozenset(kind for kind in core.KINDS if kind != core.CUSTOM_RESOURCE_DEFINITION)
# What else clients send in protobuf: reviews, requests for tokens, scales, evictions, options of a delete.
_OTHERS: Mapping[tuple[str, str], str] = {
    ("v1", "DeleteOptions"): "meta.v1.DeleteOptions",
    ("v1", "Binding"): "core.v1.Binding",
    ("autoscaling/v1", "Scale"): "autoscaling.v1.Scale",
    ("policy/v1", "Eviction"): "policy.v1.Eviction",
    **{
        (f"{group}.k8s.io/v1", kind): f"{group}.v1.{kind}"
        for group, kinds in {
            "authentication": ("TokenRequest", "TokenReview", "SelfSubjectReview"),
            "authorization": (
                "SubjectAccessReview", "LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview",
            ),
        }.items()
        for kind in kinds
    },
}  # fmt: skip
ROOTS: Mapping[tuple[str, str], str] = {
    **{(kind.api_version, kind.kind): _root(kind) for kind in KINDS},
    **_OTHERS,
}
# Fields that are embedded: their own fields stand beside them in JSON.
INLINE = frozenset(
    ("volumeSource", "handler", "localObjectReference", "persistentVolumeSource", "ephemeralContainerCommon")
)


class Field(NamedTuple):
    """`type` is a scalar, a message's name, or either after `map:`."""

    number: int
    type: str
    many: int = 0


def message_of(api_version: str, kind: str) -> str | None:
    """The protobuf message of a kind; options of every group are one message."""
    if kind == "DeleteOptions":
        return ROOTS["v1", kind]
    return ROOTS.get((api_version, kind))


@cache
def by_number(message: str) -> Mapping[int, tuple[str, Field]]:
    return {field.number: (name, field) for name, field in _shapes()[message].items()}


@cache
def schema(kind: Kind) -> Object | None:
    """The schema of a kind of Kubernetes' own; None for any other."""
    return _object(_root(kind), ()) if kind in KINDS else None


@cache
def _shapes() -> dict[str, dict[str, Field]]:
    return msgspec.json.decode(Path(__file__).with_name(FILE).read_bytes(), type=dict[str, dict[str, Field]])


_SCALARS: Mapping[str, Object] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number"},
    "bytes": {"type": "string", "format": "byte"},
    "meta.v1.Time": {"type": "string", "format": "date-time"},
    "meta.v1.MicroTime": {"type": "string", "format": "date-time"},
    "meta.v1.FieldsV1": {"type": "object", PRESERVE: True},
    "runtime.RawExtension": {"type": "object", PRESERVE: True},
    "resource.Quantity": {INT_OR_STRING: True},
    "intstr.IntOrString": {INT_OR_STRING: True},
}


def _object(shape: str, above: tuple[str, ...]) -> Object:
    if shape in above:
        return {"type": "object", PRESERVE: True}
    properties: Object = {}
    if not above:
        properties |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    for name, field in _shapes()[shape].items():
        lowered = _field(field, (*above, shape))
        if name in INLINE and "properties" in lowered:
            properties |= lowered["properties"]
        else:
            properties[name] = lowered
    return {"type": "object", "properties": properties}


def _field(field: Field, above: tuple[str, ...]) -> Object:
    if field.many:
        return {"type": "array", "items": _type(field.type, above)}
    if field.type.startswith("map:"):
        return {"type": "object", "additionalProperties": _type(field.type.removeprefix("map:"), above)}
    return _type(field.type, above)


def _type(name: str, above: tuple[str, ...]) -> Object:
    return dict(_SCALARS[name]) if name in _SCALARS else _object(name, above)
