"""What is known of a pipeline's tasks: which ran, which may start, which never will, and why.

Law: pure, and recomputed from the TaskRuns every time; nothing is remembered. The order in which reasons to skip are
tried is Tekton's (pkg/reconciler/pipelinerun/resources/pipelinerunresolution.go). No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property
from graphlib import TopologicalSorter

from funcs.api import meta
from funcs.api.meta import Object
from funcs.api.pipeline_defaults import normal_value
from funcs.api.pipeline_views import PipelineSpec, PipelineTask
from pipelines.language import graph, references, results
from pipelines.language.references import ResultReference
from pipelines.language.results import Results

from . import outcomes

CANCELLED_BY_RUN = "TaskRun cancelled as the PipelineRun it belongs to has been cancelled."
CANCELLED_BY_TIMEOUT = "TaskRun cancelled as the PipelineRun it belongs to has timed out."


class State(Enum):
    """Of a pipeline task, by its TaskRun."""

    ABSENT = "no TaskRun yet"
    RUNNING = "not finished"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IGNORED = "failed, and its failure is ignored"
    CANCELLED = "cancelled"


class Skip(StrEnum):
    """Why a task is skipped: the words of `status.skippedTasks`."""

    STOPPING = "PipelineRun was stopping"
    CANCELLED = "PipelineRun was gracefully cancelled"
    STOPPED = "PipelineRun was gracefully stopped"
    PARENT = "Parent Tasks were skipped"
    RESULTS = "Results were missing"
    TIMEOUT = "PipelineRun timeout has been reached"
    TASKS_TIMEOUT = "PipelineRun Tasks timeout has been reached"
    FINALLY_TIMEOUT = "PipelineRun Finally timeout has been reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What bears on the whole run: what was asked of it (`spec.status`) and which clocks have run out."""

    asked: str = ""
    timed_out: bool = False
    tasks_timed_out: bool = False
    finally_timed_out: bool = False


def state_of(run: Object | None) -> State:
    if run is None:
        return State.ABSENT
    outcome = outcomes.of(run)
    if not outcome.is_done:
        return State.RUNNING
    if outcome.status == "True":
        return State.SUCCEEDED
    if outcome.reason == "FailureIgnored":
        return State.IGNORED
    if outcome.reason == "TaskRunCancelled" and meta.spec(run).get("statusMessage") != CANCELLED_BY_TIMEOUT:
        return State.CANCELLED
    return State.FAILED


@dataclass(frozen=True)
class Facts:
    """`runs` are the TaskRuns by pipeline task."""

    spec: PipelineSpec
    runs: Mapping[str, Object]
    circumstances: Circumstances = field(default_factory=Circumstances)

    @cached_property
    def tasks(self) -> dict[str, PipelineTask]:
        return {task.name: task for task in self.spec.tasks}

    @cached_property
    def final(self) -> dict[str, PipelineTask]:
        return {task.name: task for task in self.spec.finally_}

    @cached_property
    def parents(self) -> graph.Parents:
        return graph.parents(self.spec.tasks)

    @cached_property
    def states(self) -> dict[str, State]:
        return {name: state_of(self.runs.get(name)) for name in (*self.tasks, *self.final)}

    @cached_property
    def results(self) -> dict[str, Results]:
        """Of every task whose TaskRun is done, failed ones too."""
        return {
            name: {found["name"]: normal_value(found.get("value")) for found in meta.status(run).get("results") or []}
            for name, run in self.runs.items()
            if outcomes.is_done(run)
        }

    @cached_property
    def invalid(self) -> dict[str, str]:
        """Tasks whose parents are done without writing what they need, and why that fails the run."""
        found: dict[str, str] = {}
        for name, task in self.tasks.items():
            if self.states[name] is State.ABSENT and task.on_error != "continue" and self._parents_ran(name):
                lacking = self._lacking(task)
                if lacking is not None:
                    found[name] = (
                        "Invalid task result reference: Could not find result with name "
                        f"{lacking.result} for pipeline task {lacking.task}"
                    )
        return found

    @cached_property
    def is_stopping(self) -> bool:
        """Some task failed for good: no other is started."""
        over = (State.FAILED, State.CANCELLED)
        return bool(self.invalid) or any(self.states[name] in over for name in self.tasks)

    @cached_property
    def skipped(self) -> dict[str, Skip]:
        """In the pipeline's order, `finally` last. A task that failed validation is not skipped."""
        reasons: dict[str, Skip] = {}
        for name in TopologicalSorter(self.parents).static_order():
            reason = self._skip(name, reasons)
            if reason is not None:
                reasons[name] = reason
        found = {name: reasons[name] for name in self.tasks if name in reasons}
        if self._tasks_over(found):
            found.update({name: reason for name in self.final if (reason := self._skip_final(name)) is not None})
        return found

    @cached_property
    def tasks_are_over(self) -> bool:
        return self._tasks_over(self.skipped)

    def _tasks_over(self, skipped: Mapping[str, Skip]) -> bool:
        return all(
            self.states[name] not in (State.ABSENT, State.RUNNING) or name in skipped or name in self.invalid
            for name in self.tasks
        )

    @cached_property
    def startable(self) -> list[PipelineTask]:
        """What can start now: tasks whose parents are done, or `finally` once all tasks are over."""
        if self.tasks_are_over:
            waiting = [task for name, task in self.final.items() if self.states[name] is State.ABSENT]
            return [task for task in waiting if task.name not in self.skipped]
        return [
            task
            for name, task in self.tasks.items()
            if self.states[name] is State.ABSENT
            and name not in self.skipped
            and name not in self.invalid
            and self._parents_ran(name)
        ]

    def status_of(self, name: str) -> str:
        """`$(tasks.<name>.status)`."""
        state = self.states[name]
        if state is State.SUCCEEDED:
            return "Succeeded"
        return "None" if state in (State.ABSENT, State.RUNNING) else "Failed"

    @property
    def aggregate(self) -> str:
        """`$(tasks.status)`."""
        states = [self.states[name] for name in self.tasks]
        if any(state in (State.FAILED, State.CANCELLED) for state in states):
            return "Failed"
        done = (State.SUCCEEDED, State.IGNORED)
        if any(
            state not in done and name not in self.skipped for name, state in self.states.items() if name in self.tasks
        ):
            return "None"
        return "Completed" if any(name in self.skipped for name in self.tasks) else "Succeeded"

    def _parents_ran(self, name: str) -> bool:
        return all(self.states[parent] in (State.SUCCEEDED, State.IGNORED) for parent in self.parents[name])

    def _lacking(self, task: PipelineTask) -> ResultReference | None:
        wanted = references.results_of(task)
        return next((ref for ref in wanted if results.find(ref, self.results.get(ref.task, {})) is None), None)

    def _skip(self, name: str, skipped: Mapping[str, Skip]) -> Skip | None:
        if self.states[name] is not State.ABSENT or name in self.invalid:
            return None
        general = self._general()
        if general is not None:
            return general
        if any(parent in skipped for parent in self.parents[name]):
            return Skip.PARENT
        if self._parents_ran(name) and self._lacking(self.tasks[name]) is not None:
            return Skip.RESULTS
        if self.circumstances.timed_out:
            return Skip.TIMEOUT
        return Skip.TASKS_TIMEOUT if self.circumstances.tasks_timed_out else None

    def _general(self) -> Skip | None:
        if self.is_stopping:
            return Skip.STOPPING
        if self.circumstances.asked == "CancelledRunFinally":
            return Skip.CANCELLED
        return Skip.STOPPED if self.circumstances.asked == "StoppedRunFinally" else None

    def _skip_final(self, name: str) -> Skip | None:
        if self.states[name] is not State.ABSENT:
            return None
        if self._lacking(self.final[name]) is not None:
            return Skip.RESULTS
        if self.circumstances.timed_out:
            return Skip.TIMEOUT
        return Skip.FINALLY_TIMEOUT if self.circumstances.finally_timed_out else None
