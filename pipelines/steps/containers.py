"""The containers of a TaskRun's pod: steps under the entrypoint, sidecars as they are.

Law: a step's own word wins over the template's, the pod template's environment over both; every step sees every run
directory but writes only its own. Source: Tekton's pkg/pod (script.go, entrypoint.go, pod.go). No IO.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from funcs.api import duration
from funcs.api.meta import Object

from . import entrypoint
from .entrypoint import Credential
from .taskspec import container_name

_OURS = (
    "script",
    "timeout",
    "workspaces",
    "onError",
    "stdoutConfig",
    "stderrConfig",
    "computeResources",
    "displayName",
)
_MERGED_BY = {"env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort"}
WORKSPACE = "/workspace"


@dataclass(frozen=True, slots=True)
class Containers:
    """`scripts` has the content of each script file by its path."""

    steps: list[Object]
    sidecars: list[Object]
    scripts: dict[str, str]


def containers(spec: Object, env: Sequence[Object], credentials: Sequence[Credential]) -> Containers:
    """Of a substituted task spec. `env` is the pod template's."""
    results = tuple(result["name"] for result in spec.get("results") or [])
    scripts: dict[str, str] = {}
    template = {key: found for key, found in (spec.get("stepTemplate") or {}).items() if key != "name"}
    merged = [_merge(template, step) for step in spec.get("steps") or []]
    steps = [_step(step, index, len(merged), scripts) for index, step in enumerate(merged)]
    for index, (step, container) in enumerate(zip(merged, steps, strict=True)):
        told = _told(step, container, results, tuple(credentials))
        container["command"] = [entrypoint.BINARY]
        container["args"] = entrypoint.args_for(entrypoint.placed(index, told))
        container["terminationMessagePath"] = entrypoint.TERMINATION
        _set(container, "env", _env(container.get("env") or [], env))
    sidecars = [_sidecar(sidecar, index, scripts) for index, sidecar in enumerate(spec.get("sidecars") or [])]
    return Containers(steps, sidecars, scripts)


def _merge(template: Object, step: Object) -> Object:
    """A strategic merge of containers: named lists by their key, mappings by theirs, the rest replaced."""
    merged = copy.deepcopy(template)
    for field, found in step.items():
        if field in _MERGED_BY and merged.get(field):
            merged[field] = _merge_lists(merged[field], found or [], _MERGED_BY[field])
        elif isinstance(found, dict) and isinstance(merged.get(field), dict):
            merged[field] = _merge(merged[field], found)
        elif found not in (None, "", [], {}) or field not in merged:
            merged[field] = copy.deepcopy(found)
    if step.get("script"):
        merged.pop("command", None)
    return merged


def _merge_lists(base: list[Object], over: list[Object], key: str) -> list[Object]:
    by_key = {element.get(key): element for element in (*base, *over)}
    return [copy.deepcopy(element) for element in by_key.values()]


def _step(step: Object, index: int, count: int, scripts: dict[str, str]) -> Object:
    container = {field: found for field, found in step.items() if field not in _OURS}
    container["name"] = container_name(step, index)
    if step.get("computeResources"):
        container["resources"] = step["computeResources"]
    if step.get("script"):
        container["command"] = [_script(step["script"], f"script-{index}", scripts)]
    if step.get("workingDir") and not step["workingDir"].startswith("/"):
        container["workingDir"] = f"{WORKSPACE}/{step['workingDir']}"
    container["volumeMounts"] = [*_implicit(step, index, count), *(step.get("volumeMounts") or [])]
    return container


def _script(text: str, name: str, scripts: dict[str, str]) -> str:
    stripped = text.strip()
    content = text if stripped.startswith("#!") else f"#!/bin/sh\nset -e\n{text}"
    content = content.lstrip() if stripped.startswith("#!") else content
    path = f"{entrypoint.SCRIPTS}/{name}-{hashlib.sha256(content.encode()).hexdigest()[:5]}"
    scripts[path] = content
    return path


def _implicit(step: Object, index: int, count: int) -> list[Object]:
    taken = {mount.get("mountPath") for mount in step.get("volumeMounts") or []}
    mounts: list[Object] = [
        *_shared(step),
        {"name": "tekton-internal-home", "mountPath": "/tekton/home"},
        {"name": "tekton-internal-results", "mountPath": entrypoint.RESULTS},
        {"name": "tekton-internal-steps", "mountPath": entrypoint.STEPS, "readOnly": True},
        {"name": "tekton-internal-bin", "mountPath": "/tekton/bin", "readOnly": True},
        {"name": f"tekton-creds-init-home-{index}", "mountPath": entrypoint.CREDENTIALS},
    ]
    for other in range(count):
        mount: Object = {"name": f"tekton-internal-run-{other}", "mountPath": f"{entrypoint.RUN}/{other}"}
        mounts.append(mount if other == index else {**mount, "readOnly": True})
    if index == 0:
        mounts.append({"name": "tekton-internal-downward", "mountPath": "/tekton/downward", "readOnly": True})
    return [mount for mount in mounts if mount["mountPath"] not in taken]


def _shared(container: Object) -> list[Object]:
    mounts: list[Object] = [{"name": "tekton-internal-workspace", "mountPath": WORKSPACE}]
    if container.get("script"):
        mounts.append({"name": "tekton-internal-scripts", "mountPath": entrypoint.SCRIPTS, "readOnly": True})
    return mounts


def _told(
    step: Object, container: Object, results: tuple[str, ...], credentials: tuple[Credential, ...]
) -> entrypoint.Step:
    command, args = container.pop("command", None) or [], container.pop("args", None) or []
    return entrypoint.Step(
        command=command[0] if command else "",
        args=(*command[1:], *args),
        on_error=step.get("onError") or "",
        timeout=duration.parse(step["timeout"]) if step.get("timeout") else None,
        stdout_path=(step.get("stdoutConfig") or {}).get("path", ""),
        stderr_path=(step.get("stderrConfig") or {}).get("path", ""),
        results=results,
        credentials=credentials,
    )


def _env(own: Sequence[Object], template: Sequence[Object]) -> list[Object]:
    over = {variable.get("name") for variable in template}
    return [*(variable for variable in own if variable.get("name") not in over), *template]


def _sidecar(sidecar: Object, index: int, scripts: dict[str, str]) -> Object:
    container = {field: found for field, found in sidecar.items() if field not in _OURS}
    container["name"] = f"sidecar-{sidecar.get('name') or index}"
    if sidecar.get("script"):
        container["command"] = [_script(sidecar["script"], f"sidecar-script-{index}", scripts)]
    if sidecar.get("computeResources"):
        container["resources"] = sidecar["computeResources"]
    taken = {mount.get("mountPath") for mount in sidecar.get("volumeMounts") or []}
    implicit = [mount for mount in _shared(sidecar) if mount["mountPath"] not in taken]
    container["volumeMounts"] = [*implicit, *(sidecar.get("volumeMounts") or [])]
    return container


def _set(container: Object, field: str, found: Any) -> None:
    if found:
        container[field] = found
    else:
        container.pop(field, None)
