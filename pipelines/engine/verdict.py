"""What to do about a PipelineRun: the decision.

Law: pure. Every pass says all of it: what to start, what to cancel, the whole status. A cancelled or timed out run ends
at once; any other ends when nothing is left to run. Source: Tekton's pkg/reconciler/pipelinerun/pipelinerun.go and
resources/pipelinerunstate.go (GetPipelineConditionStatus). No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from funcs.api import duration, meta, pipeline
from funcs.api.meta import Object, Objects
from funcs.api.pipeline_views import PipelineRun, PipelineSpec
from funcs.errors import Terminal
from pipelines.language import results
from pipelines.language.substitution import Replacements, text
from pipelines.steps.status import Outcome

from . import children, outcomes
from .facts import CANCELLED_BY_RUN, CANCELLED_BY_TIMEOUT, Circumstances, Facts, Skip, State

_LONGEST_ERRORS = 1024
_TIMED_OUT = (Skip.TIMEOUT, Skip.TASKS_TIMEOUT, Skip.FINALLY_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`cancel` is by TaskRun name the message that goes with it; `again` is in seconds."""

    status: Object
    start: Objects = field(default_factory=list)
    cancel: Mapping[str, str] = field(default_factory=dict)
    again: float | None = None


def pending(run: Object, now: float) -> Plan:
    words = f'PipelineRun "{meta.name(run)}" is pending'
    return Plan(status=_status(run, Outcome("Unknown", "PipelineRunPending", words), now))


def rejected(run: Object, error: Terminal, now: float) -> Plan:
    """It does not fit its pipeline, or there is none."""
    status = _status(run, Outcome("False", error.reason, error.message), now)
    status.setdefault("startTime", meta.timestamp(now))
    return Plan(status={**status, "completionTime": meta.timestamp(now)})


def decide(run: Object, own: Object, runs: Mapping[str, Object], now: float) -> Plan:
    """`own` is the run's own pipeline spec, `runs` its TaskRuns by pipeline task."""
    view, spec = msgspec.convert(run, PipelineRun), msgspec.convert(own, PipelineSpec)
    started = _started(run, runs, now)
    clocks = _Clocks.of(view, started, now)
    facts = Facts(spec, runs, Circumstances(
        asked=view.spec.status, timed_out=clocks.run is not None and clocks.run <= 0,
        tasks_timed_out=clocks.tasks is not None and clocks.tasks <= 0,
        finally_timed_out=clocks.final is not None and clocks.final <= 0,
    ))  # fmt: skip
    base = {**meta.status(run), "startTime": meta.timestamp(started), "pipelineSpec": own}
    if view.spec.status == "Cancelled":
        words = f'PipelineRun "{meta.name(run)}" was cancelled'
        return _cut(run, facts, base, Outcome("False", "Cancelled", words), now)
    if facts.circumstances.timed_out:
        words = f'PipelineRun "{meta.name(run)}" failed to finish within "{_rendered(view.spec.timeouts.pipeline)}"'
        return _cut(run, facts, base, Outcome("False", "PipelineRunTimeout", words), now)
    return _proceed(run, facts, base, clocks, now)


def _cut(run: Object, facts: Facts, base: Object, outcome: Outcome, now: float) -> Plan:
    message = CANCELLED_BY_TIMEOUT if facts.circumstances.timed_out else CANCELLED_BY_RUN
    running = [name for name, state in facts.states.items() if state is State.RUNNING]
    status = {**base, **_told(run, facts), "completionTime": meta.timestamp(now)}
    status["conditions"] = outcomes.render(outcome, run, now)
    return Plan(status=status, cancel={meta.name(facts.runs[name]): message for name in running})


def _proceed(run: Object, facts: Facts, base: Object, clocks: _Clocks, now: float) -> Plan:
    raws = {task["name"]: task for group in ("tasks", "finally") for task in base["pipelineSpec"].get(group) or []}
    startable = facts.startable
    start = [children.task_run(run, raws[task.name], facts) for task in startable]
    outcome = _outcome(run, facts)
    status = {**base, **_told(run, facts, start)}
    if facts.tasks_are_over and facts.final and not status.get("finallyStartTime"):
        status["finallyStartTime"] = meta.timestamp(now)
    if outcome.is_done:
        status["completionTime"] = meta.timestamp(now)
        outcome = _with_results(run, facts, status, outcome)
    status["conditions"] = outcomes.render(outcome, run, now)
    return Plan(status=status, start=start, cancel=_cancelled(facts), again=None if outcome.is_done else clocks.next)


def _cancelled(facts: Facts) -> dict[str, str]:
    """Running tasks that a graceful cancel or an expired limit ends, with the words for it."""
    found: dict[str, str] = {}
    circumstances = facts.circumstances
    for name in facts.tasks:
        if facts.states[name] is State.RUNNING:
            if circumstances.asked == "CancelledRunFinally":
                found[meta.name(facts.runs[name])] = CANCELLED_BY_RUN
            elif circumstances.tasks_timed_out:
                found[meta.name(facts.runs[name])] = CANCELLED_BY_TIMEOUT
    for name in facts.final:
        if facts.states[name] is State.RUNNING and circumstances.finally_timed_out:
            found[meta.name(facts.runs[name])] = CANCELLED_BY_TIMEOUT
    return found


def _outcome(run: Object, facts: Facts) -> Outcome:
    count = {state: sum(found is state for found in facts.states.values()) for state in State}
    skipped = len(facts.skipped)
    invalid = facts.invalid
    failed, ignored, cancelled = count[State.FAILED], count[State.IGNORED], count[State.CANCELLED]
    completed = count[State.SUCCEEDED] + failed + cancelled + ignored
    incomplete = len(facts.states) - completed - skipped - len(invalid)
    failures = f"Failed: {failed + ignored} (Ignored: {ignored})" if ignored else f"Failed: {failed}"
    words = f"Tasks Completed: {completed} ({failures}, Cancelled {cancelled})"
    if incomplete:
        return Outcome(
            "Unknown", _interim(facts, failed, cancelled), f"{words}, Incomplete: {incomplete}, Skipped: {skipped}"
        )
    words += f", Skipped: {skipped}"
    if invalid:
        errors = "; ".join(invalid.values())[:_LONGEST_ERRORS]
        return Outcome("False", "PipelineValidationFailed", f"{words}, Failed Validation: {len(invalid)} ({errors})")
    if failed or any(reason in _TIMED_OUT for reason in facts.skipped.values()):
        return Outcome("False", "Failed", words)
    if facts.circumstances.asked in ("CancelledRunFinally", "StoppedRunFinally"):
        return Outcome("False", "Cancelled", f'PipelineRun "{meta.name(run)}" was cancelled')
    if cancelled:
        return Outcome("False", "Cancelled", words)
    return Outcome("True", "Completed" if skipped else "Succeeded", words)


def _interim(facts: Facts, failed: int, cancelled: int) -> str:
    if facts.circumstances.asked == "CancelledRunFinally":
        return "CancelledRunningFinally"
    if facts.circumstances.asked == "StoppedRunFinally":
        return "StoppedRunningFinally"
    if facts.circumstances.tasks_timed_out:
        return "PipelineRunTimeoutRunningFinally"
    final_done = all(facts.states[name] not in (State.ABSENT, State.RUNNING) for name in facts.final)
    return "PipelineRunStopping" if cancelled or (failed and final_done) else "Running"


def _told(run: Object, facts: Facts, start: Objects | None = None) -> Object:
    """What the status says of the tasks."""
    by_task = {name: meta.name(found) for name, found in facts.runs.items()}
    by_task |= {meta.labels(made)[children.LABEL_TASK]: meta.name(made) for made in start or []}
    references = [
        {
            "apiVersion": pipeline.TASK_RUN.api_version,
            "kind": "TaskRun",
            "name": by_task[task.name],
            "pipelineTaskName": task.name,
            **({"displayName": _display(task.display_name, facts)} if task.display_name else {}),
        }
        for task in (*facts.spec.tasks, *facts.spec.finally_)
        if task.name in by_task
    ]
    skipped = [{"name": name, "reason": reason.value} for name, reason in facts.skipped.items()]
    return {
        **({"childReferences": references} if references else {}),
        **({"skippedTasks": skipped} if skipped else {}),
    }


def _display(template: str, facts: Facts) -> str:
    known: Replacements = results.replacements(facts.results)
    return text(template, known)


def _with_results(run: Object, facts: Facts, status: Object, outcome: Outcome) -> Outcome:
    def succeeded(task: str) -> bool:
        return facts.states.get(task) is State.SUCCEEDED

    try:
        values = results.of_pipeline(facts.spec.results, facts.results, succeeded)
    except Terminal as error:
        words = f"Failed to get PipelineResult from TaskRun Results for PipelineRun {meta.name(run)}: {error}"
        return Outcome("False", error.reason, words)
    if values:
        status["results"] = [{"name": name, "value": value} for name, value in values.items()]
    return outcome


def _status(run: Object, outcome: Outcome, now: float) -> Object:
    return {**meta.status(run), "conditions": outcomes.render(outcome, run, now)}


def _started(run: Object, runs: Mapping[str, Object], now: float) -> float:
    """Never later than the first child."""
    given = meta.status(run).get("startTime")
    times = [meta.parse_timestamp(given)] if given else [now]
    made = [meta.metadata(child).get("creationTimestamp") for child in runs.values()]
    return min([*times, *(meta.parse_timestamp(found) for found in made if found)])


def _rendered(timeout: str | None) -> str:
    return duration.render(duration.parse(timeout)) if timeout else "1h0m0s"


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds left; None is for ever, or not ticking."""

    run: float | None
    tasks: float | None
    final: float | None

    @classmethod
    def of(cls, view: PipelineRun, started: float, now: float) -> _Clocks:
        timeouts, final = view.spec.timeouts, view.status.finally_start_time
        whole = duration.parse(timeouts.pipeline) if timeouts.pipeline is not None else 3600.0
        until = meta.parse_timestamp(final) if final else now
        tasks, finals = children.limit(view, is_final=False), children.limit(view, is_final=True)
        split = timeouts.tasks is not None or timeouts.finally_ is not None
        return cls(
            run=started + whole - now if whole else None,
            tasks=started + tasks - until if tasks and split else None,
            final=until + finals - now if final and finals and split else None,
        )

    @property
    def next(self) -> float | None:
        left = [found for found in (self.run, self.tasks, self.final) if found is not None and found > 0]
        return min(left, default=None)
