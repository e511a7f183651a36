"""What to do about a TaskRun: the decision, attempt by attempt.

Law: pure. A run ends once; a failure with retries left archives the attempt and begins the next one, with a timeout of
its own; a cancelled run is never retried. Source: Tekton's pkg/reconciler/taskrun/taskrun.go. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from funcs.api import duration, meta
from funcs.api.meta import Object
from funcs.api.pipeline_views import TaskRun
from funcs.errors import FuncsError, Terminal
from pipelines.steps import pod as pods
from pipelines.steps import status as reading
from pipelines.steps import taskspec
from pipelines.steps.status import Outcome
from pipelines.steps.taskspec import Task

from . import outcomes

ON_ERROR = "pipeline.tekton.dev/pipeline-task-on-error"
CANCELLED, PENDING = "TaskRunCancelled", "TaskRunPending"
_PLAIN = ("", "Started", "Running", PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The run, its Task (or why there is none), the pod of its present attempt."""

    run: Object
    task: Task | Terminal
    pod: Object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`status` is all of it; `start` the task spec to make a pod of; `remove` a pod's name; `again` is in seconds."""

    status: Object
    start: Object | None = None
    remove: str = ""
    announce: bool = False
    again: float | None = None


def decide(observed: Observed, now: float) -> Plan:
    run = observed.run
    view = msgspec.convert(run, TaskRun)
    if outcomes.is_done(run):
        return Plan(status=meta.status(run))
    if view.spec.status == CANCELLED:
        words = f'TaskRun "{meta.name(run)}" was cancelled. {view.spec.status_message}'
        return _stopped(observed, Outcome("False", CANCELLED, words), now)
    if view.spec.status == PENDING and not view.status.start_time:
        words = f'TaskRun "{meta.name(run)}" is pending'
        return Plan(status=_status(run, Outcome("Unknown", PENDING, words), now))
    left = _time_left(view, now)
    if left is not None and left <= 0:
        words = f'TaskRun "{meta.name(run)}" failed to finish within "{_rendered(view)}"'
        return _failed(observed, _stopped(observed, Outcome("False", "TaskRunTimeout", words), now), now)
    if observed.pod is None:
        return _started(observed, left, now)
    return _watched(observed, observed.pod, left, now)


def refused(observed: Observed, error: FuncsError, now: float) -> Plan:
    """The pod could not be made, and will not be."""
    words = f'failed to create task run pod "{meta.name(observed.run)}": {error}'
    return _failed(
        observed, Plan(status=_ended(observed.run, _failure(observed, "PodCreationFailed", words), now)), now
    )


def _started(observed: Observed, left: float | None, now: float) -> Plan:
    run = observed.run
    started = {"startTime": meta.status(run).get("startTime") or meta.timestamp(now)}
    try:
        if isinstance(observed.task, Terminal):
            raise observed.task
        stored = meta.status(run).get("taskSpec")
        own = stored if stored and not observed.task.embedded else taskspec.own(run, observed.task)
    except Terminal as error:
        ended = _ended(run, Outcome("False", error.reason, error.message), now)
        return _failed(observed, Plan(status={**ended, **started}), now)
    status = _status(run, Outcome("Unknown", "Running", reading.RUNNING), now)
    status |= {**started, "podName": pods.pod_name(run), "taskSpec": own}
    full = _timeout(msgspec.convert(run, TaskRun)) or None
    return Plan(status=status, start=own, again=full if left is None else left)


def _watched(observed: Observed, pod: Object, left: float | None, now: float) -> Plan:
    run = observed.run
    spec = meta.status(run).get("taskSpec")
    if spec is None:  # the pod was made, but not yet written down
        return _started(observed, left, now)
    found = reading.read(pod, spec, run=meta.name(run))
    outcome = found.outcome
    if outcome.status == "False":
        outcome = _failure(observed, outcome.reason, outcome.message)
    status = _status(run, outcome, now)
    status |= {"podName": meta.name(pod), "taskSpec": spec, "steps": found.steps}
    status.setdefault("startTime", meta.metadata(pod).get("creationTimestamp") or meta.timestamp(now))
    for name, listed in (("sidecars", found.sidecars), ("results", found.results)):
        if listed:
            status[name] = listed
    if not outcome.is_done:
        announce = pods.READY not in meta.annotations(pod) and reading.ready_to_start(pod)
        return Plan(status=status, announce=announce, again=left)
    status["completionTime"] = meta.timestamp(now if found.completion is None else found.completion)
    if found.give_up:
        status["steps"] = reading.cut_short(found.steps, pod=meta.name(pod), reason=outcome.reason, now=now)
    plan = Plan(status=status, remove=meta.name(pod) if found.give_up else "")
    return plan if outcome.status == "True" else _failed(observed, plan, now)


def _stopped(observed: Observed, outcome: Outcome, now: float) -> Plan:
    """Ended from outside: the pod goes, its unfinished steps are marked."""
    run, before = observed.run, outcomes.of(observed.run)
    words = outcome.message
    if before.reason not in _PLAIN:
        words += f"\nPrevious status: [{before.reason}] {before.message}"
    status = _ended(run, Outcome(outcome.status, outcome.reason, words), now)
    status.setdefault("startTime", meta.timestamp(now))
    if observed.pod is None:
        return Plan(status=status)
    steps = reading.read(observed.pod, status.get("taskSpec") or {}, run=meta.name(run)).steps
    pod = meta.name(observed.pod)
    status |= {"podName": pod, "steps": reading.cut_short(steps, pod=pod, reason=outcome.reason, now=now)}
    return Plan(status=status, remove=pod)


def _failed(observed: Observed, plan: Plan, now: float) -> Plan:
    """Another attempt, if there is one left: the status is archived and the run begins again."""
    view = msgspec.convert(observed.run, TaskRun)
    archived = list(plan.status.get("retriesStatus") or [])
    if len(archived) >= view.spec.retries:
        return plan
    attempt = {name: found for name, found in plan.status.items() if name != "retriesStatus"}
    message = plan.status["conditions"][0]["message"]
    status: Object = {"retriesStatus": [*archived, attempt]}
    status["conditions"] = outcomes.render(Outcome("Unknown", "ToBeRetried", message), observed.run, now)
    if "taskSpec" in plan.status:
        status["taskSpec"] = plan.status["taskSpec"]
    return Plan(status=status, remove=plan.remove)


def _failure(observed: Observed, reason: str, message: str) -> Outcome:
    ignored = meta.annotations(observed.run).get(ON_ERROR) == "continue"
    return Outcome("False", "FailureIgnored" if ignored else reason, message)


def _status(run: Object, outcome: Outcome, now: float) -> Object:
    return {**meta.status(run), "conditions": outcomes.render(outcome, run, now)}


def _ended(run: Object, outcome: Outcome, now: float) -> Object:
    return {**_status(run, outcome, now), "completionTime": meta.timestamp(now)}


def _timeout(view: TaskRun) -> float:
    return duration.parse(view.spec.timeout) if view.spec.timeout else 0.0


def _rendered(view: TaskRun) -> str:
    return duration.render(_timeout(view))


def _time_left(view: TaskRun, now: float) -> float | None:
    """Of this attempt; None if it has not begun or may take for ever."""
    if not view.status.start_time or not _timeout(view):
        return None
    return meta.parse_timestamp(view.status.start_time) + _timeout(view) - now
