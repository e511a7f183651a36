"""What a Task's or Pipeline's text may say: variables that exist, arrays where they fit, an order without circles.

Law: pure, and in Tekton's words. Embedded specs may use params that they do not declare (propagation), so only
what can never be right is refused there. Source: Tekton's pkg/apis/pipeline/v1/{task,pipeline}_validation.go. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from funcs.api import pipeline_views as views
from funcs.api.meta import Object
from funcs.api.pipeline_defaults import normal_value
from funcs.errors import FieldError, Terminal

from . import graph, references, substitution
from .params import param_of
from .shapes import TASK_SPEC, Leaf, texts

Problems = Iterator[FieldError]

_PREFIXES = ("params", "tasks", "finally", "context", "workspaces", "results")
_PREFIXED = re.compile(rf"(?:{'|'.join(_PREFIXES)})[.\[]")
_DOTTED = re.compile(r"params\.[^.\[\]]+(?:\[(?:\*|[0-9]+)\]|\.[^.\[\]]+)?")


def task_spec(raw: Object, at: str, *, embedded: bool) -> Problems:
    spec = msgspec.convert(raw, views.TaskSpec)
    declared = {param.name: param.type or "string" for param in spec.params}
    for path, leaf, text in texts(raw, TASK_SPEC):
        for variable in substitution.names_in(text):
            yield from _variable(variable, leaf, text, declared, f"{at}.{path}", embedded=embedded)
    workspaces = {workspace.name for workspace in spec.workspaces}
    for group, containers in (("steps", spec.steps), ("sidecars", spec.sidecars)):
        for index, container in enumerate(containers):
            for used in container.get("workspaces") or []:
                if used.get("name") not in workspaces and not embedded:
                    yield FieldError(f'undefined workspace "{used.get("name")}"', f"{at}.{group}[{index}].workspaces")


def _variable(
    variable: str, leaf: Leaf, text: str, declared: Mapping[str, str], at: str, *, embedded: bool
) -> Problems:
    name = param_of(variable)
    if not name:
        return
    if variable.startswith("params.") and not _DOTTED.fullmatch(variable):
        yield FieldError(
            f'Invalid referencing of parameters in "{text}"! Only two dot-separated components after the prefix '
            '"params" are allowed.',
            at,
        )
        return
    if name not in declared:
        if not embedded:
            yield FieldError(f'non-existent variable in "{text}"', at)
        return
    whole = variable in substitution.spellings("params", name) or variable.endswith("[*]")
    if not whole or declared[name] == "string":
        return
    if declared[name] == "object" or leaf is not Leaf.LIST:
        yield FieldError(f'variable type invalid in "{text}"', at)
    elif text != f"$({variable})":
        yield FieldError(f'variable is not properly isolated in "{text}"', at)


def pipeline_spec(raw: Object, at: str, *, embedded: bool) -> Problems:
    spec = msgspec.convert(raw, views.PipelineSpec)
    declared = {param.name for param in spec.params}
    for group, tasks in (("tasks", spec.tasks), ("finally", spec.finally_)):
        for index, task in enumerate(tasks):
            place = f"{at}.{group}[{index}]"
            for param in task.params:
                yield from _param_value(param, None if embedded else declared, f"{place}.params[{param.name}].value")
            if task.task_spec is not None:
                yield from task_spec(task.task_spec, f"{place}.taskSpec", embedded=True)
    yield from _order(spec, at)
    yield from _states(spec, at)
    yield from _results(spec, at)


def _param_value(param: views.Param, declared: set[str] | None, at: str) -> Problems:
    for _, _, text in texts(normal_value(param.value)):
        for variable in substitution.names_in(text):
            if not _PREFIXED.match(variable):
                yield FieldError(
                    f'invalid variable reference "$({variable})", must start with a valid prefix: params, tasks, '
                    "finally, context, workspaces, or results; if you meant a shell variable, use ${VAR} instead",
                    at,
                )
            elif declared is not None and (name := param_of(variable)) and name not in declared:
                yield FieldError(f'non-existent variable in "{text}"', at)


def _order(spec: views.PipelineSpec, at: str) -> Problems:
    try:
        graph.parents(spec.tasks)
    except Terminal as error:
        yield FieldError(f"invalid value: {error}", f"{at}.tasks")
    names = {task.name for task in spec.tasks}
    final = {task.name for task in spec.finally_}
    for index, task in enumerate(spec.finally_):
        for found in references.results_of(task):
            if found.task in names:
                continue
            what = "a final task" if found.task in final else "a task"
            tail = "" if found.task in final else " which is not defined in the pipeline"
            yield FieldError(
                f"invalid value: invalid task result reference, final task has task result reference from {what} "
                f"{found.task}{tail}",
                f"{at}.finally[{index}].params",
            )


def _states(spec: views.PipelineSpec, at: str) -> Problems:
    for index, task in enumerate(spec.tasks):
        if references.states_of(task) or references.is_aggregate_wanted(task):
            yield FieldError(
                "invalid value: pipeline tasks can not refer to execution status of any other pipeline task or "
                "aggregate status of tasks",
                f"{at}.tasks[{index}].params",
            )
    names = {task.name for task in spec.tasks}
    for index, task in enumerate(spec.finally_):
        for found in references.states_of(task):
            if found.task not in names:
                yield FieldError(
                    f"invalid value: pipeline task {found.task} is not defined in the pipeline",
                    f"{at}.finally[{index}].params",
                )


def _results(spec: views.PipelineSpec, at: str) -> Problems:
    names = {"tasks": {task.name for task in spec.tasks}, "finally": {task.name for task in spec.finally_}}
    for index, result in enumerate(spec.results):
        found = [ref for _, _, text in texts(normal_value(result.value)) for ref in references.results_in(text)]
        place = f"{at}.results[{index}].value"
        if not found:
            words = "expected pipeline results to be task result expressions but no expressions were found"
            yield FieldError(f"invalid value: {words}", place)
        for ref in found:
            if ref.task not in names[ref.scope]:
                yield FieldError("invalid value: referencing a nonexistent task", place, f"{ref.scope}.{ref.task}")
