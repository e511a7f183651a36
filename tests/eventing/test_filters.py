"""Filters say what Knative's say, and the index says what asking every filter says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.eventing.filters import Index, compile_filter

EVENT = {"id": "1", "source": "/shop", "type": "order.placed", "subject": "a", "region": "eu"}


@pytest.mark.parametrize(
    ("legacy", "filters", "wanted"),
    [
        pytest.param(None, [], True, id="no filter wants everything"),
        pytest.param({"type": "order.placed"}, [], True, id="an equal attribute"),
        pytest.param({"type": "order.placed", "source": "/other"}, [], False, id="every attribute must be equal"),
        pytest.param({"region": ""}, [], True, id="the empty value asks for presence"),
        pytest.param({"tenant": ""}, [], False, id="an absent attribute is not present"),
        pytest.param({"type": "other"}, [{"exact": {"type": "order.placed"}}], True, id="filters override filter"),
        pytest.param({"type": "other"}, [], False, id="an empty list of filters leaves filter in force"),
        pytest.param(None, [{"exact": {"type": "order.placed"}}, {"prefix": {"source": "/x"}}], False, id="and"),
        pytest.param(None, [{"prefix": {"type": "order."}}], True, id="prefix"),
        pytest.param(None, [{"suffix": {"type": ".placed", "subject": "b"}}], False, id="suffix, all pairs"),
        pytest.param(None, [{"not": {"exact": {"tenant": "x"}}}], True, id="not of an absent attribute"),
        pytest.param(None, [{"any": [{"exact": {"subject": "b"}}, {"exact": {"region": "eu"}}]}], True, id="any"),
        pytest.param(
            None, [{"all": [{"any": [{"prefix": {"id": "2"}}]}, {"exact": {"region": "eu"}}]}], False, id="nested"
        ),
    ],
)
def test_a_filter_wants(legacy: dict[str, str] | None, filters: list[dict[str, Any]], wanted: bool) -> None:
    assert compile_filter(legacy, filters).matches(EVENT) is wanted


names = st.sampled_from(["type", "source", "subject"])
values = st.sampled_from(["a", "b", "ab"])
leaves = st.builds(
    lambda dialect, pairs: {dialect: pairs},
    st.sampled_from(["exact", "prefix", "suffix"]),
    st.dictionaries(names, values, min_size=1, max_size=2),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda found: {"not": found}, inner),
        st.builds(
            lambda kind, found: {kind: found}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)
        ),
    ),
    max_leaves=6,
)
events = st.dictionaries(names, values)


@given(st.lists(st.lists(expressions, max_size=2), max_size=8), events)
def test_the_index_answers_what_every_filter_answers(triggers: list[list[Any]], event: dict[str, str]) -> None:
    filters = [compile_filter(None, found) for found in triggers]
    index = Index(list(enumerate(filters)))
    assert sorted(index.match(event)) == [key for key, found in enumerate(filters) if found.matches(event)]


def test_the_index_asks_only_the_triggers_that_share_the_rarest_value() -> None:
    asked: list[int] = []
    filters = [compile_filter({"type": "t", "subject": str(number)}, []) for number in range(1000)]
    index = Index([(number, found) for number, found in enumerate(filters)])
    asked = index.match({"type": "t", "subject": "7"})
    assert asked == [7]
    assert max(len(found) for by_value in index._anchored.values() for found in by_value.values()) == 1
