"""`kill -9` of any of the platform's processes: it is restarted, functions go on, nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import signal

import httpx
import pytest

from tests.scenarios.cluster import CONFIG_MAPS, SERVICES, Cluster, eventually, ready
from tests.scenarios.traces import with_descendants
from tests.scenarios.traffic import Load, Recorder, Until, persistently

KILLS = 3


@pytest.mark.parametrize("part", ["control", "node", "broker"])
def test_functions_do_not_notice_the_death_of_a_part(victim: Cluster, part: str) -> None:
    before = victim.pods("who")
    with Load(victim, "who") as load:
        for _ in range(KILLS):
            victim.kill_and_await(part)
            load.until_more()
    assert load.failures == []
    assert list(load.answers) == [victim.call("who").who], "another process has answered"
    assert identity(victim.pods("who")) == identity(before)
    the_cluster_still_works(victim)


def test_connections_wait_while_the_gateway_restarts(victim: Cluster) -> None:
    with Load(victim, "who") as load:
        for _ in range(KILLS):
            victim.kill_and_await("gateway")
            load.until_more()
    assert len(load.failures) <= KILLS * load.loops, load.failures
    assert list(load.answers) == [victim.call("who").who], "another process has answered"
    the_cluster_still_works(victim)


def test_a_killed_supervisor_is_followed_by_one_that_adopts_all_parts(victim: Cluster) -> None:
    parts = victim.status().parts
    with Load(victim, "who") as load:
        for _ in range(KILLS):
            victim.kill_and_await("supervisor")
            load.until_more()
        assert load.failures == []
        assert victim.status().parts == parts, "parts were started again"
        victim.kill_and_await("gateway")  # the successor holds the listening sockets, too
        load.until_more()
    assert len(load.failures) <= load.loops, load.failures
    the_cluster_still_works(victim)


def test_the_rest_serves_on_without_supervisor_and_control_until_the_next_up(victim: Cluster) -> None:
    with Load(victim, "who") as load:
        victim.kill_together("control")
        assert not victim.status().up
        load.until_more()
        victim.funcs("up")
        load.until_more()
    assert load.failures == []
    the_cluster_still_works(victim)


def test_no_acknowledged_event_is_lost_when_the_broker_is_killed(victim: Cluster, recorder: Recorder) -> None:
    victim.subscribe("recorder", recorder.url)
    acknowledged: set[str] = set()

    def produce(number: int) -> None:
        persistently(lambda: victim.send(f"event-{number}"), 202)
        acknowledged.add(f"event-{number}")

    with Until(produce):
        for _ in range(KILLS + 2):
            wanted = len(acknowledged) + 40
            eventually("events are taken", lambda: len(acknowledged) >= wanted, 30)  # noqa: B023
            victim.kill_and_await("broker")
    eventually("every event has arrived", lambda: acknowledged <= set(recorder.seen), 30)


def test_no_acknowledged_write_is_lost_when_control_is_killed(victim: Cluster) -> None:
    acknowledged: dict[str, str] = {}

    def write(number: int) -> None:
        name = f"written-{number}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"number": str(number)}}
        try:
            answer = victim.api.post(CONFIG_MAPS, json=body)
        except httpx.TransportError:  # nothing was acknowledged
            return
        assert answer.status_code == 201, answer.text
        acknowledged[name] = answer.json()["metadata"]["uid"]

    with Until(write):
        for _ in range(KILLS + 2):
            wanted = len(acknowledged) + 40
            eventually("writes are taken", lambda: len(acknowledged) >= wanted, 30)  # noqa: B023
            victim.kill_and_await("control")
    kept = {each["metadata"]["name"]: each for each in victim.get(CONFIG_MAPS)["items"]}
    assert {name: kept[name]["metadata"]["uid"] for name in acknowledged if name in kept} == acknowledged
    assert all(kept[name]["data"] == {"number": name.removeprefix("written-")} for name in acknowledged)


def test_a_function_that_is_killed_is_started_again_in_its_pod(victim: Cluster) -> None:
    before, pod = victim.call("who").who, victim.pods("who")[0]
    shim = json.loads((victim.places.pods / pod["metadata"]["uid"] / "shim.json").read_text())["pid"]
    for number in with_descendants([shim]) - {shim}:
        os.kill(number, signal.SIGKILL)
    eventually("another process answers", lambda: answers_by_another(victim, before))
    after = victim.pods("who")[0]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 1


def the_cluster_still_works(cluster: Cluster) -> None:
    """A new Service gets a pod and an answer: API, controllers, node, gateway and autoscaler all do their part."""
    name = f"new-{len(cluster.get(SERVICES)['items'])}"
    cluster.serve(name, cluster.image("who"))
    assert ready(cluster.get(f"{SERVICES}/{name}"))
    assert cluster.call(name).status == 200


def answers_by_another(cluster: Cluster, before: str) -> bool:
    answer = cluster.call("who")
    return answer.status == 200 and answer.who != before


def identity(pods: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """What changes when a pod or a container of it is started again."""
    return [
        (pod["metadata"]["uid"], status["containerID"], status["restartCount"], status["state"])  # type: ignore[index]
        for pod in pods
        for status in pod["status"]["containerStatuses"]  # type: ignore[index]
    ]
