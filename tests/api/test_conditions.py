"""Ready is computed, never set by hand."""

import pytest

from funcs.api.conditions import Condition, ConditionSet, find, is_ready

READY = ConditionSet(("A", "B"))


@pytest.mark.parametrize(
    ("a", "b", "ready"),
    [
        pytest.param("True", "True", "True", id="all true"),
        pytest.param("True", "Unknown", "Unknown", id="one unknown"),
        pytest.param("Unknown", "False", "False", id="false outranks unknown"),
    ],
)
def test_the_happy_condition_follows_its_dependents(a: str, b: str, ready: str) -> None:
    marks = [Condition("A", a), Condition("B", b, "Why", "because")]  # type: ignore[arg-type]
    obj = {"status": {"conditions": READY.compute(marks, {}, 0.0)}}
    happy = find(obj, "Ready")
    assert happy is not None
    assert happy.status == ready
    assert happy.reason == ("Why" if b == ready != "True" else "")


def test_an_info_condition_takes_no_part() -> None:
    marks = [Condition("A", "True"), Condition("B", "True"), Condition("Active", "False", severity="Info")]
    assert find({"status": {"conditions": READY.compute(marks, {}, 0.0)}}, "Ready").status == "True"  # type: ignore[union-attr]


def test_the_transition_time_moves_only_with_content() -> None:
    marks = [Condition("A", "True"), Condition("B", "True")]
    before = {"status": {"conditions": READY.compute(marks, {}, 100.0)}}
    assert READY.compute(marks, before, 200.0) == before["status"]["conditions"]
    moved = READY.compute([Condition("A", "True"), Condition("B", "False", "Gone")], before, 200.0)
    assert {found["type"]: found["lastTransitionTime"] for found in moved} == {
        "A": "1970-01-01T00:01:40Z",
        "B": "1970-01-01T00:03:20Z",
        "Ready": "1970-01-01T00:03:20Z",
    }


def test_ready_demands_the_present_generation() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
    assert is_ready({"metadata": {"generation": 1}, "status": status})
    assert not is_ready({"metadata": {"generation": 2}, "status": status})
