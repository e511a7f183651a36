"""The engine's controllers, ready for the loop.

Law: TaskRuns and PipelineRuns meet only in resources. No IO of its own.
"""

from __future__ import annotations

from funcs.api import core, pipeline
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, Watch, owner_key
from pipelines.steps.pod import PodSettings

from .pipelineruns import PipelineRuns
from .taskruns import TaskRuns


def controllers(client: Client, cache: Cache, clock: Clock, settings: PodSettings) -> list[Controller]:
    """The caches must hold Tasks, Pipelines, TaskRuns, PipelineRuns, Pods and PersistentVolumeClaims."""
    return [
        Controller(
            "taskrun",
            TaskRuns(client, cache, clock, settings).reconcile,
            (Watch(pipeline.TASK_RUN), Watch(core.POD, owner_key(pipeline.TASK_RUN))),
        ),
        Controller(
            "pipelinerun",
            PipelineRuns(client, cache, clock).reconcile,
            (
                Watch(pipeline.PIPELINE_RUN),
                Watch(pipeline.TASK_RUN, owner_key(pipeline.PIPELINE_RUN)),
                Watch(core.PERSISTENT_VOLUME_CLAIM, owner_key(pipeline.PIPELINE_RUN)),
                Watch(pipeline.TASK, lambda obj: ()),
                Watch(pipeline.PIPELINE, lambda obj: ()),
            ),
        ),
    ]
