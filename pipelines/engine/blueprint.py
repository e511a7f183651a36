"""A PipelineRun's Pipeline, made its own: params, contexts and workspaces bound, checked, and embedded Tasks given what
propagates into them.

Law: pure; computed once, at the start, and kept in `status.pipelineSpec`. Raises Terminal with Tekton's reason where a
run does not fit its pipeline. Source: Tekton's pkg/reconciler/pipelinerun/resources. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from funcs.api import meta
from funcs.api.meta import Object, Objects
from funcs.api.pipeline_views import PipelineRun, PipelineSpec, Reference, TaskSpec, View
from funcs.errors import Terminal
from pipelines.language import graph, shapes, substitution
from pipelines.language import params as language
from pipelines.language.substitution import Replacements, Value

TaskSpecs = Mapping[str, TaskSpec]
"""By pipeline task, the spec of its Task."""


def own(run: Object, raw: Object, name: str) -> Object:
    """The raw pipeline spec with everything replaced that is known before a task has run."""
    view, spec = msgspec.convert(run, PipelineRun), msgspec.convert(raw, PipelineSpec)
    label, pipeline = f"{meta.namespace(run)}/{meta.name(run)}", f"{meta.namespace(run)}/{name}"
    values = language.bind(spec.params, language.given(view.spec.params))
    _check_params(spec, values, label, pipeline)
    _check_workspaces(view, spec, label, pipeline)
    _check_task_run_specs(view, spec, label)
    graph.parents(spec.tasks)
    bound = {binding.name for binding in view.spec.workspaces}
    passes = (
        language.replacements(values),
        contexts(run, name),
        Replacements({f"workspaces.{w.name}.bound": str(w.name in bound).lower() for w in spec.workspaces}),
    )
    for known in passes:
        raw = _replaced(raw, known)
    return raw


def contexts(run: Object, name: str) -> Replacements:
    return Replacements(
        {
            "context.pipelineRun.name": meta.name(run),
            "context.pipelineRun.namespace": meta.namespace(run),
            "context.pipelineRun.uid": meta.uid(run),
            "context.pipeline.name": name,
        }
    )


def _replaced(raw: Object, known: Replacements) -> Object:
    made = dict(raw)
    for group in ("tasks", "finally"):
        if raw.get(group):
            made[group] = [replaced_task(task, known) for task in raw[group]]
    if raw.get("results"):
        made["results"] = shapes.apply(raw["results"], shapes.Each({"value": shapes.VALUE}), known)
    return made


def replaced_task(task: Object, known: Replacements) -> Object:
    """One pipeline task; an embedded spec takes all but what its own params say otherwise."""
    made: Object = shapes.apply(task, shapes.PIPELINE_TASK, known)
    embedded = task.get("taskSpec")
    if embedded is None:
        return made
    given = [param["name"] for param in task.get("params") or []]
    defaulted = [param["name"] for param in embedded.get("params") or [] if param.get("default") is not None]
    inner = known.without("params", [*given, *defaulted])
    made["taskSpec"] = shapes.apply(embedded, shapes.TASK_SPEC, inner)
    return made


def _check_params(spec: PipelineSpec, values: Mapping[str, Value], run: str, pipeline: str) -> None:
    missing = language.missing(spec.params, values)
    if missing:
        raise Terminal(
            f"PipelineRun {run} is missing some parameters required by Pipeline {pipeline}: pipelineRun missing "
            f"parameters: [{' '.join(missing)}]",
            reason="ParameterMissing",
        )
    wrong = language.mismatched(spec.params, values)
    if wrong:
        raise Terminal(
            f"PipelineRun {run} parameters have mismatching types with Pipeline {pipeline}'s parameters: parameters "
            f"have the wrong type, expected types don't match: [{' '.join(wrong)}]",
            reason="ParameterTypeMismatch",
        )
    lacking = language.missing_keys(spec.params, values)
    if lacking:
        listed = " ".join(f"{name}:[{' '.join(keys)}]" for name, keys in sorted(lacking.items()))
        raise Terminal(
            f"PipelineRun {run} parameters is missing object keys required by Pipeline {pipeline}'s parameters: "
            f"pipelineRun missing object keys for parameters: map[{listed}]",
            reason="ObjectParameterMissKeys",
        )
    beyond = language.out_of_bounds(_texts(spec), values)
    if beyond:
        raise Terminal(
            f"PipelineRun {run} failed validation: non-existent param references:[{' '.join(beyond)}]",
            reason="ParamArrayIndexingInvalid",
        )


def _texts(spec: PipelineSpec) -> Iterable[str]:
    for task in (*spec.tasks, *spec.finally_):
        for param in task.params:
            yield from (text for _, _, text in shapes.texts(param.value))
        yield from (text for _, _, text in shapes.texts(task.task_spec or {}, shapes.TASK_SPEC))


def _check_workspaces(view: PipelineRun, spec: PipelineSpec, run: str, pipeline: str) -> None:
    bound = {binding.name for binding in view.spec.workspaces}
    for workspace in spec.workspaces:
        if not workspace.optional and workspace.name not in bound:
            raise Terminal(
                f"PipelineRun {run} doesn't bind Pipeline {pipeline}'s Workspaces correctly: pipeline requires "
                f'workspace with name "{workspace.name}" be provided by pipelinerun',
                reason="InvalidWorkspaceBindings",
            )


def _check_task_run_specs(view: PipelineRun, spec: PipelineSpec, run: str) -> None:
    names = {task.name for task in (*spec.tasks, *spec.finally_)}
    for found in view.spec.task_run_specs:
        if found.pipeline_task_name not in names:
            raise Terminal(
                f"PipelineRun {run} doesn't define taskRunSpecs correctly: PipelineRun's taskrunSpecs defined wrong "
                f'taskName: "{found.pipeline_task_name}", does not exist in Pipeline',
                reason="InvalidTaskRunSpecs",
            )


def referenced(spec: PipelineSpec) -> list[tuple[str, Reference]]:
    """Every pipeline task that refers to a Task by name."""
    return [(task.name, task.task_ref) for task in (*spec.tasks, *spec.finally_) if task.task_ref is not None]


def check_tasks(spec: PipelineSpec, found: TaskSpecs, run: Object) -> None:
    """What can only be known with the Tasks at hand: a required workspace that may be unbound, params that lack."""
    optional = {workspace.name for workspace in spec.workspaces if workspace.optional}
    for task in (*spec.tasks, *spec.finally_):
        declared = found.get(task.name)
        if declared is None:
            continue
        given = {usage.name: usage.workspace or usage.name for usage in task.workspaces}
        for workspace in declared.workspaces:
            if given.get(workspace.name) in optional and not workspace.optional:
                raise Terminal(
                    f'pipeline workspace "{given[workspace.name]}" is marked optional but pipeline task "{task.name}" '
                    f'requires it be provided as workspace "{workspace.name}"',
                    reason="RequiredWorkspaceMarkedOptional",
                )
        missing = language.missing(declared.params, language.given(task.params))
        if missing:
            raise Terminal(
                f"Validation failed for pipelinerun {meta.name(run)} with error invalid input params for task "
                f"{task.name}: missing values for these params which have no default values: [{' '.join(missing)}]",
                reason="PipelineValidationFailed",
            )


class _Usage(View, frozen=True):
    name: str
    workspace: str = ""
    sub_path: str = ""


def bindings(run: Object, task: Object, claimed: Objects) -> Objects:
    """The workspaces of one pipeline task's TaskRun. `claimed` are the run's, every template replaced by its claim."""
    by_name = {binding["name"]: binding for binding in claimed}
    usages = list(msgspec.convert(task.get("workspaces") or [], tuple[_Usage, ...]))
    known = {usage.name for usage in usages}
    embedded = task.get("taskSpec") or {}
    usages += [_Usage(name) for name in sorted(_mentioned(embedded) & by_name.keys() - known)]
    found = []
    for usage in usages:
        binding = by_name.get(usage.workspace or usage.name)
        if binding is not None:
            parts = [part for part in (binding.get("subPath"), usage.sub_path) if part]
            made = {**binding, "name": usage.name, "subPath": "/".join(parts)}
            found.append({key: value for key, value in made.items() if value != ""})
    return found


def _mentioned(embedded: Object) -> set[str]:
    """Workspaces that an embedded Task speaks of (they propagate)."""
    declared = {workspace["name"] for workspace in embedded.get("workspaces") or []}
    variables = [
        variable
        for _, _, text in shapes.texts(embedded, shapes.TASK_SPEC)
        for variable in substitution.names_in(text)
        if variable.startswith("workspaces.")
    ]
    return declared | {variable.split(".")[1] for variable in variables}
