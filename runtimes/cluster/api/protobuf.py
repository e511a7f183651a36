"""Kubernetes' protobuf bodies, read as the JSON objects that they stand for.

Law: pure; kubectl's typed commands (`create`, `auth`, `create token`) send nothing else. Answers are JSON, which the
same commands accept. Bytes are hostile: every length is checked against what is there, and depth is bounded. Sources:
the protobuf wire format; `k8s.io/apimachinery/pkg/runtime` (magic number and Unknown envelope). No IO.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from funcs.api import meta
from funcs.api.meta import Object
from funcs.errors import BadRequest

from . import native
from .native import Field

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEEPEST = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Value = int | bytes


def decode(body: bytes) -> Object:
    """Raises BadRequest for what is no such body or no kind that is known here."""
    if not body.startswith(_MAGIC):
        raise BadRequest("the body of the request is not protobuf as Kubernetes sends it")
    try:
        envelope = dict(fields(body[len(_MAGIC) :]))
        identity = dict(fields(_raw(envelope.get(1, b""))))
        api_version, kind = _raw(identity.get(1, b"")).decode(), _raw(identity.get(2, b"")).decode()
        message = native.message_of(api_version, kind)
        if message is None:
            raise BadRequest(f'no kind "{kind[:64]}" of "{api_version[:64]}" is known in protobuf', hint="Send JSON.")
        found = _message(message, _raw(envelope.get(2, b"")), 0)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"the body of the request is broken protobuf: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **found}


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of every field, in order; raises ValueError for bytes that end too early."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case wire:
                raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field is longer than the message")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number is too long")


def _message(message: str, data: bytes, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    special = _SPECIAL.get(message)
    if special is not None:
        return special(data)
    known = native.by_number(message)
    made: Object = {}
    for number, value in fields(data):
        if number in known:
            name, field = known[number]
            _put(made, name, field, value, depth)
    return made


def _put(made: Object, name: str, field: Field, value: Value, depth: int) -> None:
    if field.type.startswith("map:"):
        entry = dict(fields(_raw(value)))
        read = _value(field.type.removeprefix("map:"), entry.get(2, b""), depth)
        made.setdefault(name, {})[_raw(entry.get(1, b"")).decode()] = read
        return
    read = _value(field.type, value, depth)
    if field.many:
        made.setdefault(name, []).append(read)
    elif name in native.INLINE:
        made.update(read)
    elif read is not None and not (field.type in ("string", "bool") and not read and name not in _KEPT):
        made[name] = read


_KEPT = frozenset(("allowed", "automountServiceAccountToken", "optional", "controller", "blockOwnerDeletion", "ready"))


def _value(type: str, value: Value, depth: int) -> Any:
    match type:
        case "string":
            return _raw(value).decode()
        case "bytes":
            return base64.b64encode(_raw(value)).decode()
        case "bool":
            return bool(value)
        case "int32" | "int64":
            number = value if isinstance(value, int) else int.from_bytes(value, "little")
            return number - (1 << 64) if number >= 1 << 63 else number
        case _:
            return _message(type, _raw(value), depth + 1)


def _raw(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes must")
    return value


def _time(data: bytes) -> str | None:
    found = dict(fields(data))
    seconds = found.get(1)
    if not isinstance(seconds, int) or seconds >= 1 << 40:  # absent, or Go's zero time before 1970
        return None
    return meta.timestamp(seconds)


def _micro_time(data: bytes) -> str | None:
    found = dict(fields(data))
    seconds, nanos = found.get(1), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or seconds >= 1 << 40:
        return None
    return meta.micro_timestamp(seconds + nanos / 1e9)


def _quantity(data: bytes) -> str:
    return _raw(dict(fields(data)).get(1, b"")).decode()


def _int_or_string(data: bytes) -> int | str:
    found = dict(fields(data))
    if found.get(1, 0):
        return _raw(found.get(3, b"")).decode()
    number = found.get(2, 0)
    return number if isinstance(number, int) else 0


def _json(data: bytes) -> Any:
    raw = _raw(dict(fields(data)).get(1, b""))
    return msgspec.json.decode(raw) if raw else None


def _items(data: bytes) -> list[str]:
    return [_raw(value).decode() for number, value in fields(data) if number == 1]


_SPECIAL = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _json,
    "resource.Quantity": _quantity,
    "intstr.IntOrString": _int_or_string,
    "runtime.RawExtension": _json,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
}
