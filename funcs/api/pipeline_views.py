"""Typed views of tekton.dev/v1: what is read and decided upon.

Law: containers (steps, sidecars, templates, volumes) stay raw, as every foreign spec does; admission has normalised
values (a param is a string, a list of strings or a mapping of strings). Durations stay text. Fields that funcs refuses
are here too, so that no schema drops them before they are refused. No IO.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .meta import Object

Raw = dict[str, Any]


class View(msgspec.Struct, frozen=True, rename="camel"):
    """A view ignores fields that it does not know."""


class Param(View, frozen=True):
    name: str
    value: Any = ""


class ParamSpec(View, frozen=True):
    """`type` is string, array or object; `properties` (of an object) names its keys."""

    name: str
    type: str = ""
    description: str = ""
    properties: dict[str, Any] | None = None
    default: Any = None
    enum: tuple[str, ...] = ()


class ResultSpec(View, frozen=True):
    """A Task's declared result."""

    name: str
    type: str = ""
    description: str = ""
    properties: dict[str, Any] | None = None
    value: Any = None


class WorkspaceDeclaration(View, frozen=True):
    name: str
    description: str = ""
    mount_path: str = ""
    read_only: bool = False
    optional: bool = False


class WorkspaceBinding(View, frozen=True):
    """Exactly one of the sources is given; each is raw."""

    name: str
    sub_path: str = ""
    volume_claim_template: Raw | None = None
    persistent_volume_claim: Raw | None = None
    empty_dir: Raw | None = None
    config_map: Raw | None = None
    secret: Raw | None = None
    projected: Raw | None = None
    csi: Raw | None = None


class Reference(View, frozen=True):
    """taskRef and pipelineRef."""

    name: str = ""
    kind: str = ""
    api_version: str = ""
    resolver: str = ""
    params: tuple[Param, ...] = ()


class Mount(View, frozen=True):
    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    read_only: bool = False


class WorkspaceUsage(View, frozen=True):
    """A step's own word on a workspace (isolation)."""

    name: str
    mount_path: str = ""


class Container(View, frozen=True):
    """What is decided upon in a step, sidecar or template; the rest of it stays raw."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    script: str = ""
    env: tuple[Raw, ...] = ()
    env_from: tuple[Raw, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()
    workspaces: tuple[WorkspaceUsage, ...] = ()
    on_error: str = ""
    timeout: str | None = None
    stdout_config: Raw | None = None
    stderr_config: Raw | None = None
    compute_resources: Raw | None = None


class TaskSpec(View, frozen=True):
    params: tuple[ParamSpec, ...] = ()
    display_name: str = ""
    description: str = ""
    steps: tuple[Raw, ...] = ()
    volumes: tuple[Raw, ...] = ()
    step_template: Raw | None = None
    sidecars: tuple[Raw, ...] = ()
    workspaces: tuple[WorkspaceDeclaration, ...] = ()
    results: tuple[ResultSpec, ...] = ()


class Task(View, frozen=True):
    spec: TaskSpec = TaskSpec()


class TaskRunSpec(View, frozen=True):
    """`task_spec` is raw: it is substituted before it is read as a TaskSpec."""

    params: tuple[Param, ...] = ()
    service_account_name: str = ""
    task_ref: Reference | None = None
    task_spec: Raw | None = None
    status: str = ""
    status_message: str = ""
    retries: int = 0
    timeout: str | None = None
    pod_template: Raw | None = None
    workspaces: tuple[WorkspaceBinding, ...] = ()
    compute_resources: Raw | None = None
    managed_by: str = ""
    debug: Raw | None = None
    step_specs: tuple[Raw, ...] = ()
    sidecar_specs: tuple[Raw, ...] = ()


class TaskRunStatus(View, frozen=True):
    conditions: tuple[Object, ...] = ()
    pod_name: str = ""
    start_time: str = ""
    completion_time: str = ""
    steps: tuple[Raw, ...] = ()
    sidecars: tuple[Raw, ...] = ()
    results: tuple[Raw, ...] = ()
    retries_status: tuple[Raw, ...] = ()
    task_spec: Raw | None = None
    provenance: Raw | None = None


class TaskRun(View, frozen=True):
    spec: TaskRunSpec = TaskRunSpec()
    status: TaskRunStatus = TaskRunStatus()


class PipelineTaskWorkspace(View, frozen=True):
    """`workspace` "" means the pipeline's workspace of the same name."""

    name: str
    workspace: str = ""
    sub_path: str = ""


class PipelineTask(View, frozen=True):
    name: str
    display_name: str = ""
    description: str = ""
    task_ref: Reference | None = None
    task_spec: Raw | None = None
    retries: int = 0
    run_after: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    workspaces: tuple[PipelineTaskWorkspace, ...] = ()
    timeout: str | None = None
    on_error: str = ""
    when: tuple[Raw, ...] = ()
    matrix: Raw | None = None
    pipeline_ref: Raw | None = None
    pipeline_spec: Raw | None = None


class PipelineResult(View, frozen=True):
    name: str
    value: Any = ""
    type: str = ""
    description: str = ""


class PipelineWorkspace(View, frozen=True):
    name: str
    description: str = ""
    optional: bool = False


class PipelineSpec(View, frozen=True):
    display_name: str = ""
    description: str = ""
    tasks: tuple[PipelineTask, ...] = ()
    params: tuple[ParamSpec, ...] = ()
    workspaces: tuple[PipelineWorkspace, ...] = ()
    results: tuple[PipelineResult, ...] = ()
    finally_: tuple[PipelineTask, ...] = msgspec.field(name="finally", default=())


class Pipeline(View, frozen=True):
    spec: PipelineSpec = PipelineSpec()


class Timeouts(View, frozen=True):
    pipeline: str | None = None
    tasks: str | None = None
    finally_: str | None = msgspec.field(name="finally", default=None)


class TaskRunTemplate(View, frozen=True):
    pod_template: Raw | None = None
    service_account_name: str = ""


class PipelineTaskRunSpec(View, frozen=True):
    """What a PipelineRun says about the TaskRun of one of its tasks."""

    pipeline_task_name: str = ""
    service_account_name: str = ""
    pod_template: Raw | None = None
    metadata: Raw | None = None
    compute_resources: Raw | None = None
    timeout: str | None = None
    step_specs: tuple[Raw, ...] = ()
    sidecar_specs: tuple[Raw, ...] = ()


class PipelineRunSpec(View, frozen=True):
    """`pipeline_spec` is raw: it is substituted before it is read as a PipelineSpec."""

    pipeline_ref: Reference | None = None
    pipeline_spec: Raw | None = None
    params: tuple[Param, ...] = ()
    status: str = ""
    timeouts: Timeouts = Timeouts()
    task_run_template: TaskRunTemplate = TaskRunTemplate()
    workspaces: tuple[WorkspaceBinding, ...] = ()
    task_run_specs: tuple[PipelineTaskRunSpec, ...] = ()
    managed_by: str = ""


class PipelineRunStatus(View, frozen=True):
    conditions: tuple[Object, ...] = ()
    start_time: str = ""
    completion_time: str = ""
    finally_start_time: str = ""
    pipeline_spec: Raw | None = None
    results: tuple[Raw, ...] = ()
    skipped_tasks: tuple[Raw, ...] = ()
    child_references: tuple[Raw, ...] = ()
    provenance: Raw | None = None


class PipelineRun(View, frozen=True):
    spec: PipelineRunSpec = PipelineRunSpec()
    status: PipelineRunStatus = PipelineRunStatus()
