"""`func.yaml`: read with every mistake named, written without losing what people put there.

Law: a field that looks like a misspelling of a known one is an error, another unknown one a warning, and both stay in
the file; a write changes only the paths it is told, keeps comments and order, and replaces the file atomically.
IO: the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from funcs.api.function import Function, validate
from funcs.errors import Conflict, FieldError, Invalid, NotFound

from . import yamlfile

NAME = "func.yaml"
_PLACE = re.compile(r" - at `\$(.*)`$")


@dataclass(frozen=True, slots=True)
class FuncFile:
    """A func.yaml as read: the typed view, and what its author should hear."""

    path: Path
    function: Function
    warnings: list[str] = field(default_factory=list)


def read(directory: Path) -> FuncFile:
    """Raises NotFound if there is none, Invalid with every mistake and its line."""
    path = directory / NAME
    try:
        with path.open("rb") as file:
            data = file.read(yamlfile.LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"no {NAME} in {directory}", hint="Make a function with `funcs create NAME`, or name its directory."
        ) from None
    function, warnings = parse(data, str(path))
    return FuncFile(path, function, warnings)


def parse(data: bytes, what: str = NAME) -> tuple[Function, list[str]]:
    """The function and the warnings. Raises Invalid."""
    value, lines = yamlfile.load(data, what)
    if not isinstance(value, dict):
        raise Invalid(f"{what} must be a mapping with at least `name` and `runtime`")
    unknown = list(_unknown(value, Function, ""))
    errors = [FieldError(f"unknown field, did you mean {near!r}?", path) for path, near in unknown if near]
    function = _converted(value, errors)
    if function is not None:
        errors += validate(function)
    if errors:
        errors.sort(key=lambda error: lines.get(error.path, 0))
        shown = [f"  {_where(error.path, lines)}{error.message}" for error in errors]
        raise Invalid(f"{what} is not valid:\n" + "\n".join(shown), causes=errors, hint=f"Correct {what}.")
    return function, [f"{_where(path, lines)}unknown field, kept but not used" for path, near in unknown if not near]


def update(directory: Path, changes: Mapping[str, Any]) -> None:
    """Set fields by dotted path (`deploy.image`); None removes one. Everything else in the file stays as it is."""
    path = directory / NAME
    before = path.read_bytes()
    parse(before, str(path))
    after = _changed(before, changes)
    if after != before:
        parse(after, str(path))
        _replace(path, before, after)


def _converted(value: dict[str, Any], errors: list[FieldError]) -> Any:
    try:
        return msgspec.convert(_without_nulls(value), Function, strict=True)
    except msgspec.ValidationError as error:
        found = _PLACE.search(str(error))
        missing = re.match(r"Object missing required field `(\w+)`", str(error))
        path = found[1].lstrip(".") if found else ""
        if missing:
            errors.append(FieldError("is required", f"{path}.{missing[1]}" if path else missing[1]))
        else:
            errors.append(FieldError(_PLACE.sub("", str(error)), path))
        return None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(found) for key, found in value.items() if found is not None}
    if isinstance(value, list):
        return [_without_nulls(found) for found in value]
    return value


def _unknown(value: dict[str, Any], view: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    """Paths of unknown fields, each with the known one it resembles or ""."""
    hints = typing.get_type_hints(view)
    known = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(view)}
    for key, found in value.items():
        place = f"{path}.{key}" if path else key
        if key not in known:
            yield place, next(iter(difflib.get_close_matches(key, set(known) - set(value), 1, 0.75)), "")
        elif (below := _struct_in(known[key])) is not None:
            several = list(enumerate(found)) if isinstance(found, list) else []
            for item_place, item in [(f"{place}[{index}]", item) for index, item in several] or [(place, found)]:
                if isinstance(item, dict):
                    yield from _unknown(item, below, item_place)


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    if typing.get_origin(hint) in (types.UnionType, typing.Union, list):
        return next((found for found in map(_struct_in, typing.get_args(hint)) if found is not None), None)
    return None


def _where(path: str, lines: yamlfile.Lines) -> str:
    line = lines.get(path)
    return f"{path} (line {line}): " if line else f"{path}: " if path else ""


def _changed(data: bytes, changes: Mapping[str, Any]) -> bytes:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    codec = YAML(typ="rt")
    codec.preserve_quotes = True
    codec.width = 4096
    if re.search(rb"^(\s*)\S.*:\s*\n\1- ", data, re.MULTILINE) is None:
        codec.indent(mapping=2, sequence=4, offset=2)
    root = codec.load(data.decode())
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = root
        for name in parents:
            if value is None and place.get(name) is None:
                break
            if place.get(name) is None:
                place[name] = CommentedMap()
            place = place[name]
        else:
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
    text = StringIO()
    codec.dump(root, text)
    return text.getvalue().encode()


def _replace(path: Path, before: bytes, after: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o777)
        if path.read_bytes() != before:
            raise Conflict(f"{path} was changed by somebody else meanwhile", hint="Try again.")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
