"""What comes in: an HTTP request or a CloudEvent, under one lazy type; and the CloudEvents that go out.

Law: nothing is decoded before it is asked for, and what was received is passed on as it was. No IO. Modules that few
functions need are imported where they are needed: every cold start would pay for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from types import GenericAlias
from typing import Any, NamedTuple, Protocol

from funcs.errors import BadRequest
from funcs.sdk.binding import BATCH, STRUCTURED, Attributes, check, from_headers, from_json, is_json, to_headers

Pairs = list[tuple[bytes, bytes]]


class _ForeignEvent(Protocol):
    def get_attributes(self) -> Mapping[str, Any]: ...

    def get_data(self) -> Any: ...


class _Unset:
    def __repr__(self) -> str:
        return "<not decoded>"


_UNSET: Any = _Unset()


class Event:
    """An event to send: `Event({"n": 1}, type="orders.created")`. Empty `id` and `source` are filled in on sending.

    An event received has the request's `method`, `path`, `query` and `headers` too; `is_cloudevent` says which it is.
    Annotate a parameter `Event[T]` to have `data` decoded as T.
    """

    __slots__ = ("_attributes", "_data", "_headers", "_raw", "method", "target")

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)

    def __init__(
        self,
        data: Any = None,
        *,
        type: str,
        source: str = "",
        id: str = "",
        subject: str | None = None,
        time: datetime | str | None = None,
        datacontenttype: str | None = None,
        dataschema: str | None = None,
        **extensions: str | int | bool,
    ) -> None:
        named = {"id": id, "source": source, "type": type, "specversion": "1.0", "subject": subject}
        named |= {"time": _timestamp(time), "datacontenttype": datacontenttype, "dataschema": dataschema}
        attributes = {name: value for name, value in named.items() if value is not None} | extensions
        check({**attributes, "id": id or "-", "source": source or "-"})
        if datacontenttype is None and data is not None:
            attributes["datacontenttype"] = _content_type(data)
        self._attributes: Attributes | None = attributes
        self._data: Any = _UNSET if isinstance(data, bytes) else data
        self._raw: bytes | None = data if isinstance(data, bytes) else None
        self._headers: Pairs = []
        self.method = "POST"
        self.target = b"/"

    # The attributes. For a plain request they are None.

    @property
    def is_cloudevent(self) -> bool:
        return self._attributes is not None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """All of them, extensions included, as received; empty for a plain request."""
        return self._attributes if self._attributes is not None else {}

    @property
    def id(self) -> str:
        return str(self.attributes.get("id", ""))

    @property
    def source(self) -> str:
        return str(self.attributes.get("source", ""))

    @property
    def type(self) -> str:
        return str(self.attributes.get("type", ""))

    @property
    def specversion(self) -> str:
        return str(self.attributes.get("specversion", ""))

    @property
    def subject(self) -> str | None:
        return self.attributes.get("subject")

    @property
    def time(self) -> datetime | None:
        value = self.attributes.get("time")
        return None if value is None else _instant(value)

    @property
    def dataschema(self) -> str | None:
        return self.attributes.get("dataschema")

    @property
    def datacontenttype(self) -> str | None:
        if self._attributes is not None:
            return self._attributes.get("datacontenttype")
        return self.header("content-type")

    @property
    def extensions(self) -> dict[str, Any]:
        known = {"id", "source", "type", "specversion", "subject", "time", "dataschema", "datacontenttype"}
        return {name: value for name, value in self.attributes.items() if name not in known}

    # The request it came in.

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; the values of one that occurs several times are joined with commas."""
        joined: dict[str, str] = {}
        for name, value in self._headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            joined[key] = f"{joined[key]}, {text}" if key in joined else text
        return joined

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        wanted = name.encode("latin-1")
        for found, value in self._headers:
            if found == wanted:
                return value.decode("latin-1")
        return None

    @property
    def path(self) -> str:
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> dict[str, list[str]]:
        from urllib.parse import parse_qs

        return parse_qs(self.target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)

    # The data.

    @property
    def data(self) -> Any:
        """By content type: JSON decoded, `text/*` as str, anything else as bytes; None if there is none.

        Raises BadRequest (answered with 400) for what is not what its content type says.
        """
        if self._data is _UNSET:
            self._data = self._decode() if self._raw else None
        return self._data

    @property
    def raw(self) -> bytes:
        """The data's bytes: as received, or for structured events as encoded again."""
        if self._raw is None:
            self._raw = _encode(self._data, self.datacontenttype)
        return self._raw

    def json(self) -> Any:
        """The data read as JSON, whatever its content type says."""
        return _json(self.raw)

    def text(self) -> str:
        return _text(self.raw)

    def with_data(self, value: Any) -> Event:
        """This event with `data` already decoded; `raw` stays."""
        raw = self.raw
        self._data, self._raw = value, raw
        return self

    def _decode(self) -> Any:
        raw = self.raw
        kind = self.datacontenttype
        if kind is None:
            return raw
        if is_json(kind):
            return _json(raw)
        return _text(raw) if kind[:5].lower() == "text/" else raw

    # Encoding.

    def to_binary(self) -> tuple[Pairs, bytes]:
        """Headers and body in binary mode."""
        return to_headers(self.attributes), self.raw

    def to_structured(self) -> dict[str, Any]:
        """The JSON object of structured mode."""
        fields = dict(self.attributes)
        raw = self.raw
        if not raw and self._data in (None, _UNSET):
            return fields
        kind = self.datacontenttype
        if kind is None or is_json(kind):
            try:
                return {**fields, "data": self.data if kind else _json(raw)}
            except BadRequest:  # bytes of no declared kind, or JSON in name only
                pass
        else:
            try:
                if kind.lower().startswith("text/"):
                    return {**fields, "data": raw.decode()}
            except UnicodeDecodeError:
                pass
        import base64

        return {**fields, "data_base64": base64.b64encode(raw).decode()}

    def to_cloudevent(self) -> Any:
        """As `cloudevents.core.v1.event.CloudEvent` of the CNCF SDK 2.x, which adds a `time` if there is none."""
        from cloudevents.core.v1.event import CloudEvent

        attributes = dict(self.attributes)
        if "time" in attributes:
            attributes["time"] = _instant(attributes["time"])
        return CloudEvent(attributes, self.data)

    @classmethod
    def from_cloudevent(cls, event: _ForeignEvent) -> Event:
        """From an event of the CNCF SDK, 1.x or 2.x."""
        attributes = {name: value for name, value in event.get_attributes().items() if value is not None}
        attributes["time"] = _timestamp(attributes.get("time"))
        if attributes["time"] is None:
            del attributes["time"]
        check(attributes)
        data = event.get_data()
        return _event(attributes, data, data if isinstance(data, bytes) else None)

    def __repr__(self) -> str:
        if self._attributes is None:
            return f"<Event {self.method} {self.path}>"
        return f"<Event {self.type} {self.source} {self.id}>"


def received(method: str, target: bytes, headers: Pairs, body: bytes) -> Event | list[Event]:
    """The event that a request is; a list for a batch. Raises BadRequest for a malformed CloudEvent."""
    attributes, content_type = from_headers(headers)
    if len(content_type) > 22 and content_type[:23].lower() == b"application/cloudevents":
        return _structured(method, target, headers, body)
    event: Event = Event.__new__(Event)
    event._attributes = attributes
    event._data = _UNSET
    event._raw = body
    event._headers = headers
    event.method = method
    event.target = target
    return event


def batch(events: list[Event]) -> bytes:
    return _dumps([event.to_structured() for event in events])


def structured(event: Event) -> bytes:
    return _dumps(event.to_structured())


def _structured(method: str, target: bytes, headers: Pairs, body: bytes) -> Event | list[Event]:
    content_type = next(value for name, value in headers if name == b"content-type").decode("latin-1")
    media = content_type.partition(";")[0].strip().lower()
    if media not in {STRUCTURED, BATCH}:
        raise BadRequest(f"{media} is not understood, only {STRUCTURED} and {BATCH} are", reason="InvalidCloudEvent")
    value = _json(body)
    if media == STRUCTURED:
        return _from_json(value, method, target, headers)
    if not isinstance(value, list):
        raise BadRequest("a batch of CloudEvents is a JSON array", reason="InvalidCloudEvent")
    return [_from_json(item, method, target, headers) for item in value]


def _from_json(value: Any, method: str, target: bytes, headers: Pairs) -> Event:
    attributes, data, binary = from_json(value)
    event = _event(attributes, data if binary is None else _UNSET, binary)
    event._headers = headers
    event.method = method
    event.target = target
    return event


def _event(attributes: Attributes, data: Any, raw: bytes | None) -> Event:
    event: Event = Event.__new__(Event)
    event._attributes = attributes
    event._data = data
    event._raw = raw
    event._headers = []
    event.method = "POST"
    event.target = b"/"
    return event


def _json(raw: bytes) -> Any:
    codec = _codec()
    try:
        return codec.decode(raw)
    except (codec.malformed, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the data is not JSON: {error}", reason="InvalidData") from error


def _dumps(value: Any) -> bytes:
    return _codec().encode(value)


class _Codec(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    malformed: type[Exception]


@cache
def _codec() -> _Codec:
    """msgspec's, loaded when data is first decoded."""
    from msgspec import DecodeError, json

    return _Codec(json.Decoder().decode, json.Encoder().encode, DecodeError)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("the data is not UTF-8 text", reason="InvalidData") from error


def _encode(data: Any, kind: str | None) -> bytes:
    if data is None:
        return b""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str) and kind is not None and not is_json(kind):
        return data.encode()
    return _dumps(data)


def _content_type(data: Any) -> str:
    if isinstance(data, bytes):
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if isinstance(data, str) else "application/json"


def _timestamp(value: datetime | str | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _instant(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise BadRequest(f"time {value!r} is no moment", reason="InvalidCloudEvent") from error
