"""The HTTP binding of CloudEvents 1.0: attributes to and from headers and JSON. Pure.

Law: what comes in goes out unchanged: nothing is added (a missing `time` stays missing) and nothing dropped. What is
malformed raises BadRequest, naming what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from funcs.errors import BadRequest

REQUIRED = ("id", "source", "type", "specversion")
OPTIONAL = ("datacontenttype", "dataschema", "subject", "time")
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_NAMING = "names of attributes are lower-case letters and digits"
_KEYS = {b"ce-" + name.encode(): name for name in (*REQUIRED, *OPTIONAL) if name != "datacontenttype"}
_NAME = re.compile(r"[a-z0-9]+").fullmatch
# RFC 3339, 5.6; CloudEvents 1.0, 3.2 (Timestamp)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)").fullmatch
_PERCENT, _QUOTE = b'%"'  # as numbers: CPython looks for one byte in bytes ten times faster than for bytes
_ALWAYS = "1970-01-01T00:00:00Z"
# HTTP binding, 3.1.3.2: everything but these is percent-encoded
_PLAIN = re.compile(r"[!#$&-~]*").fullmatch
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})").search

Attributes = dict[str, Any]
"""Names to str, or for extensions from JSON also int or bool."""


def from_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Attributes | None, bytes]:
    """The attributes of a binary-mode message, None if it has no `ce-` header at all; and its content type."""
    attributes: Attributes = {}
    content_type = b""
    known = _KEYS.get
    for name, value in headers:
        key = known(name)
        if key is None:
            if name == b"content-type":
                content_type = value
                continue
            if not name.startswith(b"ce-"):
                continue
            key = _extension(name)
        if key in attributes:
            raise BadRequest(f"header ce-{key} occurs twice", reason="InvalidCloudEvent")
        plain = value.isascii() and _PERCENT not in value and _QUOTE not in value
        attributes[key] = value.decode() if plain else _decoded(key, value)
    if not attributes:
        return None, content_type
    get = attributes.get
    time = get("time", _ALWAYS)
    if get("specversion") != "1.0" or not get("id") or not get("source") or not get("type") or not _TIME(time):
        check(attributes, "header ce-")
    if content_type:
        attributes["datacontenttype"] = content_type.decode("latin-1")
    return attributes, content_type


def _extension(name: bytes) -> str:
    key = name[3:].decode("latin-1")
    if not _NAME(key) or key == "data":
        raise BadRequest(f"header {name!r}: {_NAMING}", reason="InvalidCloudEvent")
    return key


def check(attributes: Mapping[str, Any], where: str = "attribute ") -> None:
    """Raises BadRequest unless these are the attributes of a CloudEvent 1.0."""
    get = attributes.get
    if get("specversion") != "1.0" or not get("id") or not get("source") or not get("type"):
        for name in REQUIRED:
            if not get(name):
                raise BadRequest(f"{where}{name} is missing or empty", reason="InvalidCloudEvent")
        raise BadRequest(f"specversion {get('specversion')!r}: only 1.0 is understood", reason="InvalidCloudEvent")
    for name, value in attributes.items():
        if name in _KNOWN:
            if not isinstance(value, str):
                raise BadRequest(f"{where}{name} is not a string", reason="InvalidCloudEvent")
            if name == "time" and not _TIME(value):
                raise BadRequest(f"{where}time is not an RFC 3339 timestamp: {value!r}", reason="InvalidCloudEvent")
        elif not _NAME(name) or name == "data":
            raise BadRequest(f"{where}{name}: {_NAMING}", reason="InvalidCloudEvent")
        elif not isinstance(value, str | int) or (isinstance(value, int) and not -(2**31) <= value < 2**31):
            raise BadRequest(f"{where}{name} is no string, boolean or 32-bit integer", reason="InvalidCloudEvent")


_KNOWN = frozenset(REQUIRED + OPTIONAL)


def to_headers(attributes: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Binary mode's headers, `content-type` among them."""
    return [
        (b"content-type", _printable(value)) if name == "datacontenttype" else (b"ce-" + name.encode(), encoded(value))
        for name, value in attributes.items()
    ]


def from_json(value: Any) -> tuple[Attributes, Any, bytes | None]:
    """A decoded JSON event as (attributes, data, binary): `binary` is what `data_base64` held."""
    if not isinstance(value, dict):
        raise BadRequest("a structured CloudEvent is a JSON object", reason="InvalidCloudEvent")
    attributes = {name: item for name, item in value.items() if item is not None}
    data = attributes.pop("data", None)
    encoded = attributes.pop("data_base64", None)
    check(attributes)
    if encoded is None:
        return attributes, data, None
    if data is not None:
        raise BadRequest("an event has data or data_base64, not both", reason="InvalidCloudEvent")
    try:
        return attributes, None, base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadRequest("data_base64 is not base64", reason="InvalidCloudEvent") from error


@lru_cache(256)
def is_json(content_type: str | None) -> bool:
    """Whether a media type is JSON: `application/json`, `text/json`, `…+json`."""
    if content_type is None:
        return False
    media = content_type.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))


def _decoded(name: str, value: bytes) -> str:
    """A header's value as an attribute's (HTTP binding, 3.1.3.2): unquote, percent-decode, read as UTF-8."""
    if value[:1] == b'"' and value[-1:] == b'"' and len(value) > 1:
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    if b"%" in value:
        if _BAD_PERCENT(value):
            raise BadRequest(f"header ce-{name} has a malformed percent-encoding", reason="InvalidCloudEvent")
        from urllib.parse import unquote_to_bytes  # with ipaddress, milliseconds of a cold start

        value = unquote_to_bytes(value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"header ce-{name} is not UTF-8", reason="InvalidCloudEvent") from error


def encoded(value: Any) -> bytes:
    """An attribute's value as a header's."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN(text):
        return text.encode()
    return "".join(
        char if _PLAIN(char) else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text
    ).encode()


def _printable(value: str) -> bytes:
    if not value.isprintable() or not value.isascii():
        raise BadRequest(f"datacontenttype {value!r} cannot be a header", reason="InvalidCloudEvent")
    return value.encode()
