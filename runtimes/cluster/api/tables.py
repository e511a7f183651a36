"""Resources as meta.k8s.io/v1 Tables, which is how kubectl's columns come to be, and as metadata alone.

Law: pure; a kind's columns are Kubernetes' own where Kubernetes has a printer, its printer columns otherwise, and Name
and Age when it has none. `now` is an argument. No IO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from funcs.api import meta
from funcs.api.kinds import Column, Kind
from funcs.api.meta import Object
from funcs.errors import BadRequest

from . import ages, jsonpath

Include = Literal["None", "Metadata", "Object"]
Row = Callable[[Object, float], Sequence[Any]]
API_VERSION = "meta.k8s.io/v1"
_NAME = Column("Name", ".metadata.name", format="name")
_AGE = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class Printer:
    """Columns and how to fill them. The first column is always the name."""

    columns: tuple[Column, ...]
    row: Row


def table(printer: Printer, objects: Sequence[Object], now: float, include: Include = "Metadata") -> Object:
    """A Table without list metadata; see `with_metadata`."""
    return {
        "kind": "Table",
        "apiVersion": API_VERSION,
        "metadata": {},
        "columnDefinitions": [_definition(column) for column in printer.columns],
        "rows": [_row(printer, obj, now, include) for obj in objects],
    }


def read_include(value: str) -> Include:
    """Raises BadRequest."""
    if value in ("None", "Metadata", "Object"):
        return value  # type: ignore[return-value]
    if value == "":
        return "Metadata"
    raise BadRequest(f'unrecognized includeObject value: "{value[:64]}"')


def printer_of(kind: Kind) -> Printer:
    """The printer that a kind's own columns make, as for a CustomResourceDefinition."""
    columns = kind.columns or (_AGE,)

    def row(obj: Object, now: float) -> Sequence[Any]:
        return [meta.name(obj), *(cell(column, obj, now) for column in columns)]

    return Printer((_NAME, *columns), row)


def cell(column: Column, obj: Object, now: float) -> Any:
    found = jsonpath.find(column.path, obj)
    if not found:
        return None
    match column.type:
        case "date":
            return ages.since(found[0], now)
        case "integer":
            return _integer(found[0])
        case "number":
            return found[0] if isinstance(found[0], int | float) else None
        case "boolean":
            return found[0] if isinstance(found[0], bool) else None
        case _:
            return " ".join(_text(value) for value in found)


def metadata_only(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": meta.metadata(obj)}


def metadata_list(objects: Sequence[Object], metadata: Object) -> Object:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "items": [metadata_only(obj) for obj in objects],
    }


def _row(printer: Printer, obj: Object, now: float, include: Include) -> Object:
    row: Object = {"cells": list(printer.row(obj, now))}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = metadata_only(obj)
    return row


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type if column.type != "date" else "string",
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value)
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return str(value)
