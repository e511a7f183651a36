"""So many pods of one template, and never one too many."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtimes.cluster.workloads import replicasets


def replica_set(replicas: int) -> dict[str, Any]:
    return {"metadata": {"name": "hello-abc", "namespace": "default", "uid": "u1"}, "spec": {"replicas": replicas}}


def pod(name: str, *, ready: bool = True, phase: str = "Running", deleting: bool = False) -> dict[str, Any]:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {})
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


def test_missing_pods_get_the_lowest_free_slots() -> None:
    wanted = replica_set(3)
    present = [pod(replicasets.pod_name(wanted, 1))]
    assert replicasets.missing(wanted, present) == [replicasets.pod_name(wanted, 0), replicasets.pod_name(wanted, 2)]


def test_a_stale_cache_asks_for_the_same_pod_again() -> None:
    assert replicasets.missing(replica_set(1), []) == replicasets.missing(replica_set(1), [])


def test_a_finished_pod_is_replaced_under_another_name() -> None:
    wanted = replica_set(1)
    first = replicasets.pod_name(wanted, 0)
    assert replicasets.missing(wanted, [pod(first, phase="Failed")]) == [replicasets.pod_name(wanted, 1)]


def test_a_pod_on_its_way_out_is_replaced_and_not_deleted_again() -> None:
    wanted = replica_set(1)
    leaving = pod(replicasets.pod_name(wanted, 0), deleting=True)
    assert replicasets.missing(wanted, [leaving]) == [replicasets.pod_name(wanted, 1)]
    assert replicasets.surplus(wanted, [leaving]) == []


def test_pods_that_are_not_ready_go_first() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c")]
    assert [found["metadata"]["name"] for found in replicasets.surplus(replica_set(2), pods)] == ["b"]


@given(st.integers(0, 6), st.lists(st.booleans(), max_size=8))
def test_missing_and_surplus_make_up_the_wanted_number(replicas: int, readiness: list[bool]) -> None:
    wanted = replica_set(replicas)
    pods = [pod(replicasets.pod_name(wanted, slot), ready=ready) for slot, ready in enumerate(readiness)]
    made, extra = replicasets.missing(wanted, pods), replicasets.surplus(wanted, pods)
    assert len(pods) + len(made) - len(extra) == replicas
    assert not made or not extra
