"""References to the results and states of other tasks: `$(tasks.build.results.digest)`.

Law: a reference anywhere in a pipeline task's params or embedded steps is an edge of the graph.
Source: Tekton's pkg/apis/pipeline/v1/resultref.go. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from funcs.api.pipeline_views import PipelineTask

from . import substitution
from .shapes import CONTAINER, Each, texts

_RESULT = re.compile(
    r"""(?P<scope>tasks|finally)\.(?P<task>[^.\[\]]+)\.results
        (?:\.(?P<plain>[^.\[\]]+)|\[(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)')\])
        (?:\[(?P<index>\*|[0-9]+)\]|\.(?P<key>[^.\[\]]+))?""",
    re.VERBOSE,
)
_STATE = re.compile(r"tasks\.(?P<task>[^.\[\]]+)\.(?P<what>status|reason)")
AGGREGATE = "tasks.status"
_EMBEDDED = {"steps": Each(CONTAINER), "sidecars": Each(CONTAINER)}


@dataclass(frozen=True, slots=True)
class ResultReference:
    """`index` is None, "*" or a number's text; `key` is an object's."""

    task: str
    result: str
    index: str | None = None
    key: str | None = None
    scope: str = "tasks"


@dataclass(frozen=True, slots=True)
class StateReference:
    """`$(tasks.<task>.status)` or `.reason`."""

    task: str
    what: str


def results_in(template: str) -> Iterator[ResultReference]:
    for variable in substitution.names_in(template):
        found = _RESULT.fullmatch(variable)
        if found:
            name = found["plain"] or found["double"] or found["single"]
            yield ResultReference(found["task"], name, found["index"], found["key"], found["scope"])


def states_in(template: str) -> Iterator[StateReference]:
    for variable in substitution.names_in(template):
        found = _STATE.fullmatch(variable)
        if found:
            yield StateReference(found["task"], found["what"])


def results_of(task: PipelineTask) -> list[ResultReference]:
    """Every result that the task needs before it can start, each once, in order of appearance."""
    return list(dict.fromkeys(reference for template in _templates(task) for reference in results_in(template)))


def states_of(task: PipelineTask) -> list[StateReference]:
    return list(dict.fromkeys(reference for template in _templates(task) for reference in states_in(template)))


def is_aggregate_wanted(task: PipelineTask) -> bool:
    return any(AGGREGATE in substitution.names_in(template) for template in _templates(task))


def _templates(task: PipelineTask) -> Iterable[str]:
    for param in task.params:
        yield from (template for _, _, template in texts(param.value))
    if task.task_spec is not None:
        yield from (template for _, _, template in texts(task.task_spec, _EMBEDDED))
