"""A CloudEvent as the broker holds it: attributes by name, data as it came, and the header lines it leaves with.

Law: pure and strict; what is taken in is a valid CloudEvents 1.0 event, and its data is never touched. What is not is
refused with Malformed, naming the attribute. The broker's own `knativebrokerttl` is a field of the event, not one of
its attributes: subscribers never see it. Sources: CloudEvents 1.0.2, its HTTP binding section 3 and JSON format. No IO.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

import msgspec

from funcs.errors import BadRequest

Headers = Iterable[tuple[bytes, bytes]]

TTL = "knativebrokerttl"
ARRIVAL = "knativearrivaltime"
LONGEST_TTL = 255
FRESH = LONGEST_TTL + 1  # an event that has not been through a broker yet
LARGEST_HEAD = 32 * 1024

_REQUIRED = ("specversion", "id", "source", "type")
_NAME = re.compile(r"[a-z0-9]+")
_URI = re.compile(r"[^\x00-\x20\x7f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_UNSAFE = re.compile(r"[^!#$&-~]").search
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_OPTIONAL = {
    "time": (re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"), "an RFC 3339 timestamp"),
    "dataschema": (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]+"), "an absolute URI"),
    "datacontenttype": (re.compile(rf"{_WORD}/{_WORD}(\s*;[\x20-\x7e]*)?"), "a media type"),
    "subject": (re.compile(".+", re.DOTALL), "allowed to be empty"),
}
_SAFE = "!#$&'()*+,/:;=?@[]^`{|}<>\\"
# What may accompany an event through a broker (Knative's conformance test header_test.go).
_THROUGH = frozenset({b"x-request-id", b"traceparent", b"tracestate", b"retry-after"})
_THROUGH_PREFIXES = (b"knative-", b"x-b3-")


class Malformed(BadRequest):
    """Not a CloudEvent; the message names the attribute."""

    default_reason = "MalformedCloudEvent"


class Spent(BadRequest):
    """The event's time to live is over."""

    default_reason = "TimeToLiveOver"


@dataclass(frozen=True, slots=True)
class Event:
    """`attributes` are canonical strings, `datacontenttype` among them; `through` are the headers let through."""

    attributes: Mapping[str, str]
    data: bytes = b""
    ttl: int = FRESH
    through: tuple[tuple[bytes, bytes], ...] = ()

    def arriving(self, now: float) -> Event:
        """As a broker stores it: the time of arrival overwritten, one less to live. Raises Spent at the end of it.

        `now` in Unix seconds. Source: Knative's broker ingress.
        """
        if self.ttl <= 1:
            raise Spent(f"attribute {TTL} is used up: the event has been through brokers too often")
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return Event({**self.attributes, ARRIVAL: at}, self.data, self.ttl - 1, self.through)

    def head(self) -> bytes:
        """The header lines of binary mode, each ending in CRLF."""
        lines = [b"%b: %b\r\n" % pair for pair in self.through]
        lines += [_line(name, value) for name, value in self.attributes.items()]
        return b"".join(lines)


def parse(headers: Headers, body: bytes) -> Event:
    """An event from an HTTP message, binary or structured. Header names are lower case. Raises Malformed."""
    headers = list(headers)
    media = _only(headers, b"content-type").partition(b";")[0].strip().lower()
    if media == b"application/cloudevents+json":
        attributes, data = _structured(body)
    elif media.startswith(b"application/cloudevents"):
        what = "batches are" if b"batch" in media else f"the format {media.decode('latin-1')} is"
        raise Malformed(f"{what} not accepted", hint="Send one event a request, in binary mode or as JSON.")
    else:
        attributes, data = _binary(headers), body
    _check(attributes)
    ttl = _ttl(attributes.pop(TTL, ""))
    return Event(attributes, data, ttl, tuple(pair for pair in headers if _is_let_through(pair[0])))


def is_event(headers: Headers) -> bool:
    """Whether an HTTP message claims to be a CloudEvent."""
    return any(
        name == b"ce-specversion" or (name == b"content-type" and value.lower().startswith(b"application/cloudevents"))
        for name, value in headers
    )


def attributes_of(head: bytes) -> dict[str, str]:
    """The attributes in header lines that `Event.head` made."""
    found: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.startswith(b"ce-"):
            found[name[3:].decode()] = unquote_to_bytes(value).decode() if b"%" in value else value.decode()
        elif name == b"content-type":
            found["datacontenttype"] = value.decode("latin-1")
    return found


def structured(head: bytes, data: bytes) -> bytes:
    """The same event in the JSON format. Data of a JSON type stays JSON, any other is base64."""
    event: dict[str, object] = dict(attributes_of(head))
    if data:
        name, value = _json_data(str(event.get("datacontenttype", "")), data)
        event[name] = value
    return msgspec.json.encode(event)


def _json_data(media: str, data: bytes) -> tuple[str, object]:
    if _is_json(media):
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError:
            pass
        else:
            return "data", msgspec.Raw(data)
    return "data_base64", base64.b64encode(data).decode()


def _is_json(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return kind in ("", "application/json", "text/json") or kind.endswith("+json")


def _only(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    found = [value for name, value in headers if name == wanted]
    if len(found) > 1:
        raise Malformed(f"header {wanted.decode()} is given {len(found)} times")
    return found[0] if found else b""


def _binary(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for header, value in headers:
        if header.startswith(b"ce-"):
            name = header[3:].decode("latin-1")
        elif header == b"content-type":
            name = "datacontenttype"
        else:
            continue
        if name in attributes:
            raise Malformed(f"attribute {name} is given twice")
        attributes[name] = value.decode("latin-1") if name == "datacontenttype" else _decoded(name, value)
    if "specversion" not in attributes:
        raise Malformed("not a CloudEvent: neither header ce-specversion nor content-type application/cloudevents+json")
    return attributes


def _decoded(name: str, value: bytes) -> str:
    """HTTP binding 3.1.3.2: unquote a quoted string, then percent-decode once."""
    if len(value) > 1 and value[:1] == b'"' == value[-1:]:
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    try:
        return (unquote_to_bytes(value) if b"%" in value else value).decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"attribute {name} is not UTF-8") from error


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise Malformed(f"the body is not a JSON object: {error}") from error
    raw, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = {name: text for name, value in members.items() if (text := _canonical(name, value)) is not None}
    if encoded is not None:
        if raw is not None:
            raise Malformed("both data and data_base64 are given")
        return attributes, _from_base64(encoded)
    return attributes, b"" if raw is None else _data(attributes, bytes(raw))


def _data(attributes: dict[str, str], raw: bytes) -> bytes:
    """JSON format 3.1: the member's JSON as it stands, but a string of another content type is its text."""
    if "datacontenttype" not in attributes:
        attributes["datacontenttype"] = "application/json"
    elif not _is_json(attributes["datacontenttype"]) and raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def _canonical(name: str, raw: msgspec.Raw) -> str | None:
    """CloudEvents section 3.4: the one string that a boolean, integer or string attribute is."""
    value = msgspec.json.decode(raw)
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int() if -(2**31) <= value < 2**31:
            return str(value)
        case str():
            return value
        case _:
            raise Malformed(f"attribute {name} is neither a string, a boolean nor a 32-bit integer")


def _from_base64(raw: msgspec.Raw) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (msgspec.DecodeError, binascii.Error) as error:
        raise Malformed(f"data_base64 is not base64: {error}") from error


def _check(attributes: Mapping[str, str]) -> None:
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Malformed(f"attribute {name} is missing or empty")
    if attributes["specversion"] != "1.0":
        raise Malformed(f'attribute specversion is "{attributes["specversion"][:16]}"; only 1.0 is accepted')
    if not _URI.fullmatch(attributes["source"]):
        raise Malformed("attribute source is not a URI reference")
    for name, value in attributes.items():
        _check_attribute(name, value)
    if sum(len(name) + len(value) for name, value in attributes.items()) > LARGEST_HEAD:
        raise Malformed(f"the attributes are larger than {LARGEST_HEAD} bytes together")


def _check_attribute(name: str, value: str) -> None:
    if not _NAME.fullmatch(name) or name == "data":
        raise Malformed(f'"{name[:32]}" is not an attribute name: lower-case letters and digits only')
    if _CONTROL.search(value):
        raise Malformed(f"attribute {name} holds control characters")
    rule = _OPTIONAL.get(name)
    if rule is not None and not rule[0].fullmatch(value):
        raise Malformed(f"attribute {name} is not {rule[1]}")


def _ttl(text: str) -> int:
    """As given; absent or unreadable counts as new, as upstream."""
    return min(int(text), LONGEST_TTL) if text.isascii() and text.isdigit() and len(text) < 10 else FRESH


def _is_let_through(name: bytes) -> bool:
    return name in _THROUGH or name.startswith(_THROUGH_PREFIXES)


def _line(name: str, value: str) -> bytes:
    """HTTP binding 3.1.3.1: percent-encode what is no printable ASCII, and space, double quote and percent."""
    if name == "datacontenttype":
        return b"content-type: %b\r\n" % value.encode("ascii")
    return b"ce-%b: %b\r\n" % (name.encode(), (quote(value, safe=_SAFE) if _UNSAFE(value) else value).encode())
