"""kill -9 of whatever watches over pods."""

from __future__ import annotations

import os
import signal

from funcs.api import meta
from runtimes.cluster.node.link import read_record
from tests.node.harness import World, container_status, state, terminated


async def test_pods_outlive_the_node_and_are_taken_over_by_the_next(world: World) -> None:
    made = await world.run(
        "steady", "echo up; while [ ! -e /tmp/none ] && sleep 0.05; do :; done", restartPolicy="Always"
    )
    before = await world.until("steady", lambda pod: "running" in state(pod), "running")
    record = read_record(world.directory(made))
    await world.stop()
    assert record is not None
    assert record.is_alive()
    await world.start()
    after = await world.until("steady", lambda pod: container_status(pod).get("ready"), "ready")
    assert state(after)["running"]["startedAt"] == state(before)["running"]["startedAt"]
    assert container_status(after)["restartCount"] == 0
    assert read_record(world.directory(made)) == record
    await world.delete("steady")


async def test_an_end_that_happened_while_no_node_watched_is_reported(world: World) -> None:
    await world.run("brief", "sleep 0.4; echo done; exit 4")
    await world.until("brief", lambda pod: "running" in state(pod), "running")
    await world.stop()
    await world.start()
    pod = await world.phase("brief", "Failed")
    assert terminated(pod)["exitCode"] == 4


async def test_a_killed_shim_takes_its_containers_along_and_they_are_started_again(world: World) -> None:
    made = await world.run("resilient", "echo $$; while sleep 0.05; do :; done", restartPolicy="Always")
    await world.until("resilient", lambda pod: "running" in state(pod), "running")
    record = read_record(world.directory(made))
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    pod = await world.until(
        "resilient",
        lambda pod: container_status(pod).get("restartCount") == 1 and "running" in state(pod),
        "running again",
    )
    assert container_status(pod)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    await world.delete("resilient")


async def test_a_killed_shim_fails_a_pod_that_must_not_restart(world: World) -> None:
    made = await world.run("once", "while sleep 0.05; do :; done")
    await world.until("once", lambda pod: "running" in state(pod), "running")
    record = read_record(world.directory(made))
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    pod = await world.phase("once", "Failed")
    assert meta.status(pod)["reason"] == "ShimKilled"
    assert terminated(pod)["exitCode"] == 137
