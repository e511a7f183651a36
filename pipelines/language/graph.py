"""The order of a pipeline's tasks: runAfter and result references as edges.

Law: an edge points from a task to what must be done before it; a graph with a circle is no graph. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from funcs.api.pipeline_views import PipelineTask
from funcs.errors import Terminal

from . import references

Parents = Mapping[str, tuple[str, ...]]


def parents(tasks: Iterable[PipelineTask]) -> Parents:
    """By task, what it waits for. Raises Terminal (PipelineInvalidGraph) for a circle or a task that is not there."""
    listed = list(tasks)
    names = {task.name for task in listed}
    edges: dict[str, tuple[str, ...]] = {}
    for task in listed:
        wanted = dict.fromkeys((*task.run_after, *(found.task for found in references.results_of(task))))
        for other in wanted:
            if other not in names:
                raise _invalid(f"task {task.name} depends on {other} but {other} wasn't present in Pipeline")
        edges[task.name] = tuple(wanted)
    _refuse_circles(edges)
    return edges


def _refuse_circles(edges: Parents) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle = error.args[1]
        raise _invalid(f'cycle detected; task "{circle[1]}" depends on "{circle[0]}"') from error


def _invalid(message: str) -> Terminal:
    return Terminal(message, reason="PipelineInvalidGraph")
