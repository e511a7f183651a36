"""A CloudEvent is taken in strictly and leaves as it came."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from funcs.errors import BadRequest
from runtimes.eventing.event import FRESH, Event, Spent, attributes_of, parse, structured

HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
JSON = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def pairs(**changes: str | None) -> list[tuple[bytes, bytes]]:
    """Valid headers with some changed (underscores are dashes), or taken away."""
    headers: dict[str, str | None] = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]


def as_json(**changes: Any) -> tuple[list[tuple[bytes, bytes]], bytes]:
    event = {name: value for name, value in {**JSON, **changes}.items() if value is not ...}
    return [(b"content-type", b"application/cloudevents+json; charset=utf-8")], json.dumps(event).encode()


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param(pairs(ce_id=None), "ce-id is missing", id="no id"),
        pytest.param(pairs(ce_source=""), "ce-source is missing or empty", id="empty source"),
        pytest.param(pairs(ce_type=None), "ce-type is missing", id="no type"),
        pytest.param(pairs(ce_specversion=None), "ce-specversion is missing", id="no specversion"),
        pytest.param(pairs(ce_specversion="0.3"), "specversion '0.3': only 1.0", id="old version"),
        pytest.param(pairs(ce_source="a b"), "attribute source is not a URI reference", id="source with a space"),
        pytest.param(pairs(ce_source="a%20b"), "attribute source is not a URI reference", id="encoded space"),
        pytest.param(pairs(ce_time="yesterday"), "ce-time is not an RFC 3339 timestamp", id="time"),
        pytest.param(pairs(ce_dataschema="/rel"), "attribute dataschema is not an absolute URI", id="dataschema"),
        pytest.param(pairs(ce_subject=""), "attribute subject is empty", id="subject"),
        pytest.param(pairs(content_type="json"), "attribute datacontenttype is not a media type", id="content type"),
        pytest.param(pairs(ce_foo_bar="x"), "ce-foo-bar'?: names of attributes", id="attribute name"),
        pytest.param(pairs(ce_data="x"), "ce-data'?: names of attributes", id="an attribute called data"),
        pytest.param(pairs(ce_x="%ff"), "ce-x is not UTF-8", id="not UTF-8"),
        pytest.param(pairs(ce_x="50%"), "ce-x has a malformed percent-encoding", id="half a percent"),
        pytest.param([*pairs(), (b"ce-id", b"2")], "ce-id occurs twice", id="twice"),
        pytest.param(pairs(ce_x="y" * 40_000), "larger than 32768 bytes", id="too large"),
        pytest.param(pairs(content_type="application/cloudevents-batch+json"), "batches are not accepted", id="batch"),
        pytest.param(
            pairs(content_type="application/cloudevents+avro"), r"cloudevents\+avro is not accepted", id="avro"
        ),
    ],
)
def test_a_malformed_event_is_refused_naming_the_attribute(headers: list[tuple[bytes, bytes]], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse(headers, b"")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ...}, "attribute id is missing"),
        ({"id": None}, "attribute id is missing"),
        ({"id": 1.5}, "attribute id is not a string"),
        ({"x": {"nested": 1}}, "attribute x is no string"),
        ({"x": 2**31}, "32-bit integer"),
        ({"Upper": "x"}, "attribute Upper: names"),
        ({"data": 1, "data_base64": "AA=="}, "data or data_base64, not both"),
        ({"data_base64": "A"}, "data_base64 is not base64"),
        ({"data_base64": 7}, "data_base64 is not base64"),
    ],
)
def test_a_malformed_json_event_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse(*as_json(**changes))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"id": "\\ud800"}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"is not a JSON object|is missing"):
        parse([(b"content-type", b"application/cloudevents+json")], body)


@pytest.mark.parametrize(
    ("changes", "content_type", "data"),
    [
        ({"data": {"a": 1.0}}, "application/json", b'{"a": 1.0}'),
        ({"data": "text", "datacontenttype": "text/plain"}, "text/plain", b"text"),
        ({"data": "text"}, "application/json", b'"text"'),
        ({"data_base64": "AAE=", "datacontenttype": "image/png"}, "image/png", b"\x00\x01"),
        ({}, None, b""),
    ],
)
def test_structured_data_is_what_the_content_type_says(
    changes: dict[str, Any], content_type: str | None, data: bytes
) -> None:
    event = parse(*as_json(**changes))
    assert (event.attributes.get("datacontenttype"), event.data) == (content_type, data)


def test_booleans_and_integers_are_canonical_strings() -> None:
    event = parse(*as_json(flag=True, count=-7, absent=None))
    assert (event.attributes["flag"], event.attributes["count"]) == ("true", "-7")
    assert "absent" not in event.attributes


def test_a_quoted_header_value_is_unquoted_then_decoded_once() -> None:
    event = parse(pairs(ce_x='"a \\"b\\" %2541"'), b"")
    assert event.attributes["x"] == 'a "b" %41'


def test_only_some_headers_are_let_through() -> None:
    sent = [*pairs(), (b"traceparent", b"00-1"), (b"knative-x", b"k"), (b"cookie", b"c"), (b"authorization", b"a")]
    assert parse(sent, b"").through == ((b"traceparent", b"00-1"), (b"knative-x", b"k"))


@pytest.mark.parametrize(("given_ttl", "stored"), [(None, 255), ("x", 255), ("10", 9), ("9999", 254), ("2", 1)])
def test_every_pass_takes_one_from_the_time_to_live(given_ttl: str | None, stored: int) -> None:
    event = parse(pairs(ce_knativebrokerttl=given_ttl), b"").arriving(0.0)
    assert event.ttl == stored
    assert b"knativebrokerttl" not in event.head()


@pytest.mark.parametrize("ttl", ["0", "1"])
def test_at_the_end_of_its_time_to_live_an_event_goes_no_further(ttl: str) -> None:
    with pytest.raises(Spent, match="knativebrokerttl is used up"):
        parse(pairs(ce_knativebrokerttl=ttl), b"").arriving(0.0)


def test_the_time_of_arrival_is_always_overwritten() -> None:
    event = parse(pairs(ce_knativearrivaltime="2000-01-01T00:00:00Z"), b"").arriving(1_700_000_000.25)
    assert event.attributes["knativearrivaltime"] == "2023-11-14T22:13:20.250000Z"


def test_a_smuggled_line_break_stays_encoded() -> None:
    head = parse(pairs(ce_x="a%0d%0aevil: 1"), b"").head()
    assert b"ce-x: a%0D%0Aevil:%201\r\n" in head


printable = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
names = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True).filter(
    lambda name: name not in {*JSON, "data", "time", "dataschema", "datacontenttype", "subject", "knativebrokerttl"}
)


@given(st.dictionaries(names, printable, max_size=4), st.binary(max_size=50))
def test_attributes_survive_the_wire(extensions: dict[str, str], data: bytes) -> None:
    event = Event({**JSON, "datacontenttype": "text/plain; charset=utf-8", **extensions}, data)
    head = event.head()
    assert head.isascii()
    assert attributes_of(head) == event.attributes
    lines = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n") if line]
    again = parse(lines, data)  # type: ignore[arg-type]
    assert (again.attributes, again.data, again.ttl) == (event.attributes, data, FRESH)


@given(st.dictionaries(names, printable, max_size=3), st.sampled_from(["application/json", "text/plain"]), st.binary())
def test_the_json_format_says_the_same(extensions: dict[str, str], media: str, data: bytes) -> None:
    event = Event({**JSON, "datacontenttype": media, **extensions}, data)
    body = structured(event.head(), data)
    again = parse([(b"content-type", b"application/cloudevents+json")], body)
    assert (again.attributes, again.data) == (event.attributes, data)


def test_json_data_stays_json_in_the_json_format() -> None:
    event = Event({**JSON, "datacontenttype": "application/json"}, b'{"a": 1}')
    assert json.loads(structured(event.head(), event.data))["data"] == {"a": 1}
    event = Event({**JSON, "datacontenttype": "image/png"}, b"\x00")
    assert json.loads(structured(event.head(), event.data))["data_base64"] == base64.b64encode(b"\x00").decode()


def test_the_sdk_reads_what_we_write() -> None:
    event = Event({**JSON, "subject": 'a "ü" b', "datacontenttype": "application/json"}, b'{"a": 1}')
    read = JSONFormat().read(None, structured(event.head(), event.data))
    assert (read.get_subject(), read.get_data()) == ('a "ü" b', {"a": 1})
