"""Structural schemas: lowered from typed views, used to check, to prune and to publish.

Law: pure; one subset of OpenAPI v3 (what apiextensions calls structural) is written and read here, and nothing else
is. An untyped place (`Object`, `Any`) keeps whatever it is given. Source: CustomResourceDefinition structural
schemas. No IO.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from funcs.errors import FieldError

from .kinds import Kind
from .meta import Object

PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
_MANY = 100  # problems reported of one object


def structural(type: Any) -> Object:
    """The structural schema of a type as msgspec reads it. A type that holds itself is left open where it recurs."""
    return _lower(inspect.type_info(type), ())


def of_kind(kind: Kind, view: type[msgspec.Struct] | None) -> Object:
    """The schema of a whole resource; without a view everything but the envelope is left open."""
    schema = structural(view) if view is not None else _open()
    properties: Object = schema.setdefault("properties", {})
    properties |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    if view is not None:
        properties.setdefault("spec", _open())
        if kind.status:
            properties.setdefault("status", _open())
    schema["required"] = [name for name in schema.get("required", []) if name not in ("apiVersion", "kind", "metadata")]
    if not schema["required"]:
        del schema["required"]
    return schema


def unknown_fields(schema: Object, value: Any) -> list[str]:
    """Paths of fields that the schema does not name, in order of appearance."""
    return list(itertools.islice(_unknown(schema, value, ""), _MANY))


def pruned(schema: Object, value: Any) -> Any:
    """A copy of the value without the fields that the schema does not name."""
    if isinstance(value, list):
        items = schema.get("items")
        return [pruned(items, item) for item in value] if items else value
    if not isinstance(value, dict) or schema.get("type") != "object":
        return value
    properties: Object = schema.get("properties") or {}
    rest = _rest(schema)
    return {
        name: pruned(properties[name], item) if name in properties else pruned(rest or {}, item)
        for name, item in value.items()
        if name in properties or rest is not None
    }


def problems(schema: Object, value: Any) -> list[FieldError]:
    """Type errors, missing and out-of-bounds fields, each with its path. Unknown fields are no problem here."""
    return list(itertools.islice(_problems(schema, value, ""), _MANY))


def crd(kind: Kind, view: type[msgspec.Struct] | None) -> Object:
    """The CustomResourceDefinition of one of our kinds, as a real cluster installs it."""
    version: Object = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": of_kind(kind, view)},
    }
    parts: Object = {}
    if kind.status:
        parts["status"] = {}
    if kind.scale is not None:
        parts["scale"] = {
            "specReplicasPath": kind.scale.spec,
            "statusReplicasPath": kind.scale.status,
            "labelSelectorPath": kind.scale.selector,
        }
    if parts:
        version["subresources"] = parts
    if kind.columns:
        version["additionalPrinterColumns"] = [_column(column) for column in kind.columns]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.resource},
        "spec": {
            "group": kind.group,
            "names": _names(kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _names(kind: Kind) -> Object:
    names: Object = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return names


def _column(column: Any) -> Object:
    made: Object = {"name": column.name, "type": column.type, "jsonPath": column.path}
    for name in ("priority", "description", "format"):
        if getattr(column, name):
            made[name] = getattr(column, name)
    return made


# --- lowering ---------------------------------------------------------------------------------------------------------


def _open() -> Object:
    return {"type": "object", PRESERVE: True}


def _lower(type: inspect.Type, above: tuple[Any, ...]) -> Object:
    match type:
        case inspect.Metadata():
            extra = type.extra_json_schema or {}
            return {**_lower(type.type, above), **{key: extra[key] for key in ("description",) if key in extra}}
        case inspect.StructType():
            return _struct(type, above)
        case inspect.DictType():
            values = _lower(type.value_type, above)
            return _open() if values == {PRESERVE: True} else {"type": "object", "additionalProperties": values}
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            return {"type": "array", "items": _lower(type.item_type, above)}
        case inspect.UnionType():
            return _union(type, above)
        case inspect.LiteralType() | inspect.EnumType():
            return _enumeration(type)
        case _:
            return _scalar(type)


def _struct(type: inspect.StructType, above: tuple[Any, ...]) -> Object:
    if type.cls in above:
        return _open()
    schema: Object = {
        "type": "object",
        "properties": {field.encode_name: _lower(field.type, (*above, type.cls)) for field in type.fields},
    }
    required = [field.encode_name for field in type.fields if field.required]
    if required:
        schema["required"] = required
    return schema


def _union(type: inspect.UnionType, above: tuple[Any, ...]) -> Object:
    parts = [part for part in type.types if not isinstance(part, inspect.NoneType)]
    if len(parts) == 1:
        schema = _lower(parts[0], above)
        return schema | {"nullable": True} if len(parts) < len(type.types) else schema
    kinds = {part.__class__ for part in parts}
    if kinds == {inspect.IntType, inspect.StrType}:
        return {INT_OR_STRING: True}
    return {PRESERVE: True}


def _enumeration(type: inspect.LiteralType | inspect.EnumType) -> Object:
    values = list(type.values) if isinstance(type, inspect.LiteralType) else [member.value for member in type.cls]
    if all(isinstance(value, str) for value in values):
        return {"type": "string", "enum": values}
    if all(isinstance(value, int) for value in values):
        return {"type": "integer", "enum": values}
    return {PRESERVE: True}


_BOUNDS = (
    ("ge", "minimum"), ("le", "maximum"), ("pattern", "pattern"), ("min_length", "minLength"),
    ("max_length", "maxLength"),
)  # fmt: skip
_SCALARS: Mapping[type[inspect.Type], Object] = {
    inspect.BoolType: {"type": "boolean"},
    inspect.IntType: {"type": "integer", "format": "int64"},
    inspect.FloatType: {"type": "number"},
    inspect.StrType: {"type": "string"},
    inspect.BytesType: {"type": "string", "format": "byte"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
}


def _scalar(type: inspect.Type) -> Object:
    lowered = _SCALARS.get(type.__class__)
    if lowered is None:
        return {PRESERVE: True}
    schema = dict(lowered)
    for attribute, keyword in _BOUNDS:
        bound = getattr(type, attribute, None)
        if bound is not None:
            schema[keyword] = bound
    return schema


# --- reading ----------------------------------------------------------------------------------------------------------


def _rest(schema: Object) -> Object | None:
    """The schema of fields that have no name of their own: None where there may be none."""
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return additional
    if schema.get(PRESERVE) or additional is True or not schema.get("properties"):
        return {}
    return None


def _unknown(schema: Object, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(schema.get("items") or {}, item, f"{path}[{index}]")
    elif isinstance(value, dict):
        properties: Object = schema.get("properties") or {}
        rest = _rest(schema)
        for name, item in value.items():
            here = f"{path}.{name}" if path else name
            if name in properties:
                yield from _unknown(properties[name], item, here)
            elif rest is None:
                yield here
            else:
                yield from _unknown(rest, item, here)


def _problems(schema: Object, value: Any, path: str) -> Iterator[FieldError]:
    if value is None:
        return
    wanted = schema.get("type")
    if schema.get(INT_OR_STRING):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            yield _mistyped(path, value, "integer or string")
        return
    if wanted and not _TYPES[wanted](value):
        yield _mistyped(path, value, wanted)
        return
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{item}"' for item in schema["enum"])
        yield FieldError("Unsupported value", path, f'"{value}": supported values: {supported}')
    yield from _out_of_bounds(schema, value, path)
    if isinstance(value, dict):
        yield from _object_problems(schema, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems(schema.get("items") or {}, item, f"{path}[{index}]")


def _object_problems(schema: Object, value: Object, path: str) -> Iterator[FieldError]:
    for name in schema.get("required") or []:
        if value.get(name) is None:
            yield FieldError("Required value", f"{path}.{name}" if path else name)
    properties: Object = schema.get("properties") or {}
    rest = _rest(schema) or {}
    for name, item in value.items():
        yield from _problems(properties.get(name, rest), item, f"{path}.{name}" if path else name)


def _out_of_bounds(schema: Object, value: Any, path: str) -> Iterator[FieldError]:
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield FieldError("Invalid value", path, f"should be at least {schema['minLength']} chars long")
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            yield FieldError("Too long", path, f"may not be more than {schema['maxLength']} chars long")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield FieldError("Invalid value", path, f'"{value[:64]}" should match "{schema["pattern"]}"')
    elif isinstance(value, int | float):
        if "minimum" in schema and value < schema["minimum"]:
            yield FieldError("Invalid value", path, f"{value} should be greater than or equal to {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            yield FieldError("Invalid value", path, f"{value} should be less than or equal to {schema['maximum']}")


def _mistyped(path: str, value: Any, wanted: str) -> FieldError:
    found = next((name for name, check in _TYPES.items() if check(value)), type(value).__name__)
    return FieldError("Invalid value", path, f'"{found}": must be of type {wanted}')


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
