"""A pod's state read as a TaskRun's condition, for pods that do not simply end."""

from __future__ import annotations

from typing import Any

import pytest

from funcs.api.meta import Object
from pipelines.steps import status as reading

SPEC: Object = {"steps": [{"name": "a", "image": "i"}]}
ENDED = {"terminated": {"exitCode": 0, "finishedAt": "2024-01-01T00:00:00Z"}}


def pod(
    state: Object | None = None, *, phase: str = "Running", others: list[Object] | None = None, **status: Any
) -> Object:
    found: Object = {"phase": phase, **status}
    if state is not None:
        found["containerStatuses"] = [{"name": "step-a", "state": state}, *(others or [])]
    containers = [{"name": "step-a", "image": "i"}, *({"name": other["name"]} for other in others or [])]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers}, "status": found}


def ended(code: int, reason: str = "Error") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2024-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("pod", "outcome"),
    [
        pytest.param({"spec": {"containers": [{"name": "step-a"}]}}, ("Unknown", "Running", reading.RUNNING), id="new"),
        pytest.param(
            pod({"waiting": {"reason": "ContainerCreating", "message": "mounting"}}, phase="Pending"),
            ("Unknown", "Pending", 'build step "step-a" is pending with reason "mounting"'),
            id="waiting",
        ),
        pytest.param(
            pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}]),
            ("Unknown", "Pending", 'pod status "PodScheduled":"False"; message: "no node"'),
            id="not scheduled",
        ),
        pytest.param(
            pod({"waiting": {"reason": "ErrImagePull", "message": "try"}}, phase="Pending"),
            ("Unknown", "PullImageFailed", 'build step "step-a" is pending with reason "try"'),
            id="pulling again",
        ),
        pytest.param(
            pod({"waiting": {"reason": "CreateContainerConfigError"}}, phase="Pending"),
            ("False", "CreateContainerConfigError", "Failed to create pod due to config error"),
            id="misconfigured",
        ),
        pytest.param(
            pod(phase="Failed", reason="Evicted", message="disk is full"),
            ("False", "PodEvicted", "disk is full"),
            id="evicted",
        ),
        pytest.param(
            pod(ended(137, "OOMKilled"), phase="Failed"),
            ("False", "StepOOM", '"step-a" exited with code 137'),
            id="out of memory",
        ),
        pytest.param(
            pod(phase="Failed", initContainerStatuses=[{"name": "prepare", "state": ended(2)}]),
            ("False", "InitContainerFailed", 'init container failed, "prepare" exited with code 2'),
            id="init container failed",
        ),
        pytest.param(
            pod(phase="Failed", message="deadline exceeded"), ("False", "Failed", "deadline exceeded"), id="pod failed"
        ),
        pytest.param(
            pod(ENDED, others=[{"name": "sidecar-db", "state": ended(1)}]),
            ("True", "Succeeded", reading.SUCCEEDED),
            id="a sidecar stopped with its pod is no failure",
        ),
    ],
)
def test_the_condition_of_a_pod(pod: Object, outcome: tuple[str, str, str]) -> None:
    found = reading.read(pod, SPEC, run="r").outcome
    assert (found.status, found.reason, found.message) == outcome


@pytest.mark.parametrize(
    ("state", "ready", "expected"),
    [
        ({"running": {}}, True, True),
        ({"running": {}}, False, False),
        (ended(0), False, True),
        ({"waiting": {}}, False, False),
    ],
)
def test_steps_begin_when_every_sidecar_is_up_or_over(state: Object, ready: bool, expected: bool) -> None:
    sidecar = {"name": "sidecar-db", "state": state, "ready": ready}
    assert reading.ready_to_start(pod({"waiting": {}}, others=[sidecar])) is expected


def test_a_step_that_never_began_is_cut_short_too() -> None:
    steps = [{"name": "a", "running": {"startedAt": "x"}}, {"name": "b", "waiting": {}}, {"name": "c", **ENDED}]
    cut = reading.cut_short(steps, pod="p", reason="TaskRunTimeout", now=0)
    assert [(step["terminated"].get("startedAt"), step["terminated"]["exitCode"]) for step in cut] == [
        ("x", 1),
        (None, 1),
        (None, 0),
    ]
