"""A pod's status, from what was asked and what is seen: phase, conditions, containers, as the kubelet words them.

Law: pure; `lastTransitionTime` moves only with the condition's status; an unchanged world gives an equal status.
Source: k8s.io/kubernetes pkg/kubelet/status/generate.go, pkg/kubelet/kubelet_pods.go (getPhase).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from funcs.api import meta
from funcs.api.meta import Object, Objects

from .decide import (
    Observed,
    Seen,
    Termination,
    backoff_until,
    containers,
    deadline_passed,
    init_containers,
    is_over,
    is_sidecar,
    is_step,
    restarts,
    retry_at,
)

_BACKING_OFF = {"ErrImagePull": "ImagePullBackOff"}
HOST_IP = "127.0.0.1"


def pod_status(pod: Object, seen: Observed, now: float) -> Object:
    """The whole of what the node owns of `status`."""
    phase, reason, message = _phase(pod, seen, now)
    status: Object = {
        "phase": phase,
        "conditions": _conditions(pod, seen, phase, now),
        "containerStatuses": [_container(pod, each, seen, now) for each in containers(pod)],
        "hostIP": HOST_IP,
        "hostIPs": [{"ip": HOST_IP}],
        "qosClass": _quality(pod),
        "observedGeneration": meta.generation(pod),
    }
    if inits := init_containers(pod):
        status["initContainerStatuses"] = [_container(pod, each, seen, now) for each in inits]
    if seen.began:
        status["startTime"] = meta.timestamp(seen.began)
    if seen.prepared:
        status |= {"podIP": HOST_IP, "podIPs": [{"ip": HOST_IP}]}
    if reason:
        status |= {"reason": reason, "message": message}
    return status


def differs(pod: Object, status: Object) -> bool:
    """Whether the pod's status has to be written."""
    held = meta.status(pod)
    return any(held.get(key) != value for key, value in status.items())


def waiting(pod: Object, name: str, seen: Observed, now: float) -> tuple[str, str]:
    """Reason and message of a container that does not run but should."""
    found = seen.of(name)
    problem = found.problem or seen.problem
    if problem is not None:
        backing_off = problem.reason in _BACKING_OFF and retry_at(problem) > now and problem.times > 1
        return (_BACKING_OFF[problem.reason] if backing_off else problem.reason), problem.message
    if found.phase == "exited" and backoff_until(found) > now:
        delay = backoff_until(found) - (found.ended.finished_at if found.ended else now)
        return "CrashLoopBackOff", (
            f"back-off {_short(delay)} restarting failed container={name} "
            f"pod={meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"
        )
    inits = [each["name"] for each in init_containers(pod)]
    return ("PodInitializing" if inits and name not in inits else "ContainerCreating"), ""


def _phase(pod: Object, seen: Observed, now: float) -> tuple[str, str, str]:
    if deadline_passed(pod, seen, now) or meta.status(pod).get("reason") == "DeadlineExceeded":
        if not any(each.phase == "running" for each in seen.containers.values()):
            return "Failed", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
    elif seen.lost and is_over(pod, seen):
        return "Failed", "ShimKilled", "The process that watches over this pod's containers was killed"
    if is_over(pod, seen):
        relevant = [*init_containers(pod), *(each for each in containers(pod) if _counts(pod, each))]
        return ("Succeeded" if all(_went_well(each, seen) for each in relevant) else "Failed"), "", ""
    begun = any(seen.of(each["name"]).attempt >= 0 for each in containers(pod))
    return ("Running" if begun else "Pending"), "", ""


def _counts(pod: Object, container: Object) -> bool:
    """In a pod of ordered steps only the steps decide its end."""
    return is_step(pod, container["name"]) or not any(is_step(pod, each["name"]) for each in containers(pod))


def _went_well(container: Object, seen: Observed) -> bool:
    ended = seen.of(container["name"]).ended
    return is_sidecar(container) or (ended is not None and ended.exit_code == 0)


def _conditions(pod: Object, seen: Observed, phase: str, now: float) -> Objects:
    over = phase in ("Succeeded", "Failed")
    uninitialized = [each["name"] for each in init_containers(pod) if not _initialized(each, seen)]
    unready = [each["name"] for each in containers(pod) if not _is_ready(pod, each["name"], seen)]
    done = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    ready = (
        ("False", done, "") if over
        else ("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]") if unready
        else ("True", "", "")
    )  # fmt: skip
    initialized = (
        ("False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(uninitialized)}]")
        if uninitialized
        else ("True", "PodCompleted" if phase == "Succeeded" else "", "")
    )
    found = {
        "PodReadyToStartContainers": ("True" if seen.prepared and not over else "False", "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": ("True", "", ""),
    }
    old = {each.get("type"): each for each in meta.status(pod).get("conditions") or []}
    others = [each for kind, each in old.items() if kind not in found]
    return [_condition(kind, marks, old.get(kind), now) for kind, marks in found.items()] + others


def _condition(type: str, marks: tuple[str, str, str], old: Mapping[str, str] | None, now: float) -> Object:
    status, reason, message = marks
    same = old is not None and old.get("status") == status and bool(old.get("lastTransitionTime"))
    rendered: Object = {
        "type": type,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"] if same and old else meta.timestamp(now),
    }
    return rendered | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def _initialized(container: Object, seen: Observed) -> bool:
    found = seen.of(container["name"])
    if is_sidecar(container):
        return found.started or found.attempt >= 0
    return found.phase == "exited" and found.ended is not None and found.ended.exit_code == 0


def _is_ready(pod: Object, name: str, seen: Observed) -> bool:
    found = seen.of(name)
    return found.phase == "running" and found.ready and not meta.is_deleting(pod)


def _container(pod: Object, container: Object, seen: Observed, now: float) -> Object:
    name = container["name"]
    found = seen.of(name)
    last = found.last if found.phase in ("running", "exited") else found.ended or found.last
    restarting = found.phase == "exited" and restarts(pod, name, found) and not is_over(pod, seen)
    if restarting and not meta.is_deleting(pod):
        last = found.ended
    status: Object = {
        "name": name,
        "state": _state(pod, name, seen, now, restarting),
        "lastState": _terminated(last, pod, name) if last is not None else {},
        "ready": _is_ready(pod, name, seen) or _init_done(pod, container, found),
        "restartCount": max(found.attempt, 0),
        "image": container.get("image", ""),
        "imageID": found.image_id,
        "started": found.phase == "running" and found.started,
    }
    if found.attempt >= 0:
        status["containerID"] = container_id(pod, name, found.attempt)
    return status


def container_id(pod: Object, name: str, attempt: int) -> str:
    return f"funcs://{meta.uid(pod)}/{name}/{attempt}"


def _init_done(pod: Object, container: Object, found: Seen) -> bool:
    is_init = any(each["name"] == container["name"] for each in init_containers(pod))
    return is_init and found.ended is not None and found.phase == "exited" and found.ended.exit_code == 0


def _state(pod: Object, name: str, seen: Observed, now: float, restarting: bool) -> Object:
    found = seen.of(name)
    if found.phase == "running":
        return {"running": {"startedAt": meta.timestamp(found.started_at)}}
    if found.phase == "exited" and found.ended is not None and (not restarting or meta.is_deleting(pod)):
        return _terminated(found.ended, pod, name)
    reason, message = waiting(pod, name, seen, now)
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def _terminated(ended: Termination, pod: Object, name: str) -> Object:
    state: Object = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": meta.timestamp(ended.started_at),
        "finishedAt": meta.timestamp(ended.finished_at),
    }
    if ended.signal:
        state["signal"] = ended.signal
    if ended.message:
        state["message"] = ended.message
    return {"terminated": state}


def _quality(pod: Object) -> str:
    """Kubernetes' QoS class."""
    limits: Sequence[tuple[Object, Object]] = [
        ((each.get("resources") or {}).get("limits") or {}, (each.get("resources") or {}).get("requests") or {})
        for each in (*containers(pod), *init_containers(pod))
    ]
    if not any(limit or request for limit, request in limits):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= limit.keys() and all(request.get(key, value) == value for key, value in limit.items())
        for limit, request in limits
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _short(seconds: float) -> str:
    """As Go prints a duration of whole seconds: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
