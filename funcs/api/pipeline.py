"""tekton.dev/v1: Task, Pipeline, TaskRun, PipelineRun: kinds, typed views, defaulting, validation.

Law: pure; config maps are arguments. Source: Tekton Pipelines' API v1. No IO.
"""

from __future__ import annotations

from .kinds import Column, Kind

_ALL = ("tekton", "tekton-pipelines")
_RUN = (
    Column("Succeeded", ".status.conditions[?(@.type=='Succeeded')].status"),
    Column("Reason", ".status.conditions[?(@.type=='Succeeded')].reason"),
    Column("StartTime", ".status.startTime", "date"),
    Column("CompletionTime", ".status.completionTime", "date"),
)

TASK = Kind(group="tekton.dev", version="v1", kind="Task", plural="tasks", categories=_ALL, status=False)
PIPELINE = Kind(group="tekton.dev", version="v1", kind="Pipeline", plural="pipelines", categories=_ALL, status=False)
TASK_RUN = Kind(
    group="tekton.dev", version="v1", kind="TaskRun", plural="taskruns", short_names=("tr", "trs"), categories=_ALL,
    columns=_RUN,
)  # fmt: skip
PIPELINE_RUN = Kind(
    group="tekton.dev", version="v1", kind="PipelineRun", plural="pipelineruns", short_names=("pr", "prs"),
    categories=_ALL, columns=_RUN,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (TASK, PIPELINE, TASK_RUN, PIPELINE_RUN)
