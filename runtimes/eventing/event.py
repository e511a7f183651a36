"""A CloudEvent as the broker holds it: attributes by name, data as it came, and the header lines it leaves with.

Law: pure and strict; what is taken in is a valid CloudEvents 1.0 event, and its data is never touched. What is not is
refused with BadRequest, naming the attribute. The broker's own `knativebrokerttl` is a field of the event, not one of
its attributes: subscribers never see it. Attributes are read and written as functions read and write them
(`funcs.sdk.binding`); here are a broker's further rules. Source: CloudEvents 1.0.2. No IO.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from funcs.errors import BadRequest
from funcs.sdk.binding import STRUCTURED, from_headers, from_json, is_json, to_headers

Headers = Iterable[tuple[bytes, bytes]]

TTL = "knativebrokerttl"
ARRIVAL = "knativearrivaltime"
LONGEST_TTL = 255
FRESH = LONGEST_TTL + 1  # an event that has not been through a broker yet
LARGEST_HEAD = 32 * 1024

_URI = re.compile(r"[^\x00-\x20\x7f]+").fullmatch
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_OPTIONAL = {
    "dataschema": (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]+"), "is not an absolute URI"),
    "datacontenttype": (re.compile(rf"{_WORD}/{_WORD}(\s*;[\x20-\x7e]*)?"), "is not a media type"),
    "subject": (re.compile(".+", re.DOTALL), "is empty"),
}
# What may accompany an event through a broker (Knative's conformance test header_test.go).
_THROUGH = frozenset({b"x-request-id", b"traceparent", b"tracestate", b"retry-after"})
_THROUGH_PREFIXES = (b"knative-", b"x-b3-")


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
        at = f"{_second(int(now))}.{int(now % 1 * 1e6):06}Z"
        return Event({**self.attributes, ARRIVAL: at}, self.data, self.ttl - 1, self.through)

    def head(self) -> bytes:
        """The header lines of binary mode, each ending in CRLF."""
        return b"".join([b"%b: %b\r\n" % pair for pair in (*self.through, *to_headers(self.attributes))])


@lru_cache(maxsize=4)
def _second(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse(headers: Headers, body: bytes) -> Event:
    """An event from an HTTP message, binary or structured. Header names are lower case. Raises BadRequest."""
    headers = list(headers)
    media = _content_type(headers).partition(b";")[0].strip().lower().decode("latin-1")
    if media == STRUCTURED:
        attributes, data = _structured(body)
    elif media.startswith("application/cloudevents"):
        what = "batches are" if "batch" in media else f"the format {media} is"
        raise _malformed(f"{what} not accepted", hint="Send one event a request, in binary mode or as JSON.")
    else:
        found, _ = from_headers(headers)
        if found is None:
            raise _malformed(f"not a CloudEvent: neither header ce-specversion nor content-type {STRUCTURED}")
        attributes, data = found, body
    _check(attributes)
    ttl = _ttl(attributes.pop(TTL, ""))
    return Event(attributes, data, ttl, tuple([pair for pair in headers if _is_let_through(pair[0])]))


def is_event(headers: Headers) -> bool:
    """Whether an HTTP message claims to be a CloudEvent."""
    return any(
        name == b"ce-specversion" or (name == b"content-type" and value.lower().startswith(b"application/cloudevents"))
        for name, value in headers
    )


def attributes_of(head: bytes) -> dict[str, str]:
    """The attributes in header lines that `Event.head` made."""
    pairs = [line.partition(b": ") for line in head.split(b"\r\n") if line]
    found, _ = from_headers((name, value) for name, _, value in pairs)
    return found or {}


def structured(head: bytes, data: bytes) -> bytes:
    """The same event in the JSON format. Data of a JSON type stays JSON, any other is base64."""
    event: dict[str, object] = dict(attributes_of(head))
    if data:
        name, value = _json_data(str(event.get("datacontenttype", "")), data)
        event[name] = value
    return msgspec.json.encode(event)


def _json_data(media: str, data: bytes) -> tuple[str, object]:
    if not media or is_json(media):
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError:
            pass
        else:
            return "data", msgspec.Raw(data)
    return "data_base64", base64.b64encode(data).decode()


def _malformed(message: str, hint: str | None = None) -> BadRequest:
    return BadRequest(message, reason="InvalidCloudEvent", hint=hint)


def _content_type(headers: list[tuple[bytes, bytes]]) -> bytes:
    found = [value for name, value in headers if name == b"content-type"]
    if len(found) > 1:
        raise _malformed("header content-type occurs twice")
    return found[0] if found else b""


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    """With the data's JSON as it stands."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        given: dict[str, Any] = {n: v if n == "data" else msgspec.json.decode(v) for n, v in members.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(f"the body is not a JSON object: {error}") from error
    attributes, data, binary = from_json(given)
    strings = {name: _canonical(value) for name, value in attributes.items()}
    if binary is not None:
        return strings, binary
    return strings, b"" if data is None else _data(strings, bytes(data))


def _data(attributes: dict[str, str], raw: bytes) -> bytes:
    """JSON format 3.1: the member's JSON as it stands, but a string of another content type is its text."""
    media = attributes.setdefault("datacontenttype", "application/json")
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') and not is_json(media) else raw


def _canonical(value: str | int | bool) -> str:
    """CloudEvents section 3.4: the one string that a boolean, integer or string attribute is."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(attributes: Mapping[str, str]) -> None:
    """What the binding leaves open. Raises BadRequest."""
    if not _URI(attributes["source"]):
        raise _malformed("attribute source is not a URI reference")
    for name, (rule, why) in _OPTIONAL.items():
        value = attributes.get(name)
        if value is not None and not rule.fullmatch(value):
            raise _malformed(f"attribute {name} {why}")
    if sum(map(len, attributes.values())) > LARGEST_HEAD:
        raise _malformed(f"the attributes are larger than {LARGEST_HEAD} bytes together")


def _ttl(text: str) -> int:
    """As given; absent or unreadable counts as new, as upstream."""
    return min(int(text), LONGEST_TTL) if text.isascii() and text.isdigit() and len(text) < 10 else FRESH


def _is_let_through(name: bytes) -> bool:
    return name in _THROUGH or name.startswith(_THROUGH_PREFIXES)
