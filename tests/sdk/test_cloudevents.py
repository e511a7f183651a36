"""Events against the CNCF SDK and the letter of the HTTP binding."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_binary_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from funcs.errors import BadRequest
from funcs.sdk import Event
from funcs.sdk.event import batch, received, structured

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda n: (
        n not in {"id", "source", "type", "specversion", "datacontenttype", "dataschema", "subject", "time", "data"}
    )
)
times = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(timezone(timedelta(hours=2)))
)
documents = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    attributes: dict[str, Any] = {
        "id": draw(words),
        "source": draw(words),
        "type": draw(words),
        "time": draw(times),
        "datacontenttype": "application/json",
    }
    if draw(st.booleans()):
        attributes["subject"] = draw(words)
    attributes |= draw(st.dictionaries(names, words, max_size=3))
    return CloudEvent(attributes, draw(st.dictionaries(st.text(max_size=5), documents, max_size=3)))


def pairs(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def strings(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def one(headers: list[tuple[bytes, bytes]], body: bytes) -> Event:
    event = received("POST", b"/", headers, body)
    assert isinstance(event, Event)
    return event


def same(ours: Event, theirs: CloudEvent) -> None:
    assert (ours.id, ours.source, ours.type) == (theirs.get_id(), theirs.get_source(), theirs.get_type())
    assert (ours.subject, ours.time) == (theirs.get_subject(), theirs.get_time())
    assert ours.extensions == {name: theirs.get_extension(name) for name in ours.extensions}
    assert set(ours.attributes) == set(theirs.get_attributes())
    assert ours.data == (theirs.get_data() or None) or ours.data == theirs.get_data()


@given(events())
def test_binary_events_of_the_sdk_are_understood(event: CloudEvent) -> None:
    message = to_binary_event(event)
    same(one(pairs(message.headers), message.body), event)


@given(events())
def test_structured_events_of_the_sdk_are_understood(event: CloudEvent) -> None:
    message = to_structured_event(event)
    same(one(pairs(message.headers), message.body), event)


@given(events())
def test_the_sdk_understands_our_binary_events(event: CloudEvent) -> None:
    headers, body = Event.from_cloudevent(event).to_binary()
    same(Event.from_cloudevent(event), from_binary_event(HTTPMessage(strings(headers), body)))


@given(events())
def test_the_sdk_understands_our_structured_events(event: CloudEvent) -> None:
    ours = Event.from_cloudevent(event)
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, structured(ours))
    same(ours, from_structured_event(message))


@given(events())
def test_conversion_to_the_sdk_and_back_changes_nothing(event: CloudEvent) -> None:
    ours = Event.from_cloudevent(event)
    again = Event.from_cloudevent(ours.to_cloudevent())
    assert (again.attributes, again.data) == (ours.attributes, ours.data)


@given(events())
def test_a_binary_event_is_passed_on_byte_for_byte(event: CloudEvent) -> None:
    headers, body = Event.from_cloudevent(event).to_binary()
    again, content = one(headers, body).to_binary()
    assert (sorted(again), content) == (sorted(headers), body)


@given(st.lists(events(), max_size=3))
def test_batches_keep_their_events(several: list[CloudEvent]) -> None:
    ours = [Event.from_cloudevent(event) for event in several]
    again = received("POST", b"/", [(b"content-type", b"application/cloudevents-batch+json")], batch(ours))
    assert isinstance(again, list)
    assert [(e.attributes, e.data) for e in again] == [(e.attributes, e.data) for e in ours]


MINIMAL = [(b"ce-id", b"1"), (b"ce-source", b"/s"), (b"ce-type", b"t"), (b"ce-specversion", b"1.0")]


def test_a_time_that_is_absent_stays_absent() -> None:
    event = one(MINIMAL, b"")
    assert event.time is None
    assert b"ce-time" not in dict(event.to_binary()[0])
    assert "time" not in event.to_structured()


def test_a_time_is_passed_on_as_it_was_written() -> None:
    written = b"2026-11-21T04:00:00.123456789+01:30"
    event = one([*MINIMAL, (b"ce-time", written)], b"")
    assert dict(event.to_binary()[0])[b"ce-time"] == written
    assert event.time is not None
    assert event.time.utcoffset() == timedelta(hours=1, minutes=30)


@pytest.mark.parametrize(
    ("value", "meant"),
    [(b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"), (b'"quoted \\"name\\""', 'quoted "name"'), ("é".encode(), "é")],
)
def test_header_values_are_decoded_as_the_binding_says(value: bytes, meant: str) -> None:
    assert one([*MINIMAL, (b"ce-subject", value)], b"").subject == meant


def test_header_values_are_encoded_as_the_binding_says() -> None:
    headers, _ = Event(type="t", id="1", source="/s", subject='Euro € "%"').to_binary()
    assert dict(headers)[b"ce-subject"] == b"Euro%20%E2%82%AC%20%22%25%22"


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        (MINIMAL[1:], "ce-id is missing"),
        ([*MINIMAL[:3]], "ce-specversion is missing"),
        ([*MINIMAL[:3], (b"ce-specversion", b"0.3")], "only 1.0"),
        ([*MINIMAL, (b"ce-id", b"2")], "twice"),
        ([*MINIMAL, (b"ce-time", b"yesterday")], "RFC 3339"),
        ([*MINIMAL, (b"ce-my-extension", b"x")], "lower-case"),
        ([*MINIMAL, (b"ce-subject", b"100%")], "percent"),
        ([*MINIMAL, (b"ce-subject", b"%FF")], "UTF-8"),
    ],
)
def test_malformed_binary_events_are_refused_by_name(headers: list[tuple[bytes, bytes]], word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        one(headers, b"")


JSON = [(b"content-type", b"application/cloudevents+json; charset=utf-8")]
FIELDS = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "not JSON"),
        (b"[]", "object"),
        (json.dumps({**FIELDS, "id": ""}).encode(), "id is missing"),
        (json.dumps({**FIELDS, "id": 1}).encode(), "not a string"),
        (json.dumps({**FIELDS, "x": {}}).encode(), "no string"),
        (json.dumps({**FIELDS, "data": 1, "data_base64": "eA=="}).encode(), "not both"),
        (json.dumps({**FIELDS, "data_base64": "?"}).encode(), "base64"),
    ],
)
def test_malformed_structured_events_are_refused_by_name(body: bytes, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        one(JSON, body)


def test_binary_data_travels_as_base64_in_structured_mode() -> None:
    event = Event(b"\xff\x00", type="t", id="1", source="/s")
    fields = event.to_structured()
    assert fields["data_base64"] == "/wA="
    again = one(JSON, msgspec.json.encode(fields))
    assert (again.raw, again.data) == (b"\xff\x00", b"\xff\x00")


def test_extensions_from_json_keep_their_types() -> None:
    event = one(JSON, json.dumps({**FIELDS, "n": 7, "yes": True}).encode())
    assert event.extensions == {"n": 7, "yes": True}
    assert dict(event.to_binary()[0])[b"ce-yes"] == b"true"


def test_other_formats_are_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="cloudevents\\+xml"):
        one([(b"content-type", b"application/cloudevents+xml")], b"")


def test_a_request_that_is_no_event_is_an_event_too() -> None:
    event = received("GET", b"/a/b?x=1&x=2", [(b"content-type", b"text/plain"), (b"x-a", b"1"), (b"x-a", b"2")], b"hi")
    assert isinstance(event, Event)
    assert not event.is_cloudevent
    assert (event.method, event.path, event.query, event.data) == ("GET", "/a/b", {"x": ["1", "2"]}, "hi")
    assert event.headers["x-a"] == "1, 2"
