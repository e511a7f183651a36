"""The laws of server-side apply."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcs.api import apply
from funcs.api.meta import Object
from funcs.errors import Conflict

names = st.sampled_from(["a", "b", "c"])
leaves = st.integers(0, 2) | st.sampled_from(["x", "y"]) | st.lists(st.integers(0, 2), max_size=2)
maps = st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=2), max_size=3)
containers = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"image": st.sampled_from(["1", "2"]), "args": leaves}),
    max_size=3,
    unique_by=lambda item: item["name"],
)
specs = st.fixed_dictionaries({}, optional={"map": maps, "containers": containers})
managers = st.sampled_from(["one", "two", "three"])


def writer(manager: str, operation: Any = "Apply") -> apply.Writer:
    return apply.Writer(
        manager=manager, operation=operation, api_version="v1", subresource="", time="2026-01-01T00:00:00Z", native=True
    )


def config(spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": copy.deepcopy(spec)}


def live() -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}


def holds(value: Any, wanted: Any) -> bool:
    """Whether all that was applied is there."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(name in value and holds(value[name], wanted[name]) for name in wanted)
    if wanted == [] and value and isinstance(value[0], dict):
        return True  # no wish about the items of a merged list
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        by_name = {item["name"]: item for item in value}
        return all(item["name"] in by_name and holds(by_name[item["name"]], item) for item in wanted)
    return bool(value == wanted)


@given(st.lists(st.tuples(managers, specs), max_size=6), managers, specs)
def test_all_that_is_applied_is_there(history: list[tuple[str, Any]], manager: str, spec: Any) -> None:
    obj = live()
    for who, what in history:
        obj = apply.applied(obj, config(what), writer(who), force=True)
    assert holds(apply.applied(obj, config(spec), writer(manager), force=True)["spec"], spec)


@given(st.lists(st.tuples(managers, specs), min_size=1, max_size=6))
def test_applying_again_changes_nothing(history: list[tuple[str, Any]]) -> None:
    obj = live()
    for who, what in history:
        obj = apply.applied(obj, config(what), writer(who), force=True)
    assert apply.applied(obj, config(history[-1][1]), writer(history[-1][0]), force=True) == obj


@given(specs, specs)
def test_a_lone_manager_decides_alone(first: Any, second: Any) -> None:
    obj = apply.applied(live(), config(first), writer("one"), force=True)
    again = apply.applied(obj, config(second), writer("one"), force=True)
    fresh = apply.applied(live(), config(second), writer("one"), force=True)
    assert canonical(again["spec"]) == canonical(fresh["spec"])


@given(specs, specs)
def test_another_managers_part_survives_one_that_gives_up_everything(mine: Any, others: Any) -> None:
    obj = apply.applied(live(), config(mine), writer("one"), force=True)
    obj = apply.applied(obj, config(others), writer("two"), force=True)
    assert holds(apply.applied(obj, config({}), writer("one"), force=True)["spec"], others)


@given(specs, specs)
def test_arguments_are_not_changed(first: Any, second: Any) -> None:
    obj = apply.applied(live(), config(first), writer("one"), force=True)
    before, given_config = copy.deepcopy(obj), config(second)
    apply.applied(obj, given_config, writer("two"), force=True)
    assert (obj, given_config) == (before, config(second))


def test_an_update_takes_over_what_it_changes() -> None:
    obj = apply.applied(live(), config({"map": {"a": 1, "b": 1}}), writer("one"), force=True)
    new = copy.deepcopy(obj)
    new["spec"]["map"]["a"] = 2
    obj = apply.updated(obj, new, writer("kubectl-edit", "Update"))
    with pytest.raises(Conflict) as caught:
        apply.applied(obj, config({"map": {"a": 1, "b": 1}}), writer("one"), force=False)
    assert [(cause.message, cause.path) for cause in caught.value.causes] == [
        ('conflict with "kubectl-edit"', ".spec.map.a")
    ]
    kept = apply.applied(obj, config({"map": {"b": 1}}), writer("one"), force=True)
    assert kept["spec"]["map"] == {"a": 2, "b": 1}


def test_a_conflict_names_the_item_of_a_list() -> None:
    obj = apply.applied(live(), config({"containers": [{"name": "a", "image": "1"}]}), writer("one"), force=True)
    with pytest.raises(Conflict) as caught:
        apply.applied(obj, config({"containers": [{"name": "a", "image": "2"}]}), writer("two"), force=False)
    assert caught.value.causes[0].path == '.spec.containers[name="a"].image'


def test_agreeing_is_no_conflict_and_makes_co_owners() -> None:
    obj = apply.applied(live(), config({"map": {"a": 1}}), writer("one"), force=True)
    obj = apply.applied(obj, config({"map": {"a": 1}}), writer("two"), force=False)
    assert [entry["manager"] for entry in obj["metadata"]["managedFields"]] == ["one", "two"]


def canonical(value: Any) -> Any:
    """Without empty maps, and merged lists in order of names: what managers can tell apart."""
    if isinstance(value, dict):
        pruned = {name: canonical(inner) for name, inner in value.items()}
        return {name: inner for name, inner in pruned.items() if inner not in ({}, [])}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted((canonical(item) for item in value), key=lambda item: str(item["name"]))
    return value
