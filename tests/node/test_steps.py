"""Ordered steps: a TaskRun's pod, as Tekton's entrypoint would run it."""

from __future__ import annotations

import json
from typing import Any

from funcs.api import meta
from pipelines.steps import entrypoint
from pipelines.steps.entrypoint import Step, args_for, placed
from tests.node.harness import IMAGE, World, container_status, terminated

SHARED = ("bin", "steps", "workspace", "home", "results", "scripts")


def taskrun(scripts: list[str], sidecars: list[dict[str, Any]] | None = None, **settings: Any) -> dict[str, Any]:
    """A pod as `pipelines.steps.pod` makes them: one step per script."""
    count = len(scripts)
    names = [*SHARED, *(f"run-{index}" for index in range(count))]
    mounts = [
        {"name": "tekton-internal-results", "mountPath": "/tekton/results"},
        {"name": "tekton-internal-steps", "mountPath": "/tekton/steps", "readOnly": True},
        {"name": "tekton-internal-workspace", "mountPath": "/workspace"},
        {"name": "tekton-internal-scripts", "mountPath": "/tekton/scripts", "readOnly": True},
        *({"name": f"tekton-internal-run-{index}", "mountPath": f"/tekton/run/{index}"} for index in range(count)),
    ]
    files = {f"/tekton/scripts/script-{index}": text for index, text in enumerate(scripts)}
    steps = []
    for index in range(count):
        given = settings.get(f"step{index}", {})
        step = placed(index, Step(command=f"/tekton/scripts/script-{index}", results=("word",), **given))
        args = args_for(step)
        steps.append({
            "name": f"step-s{index}", "image": IMAGE, "command": [entrypoint.BINARY], "args": args,
            "workingDir": "/workspace/deep", "volumeMounts": mounts,
        })  # fmt: skip
    return {
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "prepare", "image": "nowhere/none", "command": ["/ko-app/entrypoint"]},
            {
                "name": "place-scripts",
                "image": "nowhere/none",
                "command": ["sh"],
                "args": entrypoint.place_scripts(files),
            },
        ],
        "containers": [*steps, *(sidecars or [])],
        "volumes": [{"name": f"tekton-internal-{name}", "emptyDir": {}} for name in names],
    }


async def create(world: World, spec: dict[str, Any]) -> None:
    await world.create("tr", spec, {entrypoint.ORDERED_STEPS: "true"})


def message(pod: dict[str, Any], step: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(terminated(pod, step)["message"])
    return found


async def test_steps_run_in_order_and_share_their_workspace_and_results(world: World) -> None:
    scripts = [
        "#!/bin/sh\necho one > /workspace/deep/file; printf value > /tekton/results/word\n",
        "#!/bin/sh\ncat file; cat /tekton/steps/step-s0/exitCode; echo; ls /tekton/run/0\n",
    ]
    await create(world, taskrun(scripts))
    pod = await world.phase("tr", "Succeeded")
    assert world.log(pod, "step-s1") == "one\n0\nout\nstatus\n"
    assert {"key": "word", "value": "value", "type": 1} in message(pod, "step-s0")
    first, second = container_status(pod, "step-s0"), container_status(pod, "step-s1")
    assert first["state"]["terminated"]["finishedAt"] <= second["state"]["terminated"]["startedAt"]
    assert "initContainerStatuses" not in meta.status(pod)


async def test_a_failing_step_keeps_the_next_ones_from_running(world: World) -> None:
    await create(world, taskrun(["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho never\n"]))
    pod = await world.phase("tr", "Failed")
    assert terminated(pod, "step-s0")["exitCode"] == 3
    assert terminated(pod, "step-s1")["exitCode"] == 1
    assert {"key": "Reason", "value": "Skipped", "type": 3} in message(pod, "step-s1")
    assert world.log(pod, "step-s1") == "Skipping step because a previous step failed\n"


async def test_on_error_continue_goes_on_and_tells_the_real_code(world: World) -> None:
    await create(
        world,
        taskrun(["#!/bin/sh\nexit 3\n", "#!/bin/sh\ncat /tekton/steps/0/exitCode\n"], step0={"on_error": "continue"}),
    )
    pod = await world.phase("tr", "Succeeded")
    assert terminated(pod, "step-s0")["exitCode"] == 0
    assert {"key": "ExitCode", "value": "3", "type": 3} in message(pod, "step-s0")
    assert world.log(pod, "step-s1").strip() == "3"


async def test_a_step_that_takes_too_long_is_ended(world: World) -> None:
    await create(world, taskrun(["#!/bin/sh\nsleep 60\n", "#!/bin/sh\necho never\n"], step0={"timeout": 0.2}))
    pod = await world.phase("tr", "Failed")
    assert terminated(pod, "step-s0")["exitCode"] == 1
    assert {"key": "Reason", "value": "TimeoutExceeded", "type": 3} in message(pod, "step-s0")


async def test_sidecars_start_before_the_steps_and_end_after_them(world: World) -> None:
    sidecar = {
        "name": "sidecar-web", "image": IMAGE,
        "command": ["/bin/sh", "-c", "touch /workspace/up; while :; do sleep 0.05; done"],
        "volumeMounts": [{"name": "tekton-internal-workspace", "mountPath": "/workspace"}],
    }  # fmt: skip
    await create(world, taskrun(["#!/bin/sh\nsleep 0.1; ls /workspace\n"], [sidecar]))
    pod = await world.phase("tr", "Succeeded")
    assert "up" in world.log(pod, "step-s0")
    assert terminated(pod, "sidecar-web")["exitCode"] in (143, 137)
