"""A pod's row: READY, STATUS and RESTARTS as Kubernetes derives them from a pod's status.

Law: pure; the STATUS column is a derivation in a fixed order (phase, reason, init containers, containers, deletion),
the same as in Kubernetes' printers. No IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcs.api import meta
from funcs.api.meta import Object, Objects

from . import ages

_NONE = "<none>"


def row(pod: Object, now: float) -> Sequence[Any]:
    status, spec = meta.status(pod), meta.spec(pod)
    total = len(spec.get("containers") or []) + sum(map(_is_sidecar, spec.get("initContainers") or []))
    ready = sum(1 for found in _main_statuses(pod) if found.get("ready") and "running" in (found.get("state") or {}))
    return [
        meta.name(pod), f"{ready}/{total}", reason(pod), _restarts(pod, now),
        ages.since(meta.metadata(pod).get("creationTimestamp"), now),
        status.get("podIP") or _NONE, spec.get("nodeName") or _NONE, status.get("nominatedNodeName") or _NONE,
        _gates(pod),
    ]  # fmt: skip


def reason(pod: Object) -> str:
    """The STATUS column."""
    status = meta.status(pod)
    found = str(status.get("reason") or status.get("phase") or "")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            found = "SchedulingGated"
    found = _init_reason(pod) or _container_reason(pod, found)
    if meta.is_deleting(pod):
        finished = status.get("phase") in ("Succeeded", "Failed")
        return "Unknown" if status.get("reason") == "NodeLost" else found if finished else "Terminating"
    return found


def _init_reason(pod: Object) -> str:
    """`Init:…` while an init container is not done; "" once all are."""
    specs = {found.get("name"): found for found in meta.spec(pod).get("initContainers") or []}
    for index, container in enumerate(meta.status(pod).get("initContainerStatuses") or []):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated and terminated.get("exitCode") == 0:
            continue
        if _is_sidecar(specs.get(container.get("name")) or {}) and container.get("started"):
            continue
        if terminated:
            return f"Init:{terminated.get('reason') or _exit(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(specs)}"
    return ""


def _container_reason(pod: Object, found: str) -> str:
    """Waiting or terminated containers, the first in order winning, over the phase."""
    running = False
    for container in reversed(meta.status(pod).get("containerStatuses") or []):
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            found = str(waiting["reason"])
        elif terminated is not None:
            found = str(terminated.get("reason") or _exit(terminated))
        elif container.get("ready") and "running" in state:
            running = True
    if found == "Completed" and running:
        return "Running" if _is_ready(pod) else "NotReady"
    return found


def _exit(terminated: Object) -> str:
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(pod: Object, now: float) -> str:
    counted = _main_statuses(pod)
    if _init_reason(pod):
        counted = meta.status(pod).get("initContainerStatuses") or []
    total = sum(int(found.get("restartCount") or 0) for found in counted)
    ends = [((found.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for found in counted]
    last = max((str(end) for end in ends if end), default="")
    return f"{total} ({ages.since(last, now)} ago)" if total and last else str(total)


def _main_statuses(pod: Object) -> Objects:
    """Statuses of containers and of restartable init containers, which count as containers."""
    sidecars = {found.get("name") for found in meta.spec(pod).get("initContainers") or [] if _is_sidecar(found)}
    status = meta.status(pod)
    starting = [found for found in status.get("initContainerStatuses") or [] if found.get("name") in sidecars]
    return [*starting, *(status.get("containerStatuses") or [])]


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _is_ready(pod: Object) -> bool:
    conditions = meta.status(pod).get("conditions") or []
    return any(found.get("type") == "Ready" and found.get("status") == "True" for found in conditions)


def _gates(pod: Object) -> str:
    gates = meta.spec(pod).get("readinessGates") or []
    if not gates:
        return _NONE
    held = {found.get("type"): found.get("status") for found in meta.status(pod).get("conditions") or []}
    return f"{sum(1 for gate in gates if held.get(gate.get('conditionType')) == 'True')}/{len(gates)}"
