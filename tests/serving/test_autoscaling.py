"""The autoscaler's decisions as tables: windows, wishes, bounds, the way to zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.serving import kpa
from runtimes.serving.activity import IS_ACTIVE, NO_TRAFFIC, QUEUED, TIMED_OUT, Before, Step, step
from runtimes.serving.kpa import Load, Panic, bounded, desire
from runtimes.serving.settings import AutoscalerSettings, Scaling, autoscaler_settings, scaling_of
from runtimes.serving.windows import Greatest, Window

CALM = Panic()


@pytest.mark.parametrize(
    ("scaling", "load", "panic", "pods"),
    [
        pytest.param(Scaling(), Load(0, 0, 1), CALM, 0, id="no load wants no pods"),
        pytest.param(Scaling(), Load(70, 70, 1), CALM, 1, id="a pod carries its target"),
        pytest.param(Scaling(), Load(71, 71, 1), CALM, 2, id="a little more wants another"),
        pytest.param(Scaling(), Load(0, 0, 8), CALM, 4, id="down by half at most"),
        pytest.param(Scaling(reachable=False), Load(0, 0, 8), CALM, 0, id="unreachable ones fall at once"),
        pytest.param(Scaling(max_up_rate=3), Load(7000, 7000, 2), CALM, 6, id="up by the rate at most"),
        pytest.param(Scaling(activation_scale=3), Load(1, 1, 0), CALM, 3, id="from zero to activation scale"),
        pytest.param(Scaling(activation_scale=3), Load(0, 0, 0), CALM, 0, id="activation scale needs load"),
        pytest.param(Scaling(), Load(70, 280, 1), CALM, 4, id="panic takes the short window"),
        pytest.param(Scaling(), Load(0, 0, 5), Panic(95, 5), 5, id="never fewer while panicking"),
        pytest.param(Scaling(), Load(0, 0, 5), Panic(30, 5), 2, id="panic is over after a stable window"),
    ],
)
def test_desire(scaling: Scaling, load: Load, panic: Panic, pods: int) -> None:
    assert desire(scaling, load, panic, now=100.0).pods == pods


def test_panic_is_prolonged_by_every_look_above_the_threshold() -> None:
    first = desire(Scaling(), Load(10, 200, 1), CALM, now=100)
    assert first.panic == Panic(100, 3)
    second = desire(Scaling(), Load(10, 200, 1), first.panic, now=110)
    assert second.panic == Panic(110, 3)


def test_a_restarted_autoscaler_panics_at_the_present_scale() -> None:
    assert kpa.starting(4, 100) == Panic(100, 4)
    assert kpa.starting(1, 100) == CALM


@pytest.mark.parametrize(
    ("capacity", "ready", "panic", "excess"),
    [(211, 3, 10.0, 79), (211, 1, 0.0, -111), (0, 1, 5.0, 0), (-1, 9, 0.0, -1)],
)
def test_excess_burst_capacity(capacity: float, ready: int, panic: float, excess: float) -> None:
    assert desire(Scaling(burst_capacity=capacity), Load(0, panic, ready), CALM, 1).excess == excess


@pytest.mark.parametrize(
    ("scaling", "pods", "initialized", "wanted"),
    [
        pytest.param(Scaling(min_scale=2), 0, True, 2, id="not below min scale"),
        pytest.param(Scaling(min_scale=2, reachable=False), 0, True, 0, id="min scale is for reachable revisions"),
        pytest.param(Scaling(initial_scale=3), 0, False, 3, id="initial scale is a minimum until it was reached"),
        pytest.param(Scaling(initial_scale=3), 0, True, 0, id="and not after"),
        pytest.param(Scaling(max_scale=5), 9, True, 5, id="not above max scale"),
        pytest.param(Scaling(max_scale=0), 9, True, 9, id="max scale 0 is no limit"),
    ],
)
def test_bounds(scaling: Scaling, pods: int, initialized: bool, wanted: int) -> None:
    assert bounded(pods, scaling, initialized=initialized) == wanted


SLOW = Scaling(stable_window=60, grace=30)


@pytest.mark.parametrize(
    ("wanted", "ready", "before", "scaling", "expected"),
    [
        pytest.param(1, 0, Before(""), SLOW, Step(1, QUEUED), id="coming up"),
        pytest.param(1, 1, Before("Unknown", "Queued"), SLOW, Step(1, IS_ACTIVE), id="up"),
        pytest.param(0, 1, Before("True", "", 20), SLOW, Step(1, IS_ACTIVE, 40), id="active for less than a window"),
        pytest.param(0, 1, Before("True", "", 60), SLOW, Step(None, NO_TRAFFIC, 30), id="first inactive"),
        pytest.param(0, 1, Before("False", "NoTraffic", 10), SLOW, Step(None, NO_TRAFFIC, 20), id="then the grace"),
        pytest.param(0, 1, Before("False", "NoTraffic", 30), SLOW, Step(0, NO_TRAFFIC), id="then zero"),
        pytest.param(
            0, 1, Before("False", "NoTraffic", 30), Scaling(retention=100), Step(None, NO_TRAFFIC, 70), id="retention"
        ),
        pytest.param(
            0, 1, Before("False", "NoTraffic", 30), Scaling(retention=100, reachable=False), Step(0, NO_TRAFFIC),
            id="no retention when unreachable",
        ),
        pytest.param(1, 0, Before("Unknown", "Queued", 630), SLOW, Step(0, TIMED_OUT), id="never came up"),
        pytest.param(2, 0, Before("False", "NoTraffic", 5), SLOW, Step(2, QUEUED), id="wanted again"),
    ],
)  # fmt: skip
def test_the_way_to_zero(wanted: int, ready: int, before: Before, scaling: Scaling, expected: Step) -> None:
    assert step(wanted, ready, before, scaling, initialized=True) == expected


def test_a_window_that_is_not_full_is_averaged_over_what_has_passed() -> None:
    window = Window(60)
    window.record(100, 4)
    assert window.average(100, 60) == 4
    assert window.average(103, 60) == 1
    assert window.average(160, 60) == 0


def test_a_window_starts_anew_after_a_silence() -> None:
    window = Window(6)
    window.record(100, 6)
    window.record(200, 3)
    assert window.average(200, 6) == 3


def test_reports_of_several_gateways_in_one_second_add_up() -> None:
    window = Window(6)
    window.record(100.1, 2)
    window.record(100.9, 3)
    assert window.average(100.9, 6) == 5


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1000)), min_size=1, max_size=60), st.integers(1, 60))
def test_an_average_lies_between_nothing_and_the_greatest_second(steps: list[tuple[float, float]], size: int) -> None:
    window, now, seconds = Window(60), 1000.0, dict[int, float]()
    for pause, value in steps:
        now += pause
        window.record(now, value)
        seconds[int(now)] = seconds.get(int(now), 0.0) + value
    assert 0 <= window.average(now, size) <= max(seconds.values()) * 1.0001


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 50)), min_size=1, max_size=50))
def test_scaling_down_waits_for_its_delay(steps: list[tuple[float, int]]) -> None:
    greatest, now, seen = Greatest(10), 0.0, list[tuple[float, int]]()
    for pause, value in steps:
        now += pause
        seen.append((now, value))
        assert greatest.of(now, value) == max(wish for at, wish in seen if at >= now - 10)


@given(st.integers(0, 200), st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 50))
def test_wishes_stay_within_the_rates(ready: int, stable: float, panic: float, most: int) -> None:
    scaling = Scaling(max_scale=most, max_up_rate=10)
    pods = desire(scaling, Load(stable, panic, ready), CALM, 1.0).pods
    assert max(1, ready) // 2 <= pods <= 10 * max(1, ready)
    assert most == 0 or bounded(pods, scaling, initialized=True) <= most


def test_annotations_override_the_config_map_which_overrides_the_defaults() -> None:
    settings = autoscaler_settings(
        {"stable-window": "30s", "scale-to-zero-grace-period": "1s", "container-concurrency-target-percentage": "50"},
        AutoscalerSettings(),
    )
    found = scaling_of(
        {
            "metadata": {
                "annotations": {"autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/minScale": "2"}
            },
            "spec": {"containerConcurrency": 10, "reachability": "Reachable"},
        },
        settings,
        600,
    )
    assert (found.stable_window, found.grace, found.min_scale, found.total, found.target) == (6, 1, 2, 10, 5)
    assert found.panic_window == 1
    assert found.reachable is True


def test_a_value_that_cannot_be_read_keeps_the_default() -> None:
    assert (
        autoscaler_settings({"stable-window": "soon", "max-scale": "x"}, AutoscalerSettings()) == AutoscalerSettings()
    )
