"""The decision table: what a pod needs next."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.steps.entrypoint import ORDERED_STEPS
from runtimes.cluster.node.decide import (
    Observed,
    Plan,
    Prepare,
    Problem,
    Remove,
    Seen,
    Skip,
    Start,
    Stop,
    Termination,
    decide,
)
from runtimes.cluster.node.status import pod_status

NOW = 1_700_000_000.0


def pod(*names: str, policy: str = "Always", **more: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "n", "uid": "u", **more.pop("metadata", {})}
    return {
        "metadata": metadata,
        "spec": {"restartPolicy": policy, "containers": [{"name": name} for name in names], **more},
    }


def seen(prepared: bool = True, **containers: Seen) -> Observed:
    return Observed(
        containers={name.replace("_", "-"): each for name, each in containers.items()},
        prepared=prepared,
        began=NOW - 100,
    )


def ended(code: int, ago: float = 0.0, ran: float = 1.0) -> Termination:
    reason = "Error" if code else "Completed"
    return Termination(exit_code=code, reason=reason, started_at=NOW - ago - ran, finished_at=NOW - ago)


RUNNING = Seen(phase="running", attempt=0, started_at=NOW - 10, started=True, ready=True)
DONE = Seen(phase="exited", attempt=0, ended=ended(0))
FAILED = Seen(phase="exited", attempt=0, ended=ended(1))
DELETING = {"metadata": {"deletionTimestamp": "2023-11-14T22:13:20Z", "deletionGracePeriodSeconds": 5}}
ORDERED = {"metadata": {"annotations": {ORDERED_STEPS: "true"}}}


@pytest.mark.parametrize(
    ("asked", "observed", "plan"),
    [
        pytest.param(pod("a"), seen(False), Plan((Prepare(),)), id="a new pod is prepared"),
        pytest.param(pod("a", "b"), seen(), Plan((Start("a"), Start("b"))), id="all containers start at once"),
        pytest.param(pod("a"), seen(a=Seen(phase="starting")), Plan(), id="what is starting is not started twice"),
        pytest.param(pod("a"), seen(a=RUNNING), Plan(), id="what runs is left alone"),
        pytest.param(pod("a"), seen(a=DONE), Plan((Start("a"),)), id="the first restart is immediate"),
        pytest.param(pod("a", policy="Never"), seen(a=FAILED), Plan(), id="Never does not restart"),
        pytest.param(pod("a", policy="OnFailure"), seen(a=DONE), Plan(), id="OnFailure leaves success alone"),
        pytest.param(pod("a", policy="OnFailure"), seen(a=FAILED), Plan((Start("a"),)), id="OnFailure restarts"),
        pytest.param(
            pod("a"), seen(a=Seen(phase="exited", attempt=2, ended=ended(1, ago=5.0))), Plan(look_again=NOW + 15),
            id="the third restart waits 20 s",
        ),
        pytest.param(
            pod("a"), seen(a=Seen(phase="exited", attempt=9, ended=ended(1, ago=1.0))), Plan(look_again=NOW + 299),
            id="back-off ends at five minutes",
        ),
        pytest.param(
            pod("a"), seen(a=Seen(phase="exited", attempt=9, ended=ended(1, ran=700.0))), Plan((Start("a"),)),
            id="ten good minutes are forgiveness",
        ),
        pytest.param(
            pod("a"), seen(a=Seen(problem=Problem("ErrImagePull", "no", 2, NOW - 5))), Plan(look_again=NOW + 15),
            id="a pull that failed twice waits 20 s",
        ),
        pytest.param(
            pod("a", initContainers=[{"name": "i"}, {"name": "j"}]), seen(i=DONE), Plan((Start("j"),)),
            id="init containers run one after the other",
        ),
        pytest.param(
            pod("a", policy="Never", initContainers=[{"name": "i"}]), seen(i=FAILED), Plan(),
            id="a failed init container is the end where nothing restarts",
        ),
        pytest.param(
            pod("a"), seen(a=Seen(phase="running", attempt=0, sick="liveness")), Plan((Stop("a", 30.0, "liveness"),)),
            id="a container that is not alive is stopped",
        ),
        pytest.param(pod("a", **DELETING), seen(a=RUNNING), Plan((Stop("a", 5.0, "Killing"),)), id="deletion stops"),
        pytest.param(
            pod("a", **DELETING), seen(a=Seen(phase="running", attempt=0, stopping=True)), Plan(), id="but only once"
        ),
        pytest.param(pod("a", **DELETING), seen(a=DONE), Plan((Remove(),)), id="then removes"),
        pytest.param(
            pod("a", activeDeadlineSeconds=50), seen(a=RUNNING), Plan((Stop("a", 30.0, "Killing"),)), id="a deadline"
        ),
        pytest.param(
            pod("a", activeDeadlineSeconds=150), seen(a=RUNNING), Plan(look_again=NOW + 50), id="a deadline is awaited"
        ),
        pytest.param(pod("step-1", "step-2", **ORDERED), seen(), Plan((Start("step-1"),)), id="steps: the first alone"),
        pytest.param(
            pod("step-1", "step-2", **ORDERED), seen(step_1=DONE), Plan((Start("step-2"),)), id="steps: then the second"
        ),
        pytest.param(
            pod("step-1", "step-2", "step-3", **ORDERED), seen(step_1=FAILED), Plan((Skip("step-2"), Skip("step-3"))),
            id="steps: failure skips the rest",
        ),
        pytest.param(
            pod("step-1", "side", **ORDERED), seen(), Plan((Start("side"),)), id="steps: sidecars before steps"
        ),
        pytest.param(
            pod("step-1", "side", **ORDERED), seen(step_1=DONE, side=RUNNING), Plan((Stop("side", 30.0, "Completed"),)),
            id="steps: sidecars end with them",
        ),
    ],
)  # fmt: skip
def test_the_plan_follows_from_what_is_asked_and_seen(asked: dict[str, Any], observed: Observed, plan: Plan) -> None:
    assert decide(asked, observed, NOW) == plan


@pytest.mark.parametrize(
    ("asked", "observed", "phase"),
    [
        (pod("a"), seen(False), "Pending"),
        (pod("a"), seen(a=RUNNING), "Running"),
        (pod("a"), seen(a=Seen(phase="exited", attempt=3, ended=ended(1))), "Running"),
        (pod("a", "b", policy="Never"), seen(a=DONE, b=RUNNING), "Running"),
        (pod("a", "b", policy="Never"), seen(a=DONE, b=DONE), "Succeeded"),
        (pod("a", "b", policy="Never"), seen(a=DONE, b=FAILED), "Failed"),
        (pod("step-1", "side", **ORDERED), seen(step_1=DONE, side=RUNNING), "Running"),
        (pod("step-1", "side", **ORDERED), seen(step_1=DONE, side=FAILED), "Succeeded"),
        (pod("a", activeDeadlineSeconds=1), seen(a=DONE), "Failed"),
    ],
)
def test_the_phase_is_kubernetes_own(asked: dict[str, Any], observed: Observed, phase: str) -> None:
    assert pod_status(asked, observed, NOW)["phase"] == phase


def test_an_unchanged_world_gives_an_equal_status() -> None:
    asked, observed = pod("a"), seen(a=RUNNING)
    first = pod_status(asked, observed, NOW)
    assert pod_status({**asked, "status": first}, observed, NOW + 500) == first
