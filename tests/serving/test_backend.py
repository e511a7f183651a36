"""The gateway's bookkeeping of one revision, and its routing table: what always holds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from funcs.api.meta import Key, Object
from runtimes.serving.gateway.backend import Backend, Limits, Pod
from runtimes.serving.gateway.settings import GatewaySettings
from runtimes.serving.gateway.table import Table, entries_of

KEY = Key("default", "hello-00001")
MOVES = st.lists(st.tuples(st.sampled_from(("arrive", "leave", "pods", "give up")), st.integers(0, 7)), max_size=120)


class Asker:
    def __init__(self) -> None:
        self.pod: Pod | None = None

    def admitted(self, pod: Pod) -> None:
        self.pod = pod


@given(st.integers(0, 4), MOVES)
def test_no_pod_ever_has_more_than_it_allows_and_nobody_waits_beside_room(concurrency: int, moves: object) -> None:
    backend = Backend(KEY, Limits(concurrency=concurrency), lambda key: None, random.Random(1).random, 0.0)
    inside: list[Asker] = []
    for move, number in moves:  # type: ignore[attr-defined]
        if move == "arrive":
            asker = Asker()
            asker.pod = backend.take()
            if asker.pod is not None or backend.wait(asker):
                inside.append(asker)
        elif move == "leave" and (busy := [one for one in inside if one.pod is not None]):
            left = busy[number % len(busy)]
            inside.remove(left)
            backend.release(left.pod)  # type: ignore[arg-type]
        elif move == "pods":
            backend.set_addresses([("127.0.0.1", 1000 + one) for one in range(number)])
        elif move == "give up" and (waiting := [one for one in inside if one.pod is None]):
            inside.remove(waiting[0])
            backend.give_up(waiting[0])
        assert len(backend.waiting) == sum(one.pod is None for one in inside)
        for pod in backend.pods:
            assert pod.in_flight == sum(one.pod is pod for one in inside)
            assert concurrency == 0 or pod.in_flight <= concurrency
            assert not backend.waiting or 0 < concurrency <= pod.in_flight


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.floats(0, 0.9999))
def test_a_split_covers_every_point_in_proportion(weights: list[int], point: float) -> None:
    total = sum(weights)
    shares = [weight * 100 // total for weight in weights]
    shares[0] += 100 - sum(shares)
    target = dict(entries_of(route(shares)))[b"hello.default"]
    bounds = [sum(share for share in shares[: index + 1]) for index in range(len(shares))]
    expected = next(index for index, bound in enumerate(bounds) if point * 100 < bound)
    assert target.pick(point).name == f"hello-{expected}"


def test_a_route_that_changes_leaves_no_old_name_behind() -> None:
    table = Table(GatewaySettings())
    table.set(Key("default", "hello"), route([100], tag="old"))
    assert table.find(b"old-hello.default.localhost") is not None
    table.set(Key("default", "hello"), route([100]))
    assert table.find(b"old-hello.default.localhost") is None
    table.set(Key("default", "hello"), None)
    assert table.find(b"hello.default") is None
    assert len(table) == 0


def test_a_cluster_local_route_is_not_served_under_its_public_name() -> None:
    table = Table(GatewaySettings())
    local = route([100])
    local["metadata"]["labels"] = {"networking.knative.dev/visibility": "cluster-local"}
    table.set(Key("default", "hello"), local)
    assert table.find(b"hello.default.localhost") is None
    assert table.find(b"hello.default.svc.cluster.local") is not None


def route(shares: list[int], tag: str = "") -> Object:
    traffic: list[Object] = [{"revisionName": f"hello-{at}", "percent": share} for at, share in enumerate(shares)]
    if tag:
        traffic[0]["tag"] = tag
    return {"metadata": {"name": "hello", "namespace": "default"}, "status": {"traffic": traffic}}
