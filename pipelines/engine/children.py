"""The TaskRun of a pipeline task.

Law: pure and deterministic: the same run, task and results give the same TaskRun under the same name.
Source: Tekton's pkg/reconciler/pipelinerun (createTaskRun). No IO.
"""

from __future__ import annotations

from typing import Any

import msgspec

from funcs.api import duration, meta, names, pipeline
from funcs.api.meta import Object, Objects
from funcs.api.pipeline_defaults import DEFAULT_TIMEOUT
from funcs.api.pipeline_views import PipelineRun, PipelineTaskRunSpec
from pipelines.language import results
from pipelines.language.substitution import Replacements
from pipelines.steps import workspaces

from . import attempts, blueprint
from .facts import Facts

LABEL_RUN, LABEL_RUN_UID = "tekton.dev/pipelineRun", "tekton.dev/pipelineRunUID"
LABEL_PIPELINE, LABEL_TASK = "tekton.dev/pipeline", "tekton.dev/pipelineTask"
LABEL_MEMBER = "tekton.dev/memberOf"


def name_of(run: Object, task: str) -> str:
    return names.child(meta.name(run), f"-{task}")


def claims(run: Object) -> Objects:
    """The PersistentVolumeClaims of the run's workspaces."""
    return workspaces.claims(meta.spec(run).get("workspaces") or [], run, pipeline.PIPELINE_RUN)


def task_run(run: Object, raw: Object, facts: Facts) -> Object:
    """`raw` is the pipeline task of the run's own spec."""
    task = blueprint.replaced_task(raw, _known(raw, facts))
    view = msgspec.convert(run, PipelineRun)
    own = next((found for found in view.spec.task_run_specs if found.pipeline_task_name == task["name"]), None)
    own = own or PipelineTaskRunSpec()
    return {
        "apiVersion": pipeline.TASK_RUN.api_version,
        "kind": "TaskRun",
        "metadata": _metadata(run, task, own, is_final=task["name"] in facts.final),
        "spec": _spec(run, view, task, own, is_final=task["name"] in facts.final),
    }


def _known(raw: Object, facts: Facts) -> Replacements:
    """Results of tasks, and for `finally` their states."""
    known = results.replacements(facts.results) | Replacements(
        {"context.pipelineTask.retries": str(raw.get("retries") or 0)}
    )
    if raw["name"] not in facts.final:
        return known
    states = {f"tasks.{name}.status": facts.status_of(name) for name in facts.tasks}
    reasons = {f"tasks.{name}.reason": _reason(facts.runs.get(name)) for name in facts.tasks}
    return known | Replacements({**states, **reasons, "tasks.status": facts.aggregate})


def _reason(run: Object | None) -> str:
    found = meta.status(run).get("conditions") if run else None
    return str(found[0].get("reason") or "") if found else ""


def _metadata(run: Object, task: Object, own: PipelineTaskRunSpec, *, is_final: bool) -> Object:
    embedded, overriding = (task.get("taskSpec") or {}).get("metadata") or {}, own.metadata or {}
    pipeline_name = (meta.spec(run).get("pipelineRef") or {}).get("name") or meta.name(run)
    labels = {
        **meta.labels(run),
        **(embedded.get("labels") or {}),
        **(overriding.get("labels") or {}),
        LABEL_PIPELINE: meta.labels(run).get(LABEL_PIPELINE) or pipeline_name,
        LABEL_RUN: meta.name(run),
        LABEL_RUN_UID: meta.uid(run),
        LABEL_TASK: task["name"],
        LABEL_MEMBER: "finally" if is_final else "tasks",
    }
    if task.get("taskRef"):
        labels["tekton.dev/task"] = task["taskRef"]["name"]
    annotations = {
        **{key: value for key, value in meta.annotations(run).items() if not key.startswith("kubectl.kubernetes.io/")},
        **(embedded.get("annotations") or {}),
        **(overriding.get("annotations") or {}),
    }
    if task.get("onError") == "continue":
        annotations[attempts.ON_ERROR] = "continue"
    return {
        "name": name_of(run, task["name"]),
        "namespace": meta.namespace(run),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [meta.controller_reference(run, pipeline.PIPELINE_RUN)],
    }


def _spec(run: Object, view: PipelineRun, task: Object, own: PipelineTaskRunSpec, *, is_final: bool) -> Object:
    template = view.spec.task_run_template
    spec: Object = {
        "serviceAccountName": own.service_account_name or template.service_account_name or "default",
        "timeout": _timeout(view, task, own, is_final=is_final),
    }
    claimed = workspaces.claimed(meta.spec(run).get("workspaces") or [], run)
    optional: dict[str, Any] = {
        "params": task.get("params"),
        "retries": task.get("retries"),
        "podTemplate": _pod_template(template.pod_template, own.pod_template),
        "workspaces": blueprint.bindings(run, task, claimed),
        "taskRef": task.get("taskRef"),
        "taskSpec": task.get("taskSpec") and {k: v for k, v in task["taskSpec"].items() if k != "metadata"},
    }
    return spec | {field: found for field, found in optional.items() if found}


def _pod_template(general: Object | None, own: Object | None) -> Object | None:
    return {**(general or {}), **own} if own else general


def _timeout(view: PipelineRun, task: Object, own: PipelineTaskRunSpec, *, is_final: bool) -> str:
    """The most particular word wins; the run's own limit for the group counts only beyond the default."""
    given = own.timeout or task.get("timeout")
    if given:
        return given
    group = limit(view, is_final=is_final)
    if group == 0:
        return "0s"
    return duration.render(max(group, duration.parse(DEFAULT_TIMEOUT)))


def limit(view: PipelineRun, *, is_final: bool) -> float:
    """Seconds that the tasks (or `finally`) of a run may take together; 0 is for ever."""
    timeouts = view.spec.timeouts
    mine, other = (timeouts.finally_, timeouts.tasks) if is_final else (timeouts.tasks, timeouts.finally_)
    if mine is not None:
        return duration.parse(mine)
    whole = duration.parse(timeouts.pipeline if timeouts.pipeline is not None else DEFAULT_TIMEOUT)
    return max(whole - duration.parse(other), 0.0) if other is not None and whole else whole
