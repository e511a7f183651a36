"""Pods run: exit codes, output, environment, restarts, and nothing is left behind."""

from __future__ import annotations

import json

from funcs.api import core, meta
from tests.node.harness import IMAGE, World, container_status, state, terminated


async def test_a_pod_runs_to_its_end_and_says_how(world: World) -> None:
    await world.run("good", "echo hello; echo oops >&2")
    pod = await world.phase("good", "Succeeded")
    assert terminated(pod)["exitCode"] == 0
    assert terminated(pod)["reason"] == "Completed"
    assert world.log(pod) in ("hello\noops\n", "oops\nhello\n")
    assert container_status(pod)["imageID"].startswith("localhost:7500/test/sh@sha256:")


async def test_a_failing_pod_fails_with_its_exit_code(world: World) -> None:
    await world.run("bad", "exit 7")
    pod = await world.phase("bad", "Failed")
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (7, "Error")


async def test_a_program_that_is_not_there_is_a_start_error(world: World) -> None:
    await world.create(
        "none", {"restartPolicy": "Never", "containers": [{"name": "main", "image": IMAGE, "command": ["/nope"]}]}
    )
    pod = await world.phase("none", "Failed")
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (128, "StartError")
    assert "nope" in terminated(pod)["message"]


async def test_an_image_that_is_not_there_backs_off_and_says_so(world: World) -> None:
    await world.create("lost", {"containers": [{"name": "main", "image": "localhost:7500/test/none:1"}]})
    pod = await world.until(
        "lost", lambda pod: "waiting" in state(pod) and state(pod)["waiting"]["reason"] == "ErrImagePull"
    )
    assert "not found" in state(pod)["waiting"]["message"]
    await world.delete("lost")


async def test_environment_command_and_arguments_are_made_as_the_kubelet_makes_them(world: World) -> None:
    world.client.seed(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cm", "namespace": "default"},
            "data": {"A": "1"},
        }
    )
    await world.run(
        "env",
        'echo "$COLOUR $A $B $NAME $(echo $0)"; echo $KUBERNETES_SERVICE_PORT',
        args=["$(B)-$(UNKNOWN)-$$(B)"],
        envFrom=[{"configMapRef": {"name": "cm"}}],
        env=[
            {"name": "B", "value": "$(A)2"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    )
    pod = await world.phase("env", "Succeeded")
    assert world.log(pod) == "blue 1 12 env 12-$(UNKNOWN)-$(B)\n7443\n"


async def test_a_crashing_container_is_restarted_at_once_and_then_backs_off(world: World) -> None:
    await world.run("crash", "echo once more; exit 1", restartPolicy="Always")
    pod = await world.until(
        "crash", lambda pod: state(pod).get("waiting", {}).get("reason") == "CrashLoopBackOff", "backing off"
    )
    assert container_status(pod)["restartCount"] == 1
    assert container_status(pod)["lastState"]["terminated"]["exitCode"] == 1
    assert world.log(pod, file="previous") == "once more\n"
    await world.delete("crash")


async def test_the_port_is_the_nodes_choice_and_is_published(world: World) -> None:
    await world.run("port", "echo $PORT", ports=[{"containerPort": 8080}], env=[{"name": "PORT", "value": "8080"}])
    pod = await world.phase("port", "Succeeded")
    ports = json.loads(meta.annotations(pod)["node.funcs.dev/ports"])
    assert world.log(pod) == f"{ports['8080']}\n"
    assert meta.status(pod)["podIP"] == "127.0.0.1"


async def test_init_containers_run_first_one_after_the_other(world: World) -> None:
    share = [{"name": "work", "mountPath": "/shared"}]

    def made(name: str, script: str) -> dict[str, object]:
        return {"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", script], "volumeMounts": share}

    spec = {
        "restartPolicy": "Never",
        "volumes": [{"name": "work", "emptyDir": {}}],
        "initContainers": [
            made("one", "echo 1 > /shared/a"),
            made("two", "cat /shared/a > /shared/b; echo 2 >> /shared/b"),
        ],
        "containers": [made("main", "cat /shared/b")],
    }
    await world.create("inits", spec)
    pod = await world.phase("inits", "Succeeded")
    assert world.log(pod) == "1\n2\n"


async def test_deleting_a_pod_stops_it_gracefully_and_removes_it(world: World) -> None:
    made = await world.run("long", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await world.until("long", lambda pod: "running" in state(pod), "running")
    await world.delete("long")
    assert not world.directory(made).exists()


async def test_a_container_that_does_not_listen_is_killed_after_its_grace(world: World) -> None:
    await world.run("deaf", "trap '' TERM; while :; do sleep 0.05; done")
    await world.until("deaf", lambda pod: "running" in state(pod), "running")
    await world.delete("deaf")


async def test_a_settled_pod_costs_no_writes(world: World) -> None:
    await world.run("quiet", "sleep 60")
    await world.until("quiet", lambda pod: "running" in state(pod) and container_status(pod)["ready"], "ready")
    assert world.node is not None
    worker = next(iter(world.node._workers.values()))
    world.client.take_writes()
    for _ in range(3):
        worker.update(await world.client.get(core.POD, "quiet", "default"))
        await world.until("quiet", lambda pod: not worker._changed.is_set(), "looked at")
    assert [write for write in world.client.take_writes() if write.kind == core.POD] == []
