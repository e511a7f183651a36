"""Results: what a task's files say, by its declaration; what a pipeline's results come to.

Law: a string result is the file, byte for byte; an array or object must parse as JSON of strings, else the TaskRun
fails. Source: Tekton's pkg/pod/status.go, pkg/reconciler/taskrun/validate_taskrun.go,
pkg/reconciler/pipelinerun/resources/apply.go. No IO.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from funcs.api.pipeline_defaults import normal_value, type_of
from funcs.api.pipeline_views import PipelineResult, ResultSpec
from funcs.errors import Terminal

from . import references, substitution
from .references import ResultReference
from .substitution import Replacements, Value

Results = Mapping[str, Value]
"""The results of one task by name."""


def read(declared: Iterable[ResultSpec], files: Mapping[str, str]) -> dict[str, Value]:
    """The declared results that were written, each with the type that its content has."""
    return {spec.name: _typed(files[spec.name], spec.type) for spec in declared if spec.name in files}


def _typed(text: str, declared: str) -> Value:
    if declared not in ("array", "object"):
        return text
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    value = normal_value(parsed)
    return text if isinstance(value, str) else value


def problem(declared: Sequence[ResultSpec], values: Results) -> str:
    """Why these results break their declaration; "" if they keep it."""
    wrong = sorted(
        f' "{spec.name}": task result is expected to be "{spec.type}" type but was initialized to a different type '
        f'"{type_of(values[spec.name])}"'
        for spec in declared
        if spec.name in values and type_of(values[spec.name]) != (spec.type or "string")
    )
    if wrong:
        lead = "Provided results don't match declared results; may be invalid JSON or missing result declaration: "
        return lead + ",".join(wrong)
    lacking = {spec.name: _lacking(spec, values) for spec in declared if spec.name in values and _lacking(spec, values)}
    if lacking:
        listed = " ".join(f"{name}:[{' '.join(keys)}]" for name, keys in sorted(lacking.items()))
        return f"missing keys for these results which are required in TaskResult's properties map[{listed}]"
    return ""


def _lacking(spec: ResultSpec, values: Results) -> list[str]:
    value = values[spec.name]
    return sorted(key for key in spec.properties or {} if key not in value) if isinstance(value, dict) else []


def find(reference: ResultReference, values: Results) -> Value | None:
    """The value that a reference means; None if there is none (no such result, index, key or type)."""
    value = values.get(reference.result)
    if reference.key is not None:
        return value.get(reference.key) if isinstance(value, dict) else None
    if reference.index is None or reference.index == "*":
        return value
    if isinstance(value, list) and int(reference.index) < len(value):
        return value[int(reference.index)]
    return None


def replacements(tasks: Mapping[str, Results]) -> Replacements:
    """`tasks.<task>.results.<name>` for all tasks that are done."""
    known = Replacements()
    for task, values in tasks.items():
        known = known | substitution.replacements(f"tasks.{task}.results", values)
    return known


def of_pipeline(
    declared: Iterable[PipelineResult],
    tasks: Mapping[str, Results],
    succeeded: Callable[[str], bool],
) -> dict[str, Value]:
    """A pipeline's results, when it is done. One that refers to a task that did not succeed is left out.

    `tasks` has the results of every task that ended, `finally` included. Raises Terminal (CouldntGetPipelineResult)
    if a task that succeeded did not write what is referred to.
    """
    known = replacements(tasks) | _finally(tasks)
    values: dict[str, Value] = {}
    invalid: list[str] = []
    for result in declared:
        template = normal_value(result.value)
        wanted = [found for text in _templates(template) for found in references.results_in(text)]
        absent = [found for found in wanted if find(found, tasks.get(found.task, {})) is None]
        if not absent:
            values[result.name] = substitution.value(template, known)
        elif any(succeeded(found.task) for found in absent):
            invalid.append(result.name)
    if invalid:
        names = ", ".join(invalid)
        raise Terminal(f"invalid pipelineresults [{names}], the referenced results don't exist",
                       reason="CouldntGetPipelineResult")  # fmt: skip
    return values


def _finally(tasks: Mapping[str, Results]) -> Replacements:
    known = Replacements()
    for task, values in tasks.items():
        known = known | substitution.replacements(f"finally.{task}.results", values)
    return known


def _templates(value: Value) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value.values() if isinstance(value, dict) else value
