"""A TaskRun's Task, made its own: bound params, contexts, paths and workspaces replaced, scope after scope.

Law: params → contexts → results → exit codes → workspaces → credentials, each one pass, so that a param's value may
speak of a workspace but never of another param. Source: Tekton's pkg/reconciler/taskrun (createPod). No IO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from funcs.api import meta
from funcs.api.meta import Object
from funcs.api.pipeline_views import TaskRun, TaskSpec, WorkspaceBinding, WorkspaceDeclaration
from funcs.errors import Terminal
from pipelines.language import params as language
from pipelines.language import shapes, substitution
from pipelines.language.substitution import Replacements, Value

from . import entrypoint, workspaces

_INVALID = "TaskRunValidationFailed"


@dataclass(frozen=True, slots=True)
class Task:
    """What a TaskRun runs: an embedded spec (`embedded`) or a Task found by name."""

    spec: Object
    name: str = ""
    embedded: bool = True
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


def container_name(step: Object, index: int) -> str:
    return f"step-{step['name']}" if step.get("name") else f"step-unnamed-{index}"


def own(run: Object, task: Task) -> Object:
    """The spec that the pod is made from. Raises Terminal (TaskRunValidationFailed) when it cannot be run."""
    view, declared = msgspec.convert(run, TaskRun), msgspec.convert(task.spec, TaskSpec)
    values = language.bind(declared.params, language.given(view.spec.params))
    _check(task.spec, declared, values)
    spec = task.spec
    for known in (
        language.replacements(values),
        _contexts(run, task),
        _result_paths(declared),
        _exit_code_paths(spec),
    ):
        spec = shapes.apply(spec, shapes.TASK_SPEC, known)
    return _with_workspaces(run, task, spec, declared, language.replacements(values) | _contexts(run, task))


def _bindings(run: Object, known: Replacements) -> list[Object]:
    bound: list[Object] = shapes.apply(meta.spec(run).get("workspaces") or [], shapes.BINDINGS, known)
    return workspaces.claimed(bound, run)


def _check(spec: Object, declared: TaskSpec, values: dict[str, Value]) -> None:
    missing = language.missing(declared.params, values)
    if missing:
        raise _invalid(f"missing values for these params which have no default values: [{' '.join(missing)}]")
    wrong = language.mismatched(declared.params, values)
    if wrong:
        raise _invalid(f"param types don't match the user-specified type: [{' '.join(wrong)}]")
    lacking = language.missing_keys(declared.params, values)
    if lacking:
        listed = " ".join(f"{name}:[{' '.join(keys)}]" for name, keys in sorted(lacking.items()))
        raise _invalid(f"missing keys for these params which are required in ParamSpec's properties map[{listed}]")
    beyond = language.out_of_bounds((text for _, _, text in shapes.texts(spec, shapes.TASK_SPEC)), values)
    if beyond:
        raise _invalid(f"non-existent param references:[{' '.join(beyond)}]")


def _invalid(message: str) -> Terminal:
    return Terminal(message, reason=_INVALID)


def _contexts(run: Object, task: Task) -> Replacements:
    retries = len(meta.status(run).get("retriesStatus") or [])
    return Replacements(
        {
            "context.taskRun.name": meta.name(run),
            "context.taskRun.namespace": meta.namespace(run),
            "context.taskRun.uid": meta.uid(run),
            "context.task.name": task.name,
            "context.task.retry-count": str(retries),
        }
    )


def _result_paths(declared: TaskSpec) -> Replacements:
    return Replacements(
        {
            f"{spelling}.path": f"{entrypoint.RESULTS}/{result.name}"
            for result in declared.results
            for spelling in substitution.spellings("results", result.name)
        }
    )


def _exit_code_paths(spec: Object) -> Replacements:
    named = [container_name(step, index) for index, step in enumerate(spec.get("steps") or [])]
    return Replacements({f"steps.{name}.exitCode.path": f"{entrypoint.STEPS}/{name}/exitCode" for name in named})


def _with_workspaces(run: Object, task: Task, spec: Object, declared: TaskSpec, known: Replacements) -> Object:
    raw = _bindings(run, known)
    bound = msgspec.convert(raw, tuple[WorkspaceBinding, ...])
    declarations = _declarations(msgspec.convert(spec, TaskSpec).workspaces, bound, embedded=task.embedded)
    problem = workspaces.problem(declarations, bound)
    if problem:
        raise _invalid(f"bound workspaces did not match declared workspaces: {problem}")
    made = workspaces.volumes(raw)
    spec = shapes.apply(spec, shapes.TASK_SPEC, workspaces.replacements(declarations, bound, made))
    spec = workspaces.mounted(spec, declarations, bound, made)
    credentials = Replacements({"credentials.path": entrypoint.CREDENTIALS})
    replaced: Object = shapes.apply(spec, shapes.TASK_SPEC, credentials)
    return replaced


def _declarations(
    declared: Sequence[WorkspaceDeclaration], bound: Sequence[WorkspaceBinding], *, embedded: bool
) -> list[WorkspaceDeclaration]:
    """An embedded spec need not declare what its run binds (propagation)."""
    names = {declaration.name for declaration in declared}
    implied = [WorkspaceDeclaration(binding.name) for binding in bound if binding.name not in names] if embedded else []
    return [*declared, *implied]
