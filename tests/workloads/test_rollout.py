"""The arithmetic of a rolling update."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.cluster.workloads.rollout import Bounds, Share, bounds, recreate, rolling


@pytest.mark.parametrize(
    ("strategy", "desired", "expected"),
    [
        pytest.param(None, 4, Bounds(1, 1), id="a quarter each by default"),
        pytest.param(
            {"maxSurge": "25%", "maxUnavailable": "25%"}, 1, Bounds(1, 0), id="surge rounds up, the other down"
        ),
        pytest.param({"maxSurge": 0, "maxUnavailable": 0}, 3, Bounds(0, 1), id="never both zero"),
        pytest.param({"maxUnavailable": 0}, 1, Bounds(1, 0), id="Knative's choice"),
    ],
)
def test_bounds_are_absolute(strategy: object, desired: int, expected: Bounds) -> None:
    assert bounds(strategy, desired) == expected


def test_the_first_replica_set_gets_everything_at_once() -> None:
    assert rolling(5, Share("new", 0, 0), [], Bounds(1, 0)) == {"new": 5}


def test_scaling_to_zero_empties_every_set() -> None:
    assert rolling(0, Share("new", 3, 3), [Share("old", 1, 1)], Bounds(1, 0)) == {"new": 0, "old": 0}


def test_an_old_pod_stays_until_its_successor_is_available() -> None:
    old = [Share("old", 1, 1)]
    assert rolling(1, Share("new", 0, 0), old, Bounds(1, 0)) == {"new": 1, "old": 1}
    assert rolling(1, Share("new", 1, 0), old, Bounds(1, 0)) == {"new": 1, "old": 1}
    assert rolling(1, Share("new", 1, 1), old, Bounds(1, 0)) == {"new": 1, "old": 0}


def test_recreate_waits_for_the_old_pods_to_be_gone() -> None:
    old = [Share("old", 2, 2)]
    assert recreate(2, Share("new", 0, 0), old, old_pods=2) == {"new": 0, "old": 0}
    assert recreate(2, Share("new", 0, 0), [], old_pods=0) == {"new": 2}


@given(
    desired=st.integers(0, 12),
    new=st.integers(0, 12),
    old=st.lists(st.integers(0, 12), max_size=3),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
)
def test_a_rolling_update_ends_and_keeps_its_bounds(
    desired: int, new: int, old: list[int], surge: int, unavailable: int
) -> None:
    limits = Bounds(surge, unavailable) if surge or unavailable else Bounds(0, 1)
    counts = {"new": min(new, desired)} | {f"old{at}": number for at, number in enumerate(old)}
    for _ in range(200):
        shares = {name: Share(name, number, number) for name, number in counts.items()}
        olds = [share for name, share in shares.items() if name != "new"]
        wanted = rolling(desired, shares["new"], olds, limits)
        before, after = sum(counts.values()), sum(wanted.values())
        assert after <= max(before, desired + limits.surge)
        if any(counts[share.name] for share in olds):
            assert after >= min(before, desired - limits.unavailable)
        if wanted == counts:
            break
        counts = wanted
    assert counts == {"new": desired} | {share.name: 0 for share in olds}
