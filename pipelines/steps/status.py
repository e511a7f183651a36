"""A pod's state as a TaskRun's status.

Law: a pure reading: the same pod always gives the same steps, results and condition. What ended says when it ended;
`now` is only used where nothing else is known. Source: Tekton's pkg/pod/status.go. No IO.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from funcs.api import meta
from funcs.api.meta import Object, Objects
from funcs.api.pipeline_defaults import type_of
from funcs.api.pipeline_views import TaskSpec
from pipelines.language import results as language

from . import entrypoint
from .entrypoint import Reason

RUNNING = "Not all Steps in the Task have finished executing"
SUCCEEDED = "All Steps have completed executing"
_STEP, _SIDECAR = "step-", "sidecar-"
_UNPULLABLE = ("ImagePullBackOff", "InvalidImageName")
_MISCONFIGURED = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The condition Succeeded: `status` Unknown while it runs."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str

    @property
    def is_done(self) -> bool:
        return self.status != "Unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pod says of its run. `give_up` is true if the run failed while the pod may still be alive."""

    outcome: Outcome
    steps: Objects
    sidecars: Objects
    results: Objects
    completion: float | None = None
    give_up: bool = False


def read(pod: Object, spec: Object, *, run: str) -> Reading:
    """`spec` is the run's own task spec, `run` its name (for messages)."""
    view = msgspec.convert(spec, TaskSpec)
    named = {found.get("name", ""): found for found in meta.status(pod).get("containerStatuses") or []}
    names = [container["name"] for container in meta.spec(pod).get("containers") or []]
    found = [named.get(name, {"name": name}) for name in names if name.startswith(_STEP)]
    steps = [_step(state) for state in found]
    sidecars = [_sidecar(named[name]) for name in names if name.startswith(_SIDECAR) and name in named]
    over = all(_terminated(state) for state in found) or _phase(pod) in ("Succeeded", "Failed")
    if not over:
        outcome, give_up = _unfinished(pod, found, run)
        return Reading(outcome, steps, sidecars, [], give_up=give_up)
    files = {name: text for state in found for name, text in _termination(state).results.items()}
    values = language.read(view.results, files)
    results = [{"name": name, "type": type_of(value), "value": value} for name, value in values.items()]
    outcome = _finished(pod, found)
    problem = language.problem(view.results, values)
    if outcome.status == "True" and problem:
        outcome = Outcome("False", "TaskRunValidationFailed", problem)
    return Reading(outcome, steps, sidecars, results, completion=_last(found))


def ready_to_start(pod: Object) -> bool:
    """Every container that is no step runs and is ready, or is over."""
    others = [found for found in meta.status(pod).get("containerStatuses") or [] if not _is_step(found)]
    wanted = sum(not container["name"].startswith(_STEP) for container in meta.spec(pod).get("containers") or [])
    return len(others) == wanted and all(_terminated(found) or _is_up(found) for found in others)


def cut_short(steps: Iterable[Object], *, pod: str, reason: str, now: float) -> Objects:
    """The steps of a pod that is taken away: what ran or waited is terminated."""
    return [_cut(step, pod, reason, meta.timestamp(now)) for step in steps]


def _cut(step: Object, pod: str, reason: str, finished: str) -> Object:
    if "running" not in step and "waiting" not in step:
        return step
    started = (step.get("running") or {}).get("startedAt")
    kept = {field: found for field, found in step.items() if field not in ("running", "waiting")}
    terminated = {
        "exitCode": 1,
        **({"startedAt": started} if started else {}),
        "finishedAt": finished,
        "reason": reason,
        "message": f"Step {step['name']} terminated as pod {pod} is terminated",
    }
    return {**kept, "terminated": terminated, "terminationReason": reason}


def _step(status: Object) -> Object:
    state = dict(status.get("state") or {"waiting": {"reason": "PodInitializing"}})
    step: Object = {**state, "container": status["name"], "name": status["name"].removeprefix(_STEP)}
    if status.get("imageID"):
        step["imageID"] = status["imageID"]
    if "terminated" in state:
        told = _termination(status)
        step["terminated"] = _own(state["terminated"], told)
        step["terminationReason"] = _reason(state["terminated"], told)
    return step


def _own(terminated: Object, told: entrypoint.Termination) -> Object:
    """The state with the entrypoint's own facts in place of the process's."""
    own = {field: found for field, found in terminated.items() if field != "message"}
    own.setdefault("exitCode", 0)
    if told.exit_code is not None:
        own["exitCode"] = told.exit_code
    if told.started_at is not None:
        own["startedAt"] = meta.timestamp(told.started_at)
    if told.results:
        listed = [{"key": name, "value": text, "type": 1} for name, text in told.results.items()]
        own["message"] = json.dumps(listed, separators=(",", ":"))
    elif told.text:
        own["message"] = told.text
    return own


def _reason(terminated: Object, told: entrypoint.Termination) -> str:
    if told.reason is not Reason.NONE:
        return told.reason.value
    if told.exit_code is not None:
        return "Continued"
    return str(terminated.get("reason") or ("Error" if terminated.get("exitCode") else "Completed"))


def _sidecar(status: Object) -> Object:
    sidecar = {**(status.get("state") or {}), "container": status["name"]}
    sidecar["name"] = status["name"].removeprefix(_SIDECAR)
    if status.get("imageID"):
        sidecar["imageID"] = status["imageID"]
    return sidecar


def _unfinished(pod: Object, steps: Sequence[Object], run: str) -> tuple[Outcome, bool]:
    for index, status in enumerate(steps):
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _UNPULLABLE:
            image = status.get("image") or _image(pod, status["name"])
            name = status["name"].removeprefix(_STEP)
            words = (
                f'The step "{name}" in TaskRun "{run}" failed to pull the image "{image}". The pod errored with the '
                f'message: "{waiting.get("message", "")}."'
            )
            return Outcome("False", "TaskRunImagePullFailed", words), True
        if waiting.get("reason") == _MISCONFIGURED:
            return Outcome("False", _MISCONFIGURED, "Failed to create pod due to config error"), True
        if waiting.get("reason") == "ErrImagePull" and _phase(pod) == "Pending":
            return Outcome("Unknown", "PullImageFailed", _waiting(pod, steps[index:])), False
    if _phase(pod) == "Pending" and _initialised(pod):
        return Outcome("Unknown", "Pending", _waiting(pod, steps)), False
    return Outcome("Unknown", "Running", RUNNING), False


def _initialised(pod: Object) -> bool:
    """Whether the node has said anything of this pod; before that, the run is simply running."""
    return bool(meta.status(pod).get("containerStatuses") or meta.status(pod).get("conditions"))


def _waiting(pod: Object, steps: Sequence[Object]) -> str:
    for status in steps:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("message"):
            return f'build step "{status["name"]}" is pending with reason "{waiting["message"]}"'
    for found in meta.status(pod).get("conditions") or []:
        if found.get("status") != "True":
            words = f'"{found.get("type")}":"{found.get("status")}"; message: "{found.get("message", "")}"'
            return f"pod status {words}"
    return str(meta.status(pod).get("message") or "Pending")


def _finished(pod: Object, steps: Sequence[Object]) -> Outcome:
    if meta.status(pod).get("reason") == "Evicted":
        return Outcome("False", "PodEvicted", str(meta.status(pod).get("message") or "The pod was evicted."))
    for status in meta.status(pod).get("initContainerStatuses") or []:
        words = _failure(status)
        if words:
            oom = "InitContainerOOM" if _is_out_of_memory(status) else "InitContainerFailed"
            return Outcome("False", oom, f"init container failed, {words}")
    for status in steps:
        words = _failure(status)
        if words and _termination(status).reason is not Reason.SKIPPED:
            return Outcome("False", "StepOOM" if _is_out_of_memory(status) else "StepFailed", words)
    if _phase(pod) == "Failed" or not all(_terminated(status) for status in steps):
        message = meta.status(pod).get("message") or "build failed for unspecified reasons."
        return Outcome("False", "Failed", str(message))
    return Outcome("True", "Succeeded", SUCCEEDED)


def _failure(status: Object) -> str:
    terminated = _terminated(status)
    if not terminated:
        return ""
    if _termination(status).reason is Reason.TIMEOUT:
        return f'"{status["name"]}" exited because the step exceeded the specified timeout limit'
    code = terminated.get("exitCode") or 0
    return f'"{status["name"]}" exited with code {code}' if code else ""


def _is_out_of_memory(status: Object) -> bool:
    return bool(_terminated(status).get("reason") == "OOMKilled")


def _termination(status: Object) -> entrypoint.Termination:
    return entrypoint.read_termination(str(_terminated(status).get("message") or ""))


def _terminated(status: Object) -> Object:
    found: Object = (status.get("state") or {}).get("terminated") or {}
    return found


def _is_up(status: Object) -> bool:
    return "running" in (status.get("state") or {}) and bool(status.get("ready"))


def _is_step(status: Object) -> bool:
    return str(status.get("name", "")).startswith(_STEP)


def _phase(pod: Object) -> Any:
    return meta.status(pod).get("phase") or "Pending"


def _image(pod: Object, name: str) -> str:
    return next((c.get("image", "") for c in meta.spec(pod).get("containers") or [] if c["name"] == name), "")


def _last(steps: Sequence[Object]) -> float | None:
    ends = [str(_terminated(status).get("finishedAt") or "") for status in steps]
    return max((meta.parse_timestamp(end) for end in ends if end), default=None)
