"""Selectors in Kubernetes' own grammar; what cannot be parsed names the place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import selectors
from funcs.api.core import CONFIG_MAP, EVENT, POD
from funcs.errors import BadRequest

LABELS = {"app": "web", "tier": "front", "example.com/size": "10", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        (" app == web , tier = front ", True),
        ("app=other", False),
        ("app!=other", True),
        ("missing!=x", True),
        ("missing=x", False),
        ("app in (web, api)", True),
        ("app notin (web,api)", False),
        ("missing notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("empty=", True),
        ("empty", True),
        ("missing=", False),
        ("app in (web,)", True),
        ("example.com/size>9", True),
        ("example.com/size<9", False),
        ("app>1", False),
        ("in", False),
        ("notin=x", False),
    ],
)
def test_labels_match(text: str, matches: bool) -> None:
    assert selectors.parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("app in web", "position 7"),
        ("app in (web", "position 11"),
        ("app=web tier=front", "position 8"),
        ("=x", "position 0"),
        ("app>ten", "position 7"),
        ("a,,b", "position 2"),
        ("app=we b", "position 7"),
        ("-a=b", "a name is"),
        ("UPPER.com/a=b", "DNS subdomain"),
        ("a=" + "v" * 64, "at most 63"),
        ("app=(", "position"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        selectors.parse_labels(text)
    assert place in str(caught.value)


@given(st.text(alphabet="ab=!,()<> in/.-", max_size=20))
def test_parsing_ends_in_a_selector_or_a_bad_request(text: str) -> None:
    try:
        selectors.parse_labels(text).matches(LABELS)
    except BadRequest:
        pass


def test_an_index_is_offered_what_is_fixed() -> None:
    assert selectors.parse_labels("a=b,c in (d),e in (f,g),!h,i!=j").exact() == [("a", "b"), ("c", "d")]


def test_a_selector_can_be_an_object() -> None:
    expressions = [{"key": "tier", "operator": "In", "values": ["front"]}, {"key": "x", "operator": "DoesNotExist"}]
    assert selectors.from_object({"matchLabels": {"app": "web"}, "matchExpressions": expressions}).matches(LABELS)
    assert not selectors.from_object({"matchLabels": {"app": "api"}}).matches(LABELS)
    with pytest.raises(BadRequest):
        selectors.from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("status.phase=Running", True),
        ("status.phase!=Running", False),
        ("metadata.name==p,metadata.namespace=default", True),
        ("spec.nodeName=", True),
        ("spec.hostNetwork=true", True),
    ],
)
def test_fields_match(text: str, matches: bool) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"hostNetwork": True},
        "status": {"phase": "Running"},
    }
    assert selectors.parse_fields(text, POD).matches(pod) is matches


def test_a_value_may_hold_a_comma_if_escaped() -> None:
    event = {"metadata": {}, "reason": "a,b", "source": {"component": "node"}}
    assert selectors.parse_fields("reason=a\\,b,source=node", EVENT).matches(event)


def test_a_field_that_a_kind_cannot_be_selected_by_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"not supported: \"data\.x\" of configmaps"):
        selectors.parse_fields("data.x=1", CONFIG_MAP)
    with pytest.raises(BadRequest, match="invalid field selector"):
        selectors.parse_fields("data", CONFIG_MAP)
