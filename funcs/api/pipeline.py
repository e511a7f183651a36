"""tekton.dev/v1: Task, Pipeline, TaskRun, PipelineRun: kinds, typed views, defaulting, validation.

Law: pure; config maps are arguments. The rules here judge structure; `pipelines.language.admission` adds what needs
the language (variables, references, order). Source: Tekton Pipelines' API v1. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from . import pipeline_defaults as defaults
from . import pipeline_rules as rules
from . import pipeline_views as views
from .admission import Rules
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

VIEWS: Mapping[Kind, type[msgspec.Struct]] = {
    TASK: views.Task,
    PIPELINE: views.Pipeline,
    TASK_RUN: views.TaskRun,
    PIPELINE_RUN: views.PipelineRun,
}

RULES: Mapping[Kind, Rules] = {
    TASK: Rules(default=defaults.default_task, validate=rules.validate_task),
    PIPELINE: Rules(default=defaults.default_pipeline, validate=rules.validate_pipeline),
    TASK_RUN: Rules(default=defaults.default_task_run, validate=rules.validate_task_run),
    PIPELINE_RUN: Rules(default=defaults.default_pipeline_run, validate=rules.validate_pipeline_run),
}
