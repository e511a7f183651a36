"""A Revision's conditions, from its Deployment, its PodAutoscaler and its first pod.

Law: `decide` is a pure function of what is observed. A revision is Ready once its initial scale was reached; going to
zero later leaves it Ready and makes Active False; what its container died of is kept, even when the pods are gone.
Source: knative.dev/serving, package reconciler/revision. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.api import meta
from funcs.api.conditions import Condition, ConditionSet, find
from funcs.api.meta import Object

RESOURCES = "ResourcesAvailable"
CONTAINER = "ContainerHealthy"
ACTIVE = "Active"
CONDITIONS = ConditionSet((RESOURCES, CONTAINER))
DEPLOYING = "Deploying"
_HOPELESS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is of a revision; None is not there (yet)."""

    deployment: Object | None
    autoscaler: Object | None
    pod: Object | None
    serving_container: str


def decide(revision: Object, seen: Seen) -> list[Condition]:
    """ResourcesAvailable, ContainerHealthy and Active (which takes no part in Ready)."""
    initialized = seen.autoscaler is not None and _is(seen.autoscaler, "ScaleTargetInitialized", "True")
    trouble = _trouble(seen)
    available = 0 if seen.deployment is None else int(meta.status(seen.deployment).get("availableReplicas") or 0)
    if available > 0 and initialized:
        trouble = {}
    marks = {
        RESOURCES: trouble.get(RESOURCES) or _default(RESOURCES, initialized),
        CONTAINER: trouble.get(CONTAINER) or _default(CONTAINER, initialized),
    }
    if not trouble and not initialized:
        marks.update(_remembered(revision, seen))
    if _gave_up(seen, initialized) and all(mark.status != "False" for mark in marks.values()):
        marks[RESOURCES] = Condition(RESOURCES, "False", "ProgressDeadlineExceeded", "Initial scale was never achieved")
    return [*marks.values(), _active(seen.autoscaler)]


def missing_image(image: str, problem: str) -> list[Condition]:
    """The conditions of a revision whose image could not be resolved."""
    text = f'Unable to fetch image "{image}": {problem}'
    return [
        Condition(RESOURCES, "Unknown", DEPLOYING),
        Condition(CONTAINER, "False", "ContainerMissing", text),
        Condition(ACTIVE, "Unknown", DEPLOYING, severity="Info"),
    ]


def not_owned(kind: str, name: str) -> list[Condition]:
    """The conditions of a revision whose child's name belongs to somebody else."""
    text = f'There is an existing {kind} "{name}" that we do not own.'
    return [Condition(RESOURCES, "False", "NotOwned", text), Condition(ACTIVE, "Unknown", DEPLOYING, severity="Info")]


def _default(type: str, initialized: bool) -> Condition:
    return Condition(type, "True") if initialized else Condition(type, "Unknown", DEPLOYING)


def _trouble(seen: Seen) -> dict[str, Condition]:
    """What the Deployment and its first pod complain of, by condition type."""
    found: dict[str, Condition] = {}
    deployment = seen.deployment
    if deployment is None:
        return found
    failure = find(deployment, "ReplicaFailure")
    if failure is not None and failure.status == "True":
        found[RESOURCES] = Condition(RESOURCES, "False", failure.reason or "FailedCreate", failure.message)
    progressing = find(deployment, "Progressing")
    late = progressing is not None and progressing.status == "False"
    if late and progressing is not None and not int(meta.status(deployment).get("availableReplicas") or 0):
        found[RESOURCES] = Condition(RESOURCES, "False", progressing.reason, progressing.message)
    if seen.pod is not None and not int(meta.status(deployment).get("availableReplicas") or 0):
        found.update(_pod_trouble(seen.pod, seen.serving_container, late=late))
    return found


def _pod_trouble(pod: Object, container: str, *, late: bool) -> dict[str, Condition]:
    scheduled = find(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return {RESOURCES: Condition(RESOURCES, "False", scheduled.reason, scheduled.message)}
    status = next(
        (one for one in meta.status(pod).get("containerStatuses") or [] if one.get("name") == container), None
    )
    if status is None:
        return {}
    ended = (status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated")
    if ended:
        text = f"Container failed with: {ended.get('message') or ended.get('reason') or ''}"
        return {CONTAINER: Condition(CONTAINER, "False", f"ExitCode{ended.get('exitCode', 0)}", text)}
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason") or ""
    if reason in _HOPELESS or (late and reason):
        return {RESOURCES: Condition(RESOURCES, "False", reason, waiting.get("message") or "")}
    return {}


def _remembered(revision: Object, seen: Seen) -> dict[str, Condition]:
    """At zero there is no pod to ask: keep what was known to be wrong."""
    if seen.deployment is None or int(meta.spec(seen.deployment).get("replicas") or 0) > 0:
        return {}
    kept = (find(revision, dependent) for dependent in (RESOURCES, CONTAINER))
    return {
        one.type: Condition(one.type, "False", one.reason, one.message) for one in kept if one and one.status == "False"
    }


def _gave_up(seen: Seen, initialized: bool) -> bool:
    return not initialized and seen.autoscaler is not None and _is(seen.autoscaler, ACTIVE, "False")


def _active(autoscaler: Object | None) -> Condition:
    found = find(autoscaler, ACTIVE) if autoscaler is not None else None
    if found is None:
        return Condition(ACTIVE, "Unknown", DEPLOYING, severity="Info")
    return Condition(ACTIVE, found.status, found.reason, found.message, severity="Info")


def _is(obj: Object, type: str, status: str) -> bool:
    found = find(obj, type)
    return found is not None and found.status == status
