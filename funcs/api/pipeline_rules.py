"""Structural validation of Tekton's kinds.

Law: what Tekton accepts is accepted, what it refuses is refused in its words, and what funcs does not do (yet) is
refused by name, never ignored. Source: Tekton Pipelines' pkg/apis/pipeline/v1 (validation). No IO.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from funcs.errors import FieldError, Invalid

from . import duration, meta, names
from . import pipeline_views as views
from .admission import Request
from .meta import Object
from .pipeline_defaults import type_of

TASK_RUN_STATUSES = ("TaskRunCancelled", "TaskRunPending")
PIPELINE_RUN_STATUSES = ("Cancelled", "CancelledRunFinally", "StoppedRunFinally", "PipelineRunPending")
BINDINGS = ("volumeClaimTemplate", "persistentVolumeClaim", "emptyDir", "configMap", "secret", "projected", "csi")

_RESULT_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PARAM_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9.-]*")
_LONGEST_NAME = 255

Problems = Iterator[FieldError]


def validate_task(request: Request) -> list[FieldError]:
    return _checked(request, views.Task, lambda obj: task_spec(meta.spec(obj), "spec"))


def validate_pipeline(request: Request) -> list[FieldError]:
    return _checked(request, views.Pipeline, lambda obj: pipeline_spec(meta.spec(obj), "spec"))


def validate_task_run(request: Request) -> list[FieldError]:
    return _checked(request, views.TaskRun, lambda obj: _task_run(obj, request))


def validate_pipeline_run(request: Request) -> list[FieldError]:
    return _checked(request, views.PipelineRun, lambda obj: _pipeline_run(obj, request))


def _checked(request: Request, view: type[msgspec.Struct], check: Callable[[Object], Problems]) -> list[FieldError]:
    """Shape first: a rule may then take the types of known fields for granted."""
    if request.subresource or meta.is_deleting(request.object):
        return []
    return list(_misshapen(request.object, view, "")) or list(check(request.object))


def _misshapen(raw: Any, view: type[msgspec.Struct], at: str) -> Problems:
    try:
        msgspec.convert(raw, view)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$")
        yield FieldError(f"invalid value: {words}", f"{at}{place.rstrip('`')}".removeprefix("."))
        return
    for field, inner in _PARTS.get(view, ()):
        found = raw.get(field)
        if isinstance(found, list):
            for index, element in enumerate(found):
                yield from _misshapen(element, inner, f"{at}.{field}[{index}]")
        elif found is not None:
            yield from _misshapen(found, inner, f"{at}.{field}")


_PARTS: Mapping[type[msgspec.Struct], tuple[tuple[str, type[msgspec.Struct]], ...]] = {
    views.Task: (("spec", views.TaskSpec),),
    views.Pipeline: (("spec", views.PipelineSpec),),
    views.TaskRun: (("spec", views.TaskRunSpec),),
    views.PipelineRun: (("spec", views.PipelineRunSpec),),
    views.TaskRunSpec: (("taskSpec", views.TaskSpec),),
    views.PipelineRunSpec: (("pipelineSpec", views.PipelineSpec),),
    views.PipelineSpec: (("tasks", views.PipelineTask), ("finally", views.PipelineTask)),
    views.PipelineTask: (("taskSpec", views.TaskSpec),),
    views.TaskSpec: (("steps", views.Container), ("sidecars", views.Container), ("stepTemplate", views.Container)),
}
"""What a view leaves raw, and what it must be."""


def _task_run(obj: Object, request: Request) -> Problems:
    spec = meta.spec(obj)
    yield from one_of(spec, ("taskRef", "taskSpec"), "spec")
    yield from _reference(spec.get("taskRef"), "spec.taskRef")
    if isinstance(spec.get("taskSpec"), dict):
        yield from task_spec(spec["taskSpec"], "spec.taskSpec")
    yield from _params(spec.get("params"), "spec.params")
    yield from _bindings(spec.get("workspaces"))
    yield from _timeout(spec.get("timeout"), "spec.timeout")
    yield from _non_negative(spec.get("retries"), "spec.retries")
    yield from absent(spec, ("debug", "computeResources", "stepSpecs", "sidecarSpecs"), "spec")
    if spec.get("status") and spec["status"] not in TASK_RUN_STATUSES:
        yield FieldError(f"invalid value: {spec['status']} should be {' or '.join(TASK_RUN_STATUSES)}", "spec.status")
    if spec.get("statusMessage") and not spec.get("status"):
        yield FieldError(
            "invalid value: statusMessage should not be set if status is not set, but it is currently set to "
            + spec["statusMessage"],
            "spec.statusMessage",
        )
    yield from _immutable(request, "TaskRun", ("status", "statusMessage"), "status and statusMessage")


def _pipeline_run(obj: Object, request: Request) -> Problems:
    spec = meta.spec(obj)
    yield from one_of(spec, ("pipelineRef", "pipelineSpec"), "spec")
    yield from _reference(spec.get("pipelineRef"), "spec.pipelineRef")
    if isinstance(spec.get("pipelineSpec"), dict):
        yield from pipeline_spec(spec["pipelineSpec"], "spec.pipelineSpec")
    yield from _params(spec.get("params"), "spec.params")
    yield from _bindings(spec.get("workspaces"))
    yield from _timeouts(spec.get("timeouts") or {})
    for index, found in enumerate(spec.get("taskRunSpecs") or []):
        yield from absent(found, ("computeResources", "stepSpecs", "sidecarSpecs"), f"spec.taskRunSpecs[{index}]")
        yield from _timeout(found.get("timeout"), f"spec.taskRunSpecs[{index}].timeout")
    if spec.get("status") and spec["status"] not in PIPELINE_RUN_STATUSES:
        yield FieldError(
            f"invalid value: {spec['status']} should be Cancelled, CancelledRunFinally, StoppedRunFinally or "
            "PipelineRunPending",
            "spec.status",
        )
    yield from _immutable(request, "PipelineRun", ("status",), "status")


def _immutable(request: Request, kind: str, open_fields: tuple[str, ...], words: str) -> Problems:
    if request.operation != "UPDATE" or request.old is None:
        return
    old, new = dict(meta.spec(request.old)), dict(meta.spec(request.object))
    if old.get("managedBy") != new.get("managedBy"):
        yield FieldError("invalid value: managedBy is immutable", "spec.managedBy")
    status = meta.status(request.old)
    if status.get("completionTime"):
        if old != new:
            yield FieldError(f"invalid value: Once the {kind} is complete, no updates are allowed", "spec")
        return
    if not status.get("startTime"):
        return
    if new.get("status") == f"{kind}Pending" and old.get("status") != new.get("status"):
        yield FieldError(f"invalid value: {kind} cannot be Pending after it is started", "spec.status")
    for field in (*open_fields, "managedBy"):
        old.pop(field, None), new.pop(field, None)
    if old != new:
        yield FieldError(f"invalid value: Once the {kind} has started, only {words} updates are allowed", "spec")


def task_spec(spec: Object, at: str) -> Problems:
    """A Task's spec, wherever it is."""
    steps = spec.get("steps") or []
    if not steps:
        yield FieldError("missing field(s)", f"{at}.steps")
    template = spec.get("stepTemplate") or {}
    for index, step in enumerate(steps):
        yield from _step(step, template, f"{at}.steps[{index}]")
    yield from _unique(steps, f"{at}.steps")
    for index, sidecar in enumerate(spec.get("sidecars") or []):
        yield from _script(sidecar, f"{at}.sidecars[{index}]")
        if sidecar.get("name") == "tekton-log-results":
            yield FieldError(
                "invalid value: tekton-log-results", f"{at}.sidecars[{index}].name", "the name is reserved"
            )
    yield from _param_specs(spec.get("params"), f"{at}.params")
    yield from _results(spec.get("results"), f"{at}.results")
    yield from _volumes(spec, at)


def _step(step: Object, template: Object, at: str) -> Problems:
    yield from absent(step, ("ref", "when", "results"), at)
    if "params" in step:
        yield FieldError("params cannot be used without Ref", f"{at}.params")
    if not step.get("image") and not template.get("image") and "ref" not in step:
        yield FieldError("missing field(s)", f"{at}.image")
    yield from _script(step, at)
    name = step.get("name")
    if name and not names.is_dns_label(name):
        yield FieldError(
            f'invalid value "{name}"', f"{at}.name", "Task step name must be a valid DNS Label, For more info refer to "
            "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names",
        )  # fmt: skip
    on_error = step.get("onError")
    if on_error and "$(" not in on_error and on_error not in ("continue", "stopAndFail"):
        yield FieldError(
            f'invalid value: "{on_error}"', f"{at}.onError",
            'Task step onError must be either "continue" or "stopAndFail"',
        )  # fmt: skip
    yield from _timeout(step.get("timeout"), f"{at}.timeout")


def _script(container: Object, at: str) -> Problems:
    if container.get("script") and container.get("command"):
        yield FieldError("script cannot be used with command", f"{at}.script")
    for index, mount in enumerate(container.get("volumeMounts") or []):
        path, name = mount.get("mountPath", ""), mount.get("name", "")
        if path.startswith("/tekton/") and not path.startswith("/tekton/home"):
            yield FieldError(
                f'volumeMount cannot be mounted under /tekton/ (volumeMount "{name}" mounted at "{path}")',
                f"{at}.volumeMounts[{index}].mountPath",
            )
        if name.startswith("tekton-internal-"):
            yield FieldError(
                f'volumeMount name "{name}" cannot start with "tekton-internal-"', f"{at}.volumeMounts[{index}].name"
            )


def _volumes(spec: Object, at: str) -> Problems:
    seen: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or []):
        if volume.get("name") in seen:
            yield FieldError(f'multiple volumes with same name "{volume["name"]}"', f"{at}.volumes[{index}].name")
        seen.add(volume.get("name", ""))
    mounts: set[str] = set()
    for index, workspace in enumerate(spec.get("workspaces") or []):
        path = workspace.get("mountPath") or f"/workspace/{workspace['name']}"
        if workspace["name"] in seen:
            yield FieldError(f'workspace name "{workspace["name"]}" must be unique', f"{at}.workspaces[{index}].name")
        if path in mounts:
            yield FieldError(f'workspace mount path "{path}" must be unique', f"{at}.workspaces[{index}].mountpath")
        seen.add(workspace["name"])
        mounts.add(path)


def _param_specs(params: list[Object] | None, at: str) -> Problems:
    seen: set[str] = set()
    for param in params or []:
        name, place = param["name"], f"{at}[{param['name']}]"
        if name in seen:
            yield FieldError("parameter appears more than once", place)
        seen.add(name)
        if len(name) > _LONGEST_NAME or not _PARAM_NAME.fullmatch(name):
            yield FieldError(f"The format of following array and string variable names is invalid: [{name}]", place)
        declared = param.get("type") or "string"
        if declared not in ("string", "array", "object"):
            yield FieldError(f"invalid value: {declared}", f"{place}.type")
        elif "default" in param and type_of(param["default"]) != declared:
            yield FieldError(
                f'"{declared}" type does not match default value\'s type: "{type_of(param["default"])}"', place
            )
        if declared == "object" and not param.get("properties"):
            yield FieldError("missing field(s)", f"{name}.properties")
        yield from absent(param, ("enum",), place)


def _results(results: list[Object] | None, at: str) -> Problems:
    for index, result in enumerate(results or []):
        if len(result["name"]) > _LONGEST_NAME or not _RESULT_NAME.fullmatch(result["name"]):
            yield FieldError(
                f'invalid key name "{result["name"]}"',
                f"{at}[{index}].name",
                "Name must consist of alphanumeric characters, '-', '_', '.', and must start and end with an "
                "alphanumeric character",
            )
        if result.get("type", "string") not in ("string", "array", "object"):
            yield FieldError(
                f"invalid value: {result['type']}", f"{at}[{index}].type", "type must be string, array or object"
            )
        if result.get("type") == "object" and not result.get("properties"):
            yield FieldError("missing field(s)", f"{result['name']}.properties")
        yield from absent(result, ("value",), f"{at}[{index}]")


def pipeline_spec(spec: Object, at: str) -> Problems:
    """A Pipeline's spec, wherever it is."""
    tasks, final = spec.get("tasks") or [], spec.get("finally") or []
    if not tasks and final:
        yield FieldError(f"spec.tasks is empty but spec.finally has {len(final)} tasks", f"{at}.finally")
    elif not any(spec.get(field) for field in ("description", "params", "tasks", "workspaces")):
        yield FieldError("expected at least one, got none", "description, params, resources, tasks, workspaces")
    workspaces = {workspace["name"] for workspace in spec.get("workspaces") or []}
    for group in ("tasks", "finally"):
        for index, task in enumerate(spec.get(group) or []):
            yield from _pipeline_task(task, workspaces, f"{at}.{group}[{index}]")
    yield from _unique([*tasks, *final], f"{at}.tasks")
    for index, task in enumerate(final):
        if task.get("runAfter"):
            words = f"no runAfter allowed under spec.finally, final task {task['name']} has runAfter specified"
            yield FieldError(f"invalid value: {words}", f"{at}.finally[{index}]")
    yield from _param_specs(spec.get("params"), f"{at}.params")
    yield from _unique(spec.get("results") or [], f"{at}.results")


def _pipeline_task(task: Object, workspaces: set[str], at: str) -> Problems:
    name = task["name"]
    if not names.is_dns_label(name):
        yield FieldError(
            f'invalid value "{name}"', f"{at}.name",
            "Pipeline Task name must be a valid DNS Label. For more info refer to "
            "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names",
        )  # fmt: skip
    yield from absent(task, ("matrix", "when", "pipelineRef", "pipelineSpec"), at)
    if "pipelineRef" not in task and "pipelineSpec" not in task:
        yield from one_of(task, ("taskRef", "taskSpec"), at)
    yield from _reference(task.get("taskRef"), f"{at}.taskRef")
    embedded = task.get("taskSpec")
    if isinstance(embedded, dict):
        if embedded.get("apiVersion") or embedded.get("kind"):
            yield _not_supported("custom tasks", f"{at}.taskSpec")
        else:
            yield from task_spec(embedded, f"{at}.taskSpec")
    for found in task.get("workspaces") or []:
        wanted = found.get("workspace") or found["name"]
        if wanted not in workspaces:
            words = f'pipeline task "{name}" expects workspace with name "{wanted}" but none exists in pipeline spec'
            yield FieldError(f"invalid value: {words}", f"{at}.workspaces")
    yield from _params(task.get("params"), f"{at}.params")
    yield from _timeout(task.get("timeout"), f"{at}.timeout")
    yield from _non_negative(task.get("retries"), f"{at}.retries")
    yield from _pipeline_task_on_error(task, at)


def _pipeline_task_on_error(task: Object, at: str) -> Problems:
    on_error = task.get("onError")
    if on_error and "$(" not in on_error and on_error not in ("continue", "stopAndFail"):
        yield FieldError(
            f"invalid value: {on_error}",
            f"{at}.onError",
            'PipelineTask OnError must be either "continue" or "stopAndFail"',
        )
    if on_error == "continue" and (task.get("retries") or 0) > 0:
        yield FieldError('PipelineTask OnError cannot be set to "continue" when Retries is greater than 0', at)


def _reference(reference: Object | None, at: str) -> Problems:
    if reference is None:
        return
    if reference.get("resolver"):
        yield _not_supported(f"the resolver {reference['resolver']!r}", f"{at}.resolver")
        return
    if reference.get("apiVersion") and not reference["apiVersion"].startswith("tekton.dev/"):
        yield _not_supported("custom tasks", f"{at}.apiVersion")
    elif not reference.get("name"):
        yield FieldError("missing field(s)", f"{at}.name")


def _bindings(workspaces: list[Object] | None) -> Problems:
    seen: dict[str, int] = {}
    for index, binding in enumerate(workspaces or []):
        name = binding["name"]
        if name in seen:
            yield FieldError(
                f'workspace "{name}" provided by pipelinerun more than once, at index {seen[name]} and {index}',
                "spec.workspaces",
            )
        seen[name] = index
        given = [source for source in BINDINGS if binding.get(source) is not None]
        if len(given) != 1:
            got = "neither" if not given else "both"
            yield FieldError(
                f"expected exactly one, got {got}", f"spec.workspaces[{index}].{', '.join(given or BINDINGS)}"
            )


def _timeouts(timeouts: Object) -> Problems:
    seconds: dict[str, float] = {}
    for field in ("pipeline", "tasks", "finally"):
        wrong = list(_timeout(timeouts.get(field), f"spec.timeouts.{field}"))
        yield from wrong
        if timeouts.get(field) is not None and not wrong:
            seconds[field] = duration.parse(timeouts[field])
    whole = seconds.get("pipeline", 0)
    if not whole:
        return
    for field in ("tasks", "finally"):
        if seconds.get(field, 0) > whole:
            yield FieldError(
                f"invalid value: {timeouts[field]} should be <= pipeline duration", f"spec.timeouts.{field}"
            )
    if seconds.get("tasks", 0) + seconds.get("finally", 0) > whole:
        yield FieldError("invalid value: tasks + finally should be <= pipeline duration", "spec.timeouts")


def _timeout(text: str | None, at: str) -> Problems:
    if text is None:
        return
    try:
        if duration.parse(text) < 0:
            yield FieldError(f"invalid value: {text} should be >= 0", at)
    except Invalid as error:
        yield FieldError(f"invalid value: {error}", at)


def _non_negative(number: int | None, at: str) -> Problems:
    if (number or 0) < 0:
        yield FieldError(f"invalid value: {number} should be >= 0", at)


def _params(params: list[Object] | None, at: str) -> Problems:
    yield from _unique(params or [], at)


def _unique(items: Iterable[Object], at: str) -> Problems:
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name") or ""
        if name and name in seen:
            yield FieldError("expected exactly one, got both", f"{at}[{index}].name")
        seen.add(name)


def one_of(obj: Object, fields: tuple[str, ...], at: str) -> Problems:
    given = [field for field in fields if obj.get(field) is not None]
    if len(given) != 1:
        got = "both" if given else "neither"
        yield FieldError(f"expected exactly one, got {got}", ", ".join(f"{at}.{field}" for field in fields))


def absent(obj: Object, fields: tuple[str, ...], at: str) -> Problems:
    """What funcs does not do is refused by its name."""
    for field in fields:
        if obj.get(field):
            yield _not_supported(field, f"{at}.{field}")


def _not_supported(what: str, at: str) -> FieldError:
    return FieldError(f"not supported: {what}", at, "funcs does not do this; nothing of the object was accepted")
