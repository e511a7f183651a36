"""kill -9 of whatever watches over pods."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from funcs.api import meta
from runtimes.cluster.node.cleanup import stop_all
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


async def test_containers_and_shims_hold_no_descriptors_but_their_own(world: World, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, (tmp_path / "ours").open("w") as file:
        for each in (ours.fileno(), file.fileno()):
            os.set_inheritable(each, True)  # as the supervisor's listeners are, for its parts
        pod = await world.run("bare", "ls /proc/self/fd; while true; do sleep 0.05; done", restartPolicy="Always")
        await world.until("bare", lambda pod: world.directory(pod).joinpath("main/log").exists(), "started")
        async with asyncio.timeout(8):
            while len(world.log(pod).split()) < 4:
                await asyncio.sleep(0.01)
        assert sorted(world.log(pod).split()) == ["0", "1", "2", "3"], "3 is the directory that ls reads"
        record = read_record(world.directory(pod))
        assert record is not None
        held = [str(each.readlink()) for each in Path(f"/proc/{record.pid}/fd").iterdir()]
        sockets = [each for each in held if each.startswith("socket:")]
        files = [each for each in held if each.startswith("/") and each != "/dev/null"]
        assert f"socket:[{os.fstat(ours.fileno()).st_ino}]" not in sockets
        assert len(sockets) == 2, "its listener and the node's connection"
        assert files == [f"{world.directory(pod)}/main/log"]
    await world.delete("bare")


async def test_ten_pods_are_stopped_gracefully_side_by_side(world: World) -> None:
    script = "trap 'sleep 0.5; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    pods = [await world.run(f"pod-{number}", script, restartPolicy="Always") for number in range(10)]
    for pod in pods:
        await world.until(meta.name(pod), lambda found: container_status(found).get("ready"), "ready")
        async with asyncio.timeout(8):
            while not world.log(pod):
                await asyncio.sleep(0.01)
    await world.stop()
    began = asyncio.get_running_loop().time()
    assert await asyncio.to_thread(stop_all, world.settings.state, 5.0) == 10
    assert 0.5 <= asyncio.get_running_loop().time() - began < 3.0
