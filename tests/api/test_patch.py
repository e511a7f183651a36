"""The laws of JSON patch and merge patch, and the directives of the strategic kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import patch, strategic
from funcs.errors import BadRequest, Invalid

scalars = st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(st.text("ab/~", max_size=2), values, max_size=3)
nullable = st.recursive(
    scalars | st.none(), lambda inner: st.dictionaries(st.text("ab", max_size=2), inner, max_size=3), max_leaves=8
)


class TestMerge:
    @pytest.mark.parametrize(  # RFC 7386, appendix A
        ("document", "change", "result"),
        [
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b"}, {"a": None}, {}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            (["a", "b"], ["c", "d"], ["c", "d"]),
            ({"a": "b"}, ["c"], ["c"]),
            ({"a": "foo"}, None, None),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
            ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
            ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ],
    )
    def test_the_examples_of_the_rfc(self, document: Any, change: Any, result: Any) -> None:
        assert patch.merge(document, change) == result

    @given(documents, nullable)
    def test_merging_twice_is_merging_once(self, document: Any, change: Any) -> None:
        once = patch.merge(document, change)
        assert patch.merge(once, change) == once

    @given(documents, nullable)
    def test_the_document_is_not_changed(self, document: Any, change: Any) -> None:
        before = copy.deepcopy(document)
        patch.merge(document, change)
        assert document == before

    @given(documents, documents)
    def test_a_difference_turns_one_into_the_other(self, old: Any, new: Any) -> None:
        assert patch.same(patch.merge(old, patch.difference(old, new)), new) or old == new

    @given(documents)
    def test_there_is_no_difference_to_itself(self, document: Any) -> None:
        assert patch.difference(document, document) == {}


def pointer(*steps: object) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


class TestJson:
    @pytest.mark.parametrize(  # RFC 6902, appendix A
        ("document", "operations", "result"),
        [
            ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
            ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
            ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["x"]}], {"foo": ["a", ["x"]]}),
            ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
            ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
            ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
            ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
            ({"f": [1, 2, 3]}, [{"op": "move", "from": "/f/0", "path": "/f/2"}], {"f": [2, 3, 1]}),
            ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
            ({"a/b": {"m~n": 1}}, [{"op": "test", "path": "/a~1b/m~0n", "value": 1}], {"a/b": {"m~n": 1}}),
            ({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}),
            ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ],
    )
    def test_the_operations(self, document: Any, operations: Any, result: Any) -> None:
        assert patch.apply_json(document, operations) == result

    @pytest.mark.parametrize(
        ("operation", "error", "words"),
        [
            ({"op": "remove", "path": "/x"}, Invalid, '"x" does not exist'),
            ({"op": "replace", "path": "/x", "value": 1}, Invalid, '"x" does not exist'),
            ({"op": "add", "path": "/x/y", "value": 1}, Invalid, '"x" does not exist'),
            ({"op": "add", "path": "/list/5", "value": 1}, Invalid, "no index 5"),
            ({"op": "add", "path": "/list/01", "value": 1}, Invalid, "not a list index"),
            ({"op": "remove", "path": "/list/-"}, Invalid, "not a list index"),
            ({"op": "add", "path": "list", "value": 1}, Invalid, "not a JSON pointer"),
            ({"op": "test", "path": "/one", "value": True}, Invalid, "the value there is another"),
            ({"op": "move", "from": "/list", "path": "/list/0"}, Invalid, "into itself"),
            ({"op": "remove", "path": ""}, Invalid, "whole document"),
            ({"op": "add", "path": "/one/x", "value": 1}, Invalid, "no object or list"),
            ({"op": "add", "path": "/x"}, BadRequest, 'lacks "value"'),
            ({"op": "twist", "path": "/x"}, BadRequest, '"twist" is not one of'),
            ("remove", BadRequest, "not an object"),
        ],
    )
    def test_what_does_not_fit_is_named(self, operation: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error) as caught:
            patch.apply_json({"list": [1], "one": 1}, [operation])
        assert words in str(caught.value)

    @given(documents, st.text("ab/~", max_size=3), values)
    def test_what_is_added_can_be_tested_and_removed(self, document: Any, name: str, value: Any) -> None:
        path = pointer(name)
        added = patch.apply_json(document, [{"op": "add", "path": path, "value": value}])
        assert patch.apply_json(added, [{"op": "test", "path": path, "value": value}]) == added
        removed = patch.apply_json(added, [{"op": "remove", "path": path}])
        assert removed == {key: kept for key, kept in document.items() if key != name}

    @given(documents, st.text("ab/~", max_size=3), values)
    def test_the_document_is_not_changed(self, document: Any, name: str, value: Any) -> None:
        before = copy.deepcopy(document)
        patch.apply_json(document, [{"op": "add", "path": pointer(name), "value": value}])
        assert document == before

    def test_too_many_operations_are_refused(self) -> None:
        with pytest.raises(BadRequest, match="10000 operations"):
            patch.apply_json({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)


POD = {
    "metadata": {"finalizers": ["a", "b"]},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "one",
                "args": ["x"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            },
            {"name": "side", "image": "two"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "k"}],
    },
}


def containers(*changes: Any, **more: Any) -> Any:
    return {"spec": {"containers": list(changes), **more}}


class TestStrategic:
    def test_items_merge_by_their_key(self) -> None:
        merged = strategic.merge(POD, containers({"name": "main", "env": [{"name": "B", "value": "3"}]}))
        assert merged["spec"]["containers"] == [
            {
                "name": "main",
                "image": "one",
                "args": ["x"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}],
            },
            {"name": "side", "image": "two"},
        ]

    def test_unknown_items_are_added(self) -> None:
        merged = strategic.merge(POD, containers({"name": "third", "image": "three"}))
        assert [item["name"] for item in merged["spec"]["containers"]] == ["main", "side", "third"]

    def test_items_are_deleted_by_directive(self) -> None:
        merged = strategic.merge(POD, containers({"name": "side", "$patch": "delete"}))
        assert [item["name"] for item in merged["spec"]["containers"]] == ["main"]

    def test_a_list_is_replaced_by_directive(self) -> None:
        merged = strategic.merge(POD, containers({"$patch": "replace"}, {"name": "only", "image": "one"}))
        assert merged["spec"]["containers"] == [{"name": "only", "image": "one"}]

    def test_a_map_is_replaced_or_emptied_by_directive(self) -> None:
        assert strategic.merge({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}) == {"a": {"c": 2}}
        assert strategic.merge({"a": {"b": 1}}, {"a": {"$patch": "delete"}}) == {"a": {}}

    def test_other_lists_are_one_value(self) -> None:
        merged = strategic.merge(POD, containers({"name": "main", "args": ["y"]}, tolerations=[{"key": "l"}]))
        assert merged["spec"]["containers"][0]["args"] == ["y"]
        assert merged["spec"]["tolerations"] == [{"key": "l"}]

    def test_kept_keys_name_the_ones_to_keep(self) -> None:
        change = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
        merged = strategic.merge(POD, {"spec": {"volumes": [change]}})
        assert merged["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]

    def test_scalars_are_taken_out_of_a_set(self) -> None:
        change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}
        assert strategic.merge(POD, change)["metadata"]["finalizers"] == ["b", "c"]

    def test_the_order_of_a_list_is_told_apart_from_its_items(self) -> None:
        change = containers(**{"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}]})
        del change["spec"]["containers"]
        merged = strategic.merge(POD, change)
        assert [item["name"] for item in merged["spec"]["containers"]] == ["side", "main"]

    def test_null_removes(self) -> None:
        assert "volumes" not in strategic.merge(POD, {"spec": {"volumes": None}})["spec"]

    @pytest.mark.parametrize(
        "change",
        [
            {"spec": {"$patch": "twist"}},
            {"spec": {"$unknown": 1}},
            {"spec": {"tolerations": [{"key": "k", "$patch": "delete"}]}},
        ],
    )
    def test_what_is_no_directive_is_refused(self, change: Any) -> None:
        with pytest.raises(BadRequest):
            strategic.merge(POD, change)

    def test_the_document_is_not_changed(self) -> None:
        before = copy.deepcopy(POD)
        strategic.merge(POD, containers({"name": "main", "env": [{"name": "A", "$patch": "delete"}]}))
        assert before == POD
