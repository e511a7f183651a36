"""The controller of PipelineRuns: reads, asks `verdict`, makes claims and TaskRuns, writes the status.

Law: no decision is made here. IO: the Client.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from funcs.api import core, meta, pipeline
from funcs.api.meta import Key, Object
from funcs.api.pipeline_views import PipelineSpec, TaskSpec
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, LookAgain
from funcs.errors import AlreadyExists, BadRequest, Forbidden, Invalid, NotFound, Terminal

from . import blueprint, children, outcomes, verdict, writing
from .taskruns import find, is_foreign
from .verdict import Plan

_PENDING = "PipelineRunPending"


@dataclass(frozen=True, slots=True)
class PipelineRuns:
    """Reconciles one PipelineRun at a time."""

    client: Client
    cache: Cache
    clock: Clock

    async def reconcile(self, key: Key) -> LookAgain | None:
        run = self.cache.get(pipeline.PIPELINE_RUN, key.name, key.namespace)
        if run is None or meta.is_deleting(run) or outcomes.is_done(run) or is_foreign(run):
            return None
        if await self._label(run):
            return None
        plan = await self._plan(run)
        for name, message in plan.cancel.items():
            await self._cancel(Key(key.namespace, name), message)
        if plan.start:
            plan = await self._start(run, plan)
        await writing.write_status(self.client, pipeline.PIPELINE_RUN, run, plan.status)
        return None if plan.again is None else LookAgain(max(plan.again, 0.0))

    async def _label(self, run: Object) -> bool:
        """A run carries its pipeline's name; whether that had to be written (which brings the run back here)."""
        name = (meta.spec(run).get("pipelineRef") or {}).get("name") or meta.name(run)
        if meta.labels(run).get(children.LABEL_PIPELINE) == name:
            return False
        body = {"metadata": {"labels": {children.LABEL_PIPELINE: name}}}
        await self.client.patch(pipeline.PIPELINE_RUN, meta.name(run), body, meta.namespace(run))
        return True

    async def _plan(self, run: Object) -> Plan:
        now = self.clock.now()
        if meta.spec(run).get("status") == _PENDING and not meta.status(run).get("startTime"):
            return verdict.pending(run, now)
        try:
            own = meta.status(run).get("pipelineSpec") or await self._own(run)
        except Terminal as error:
            return verdict.rejected(run, error, now)
        return verdict.decide(run, own, self._children(run), now)

    def _children(self, run: Object) -> dict[str, Object]:
        """The TaskRuns by pipeline task."""
        owned = self.cache.owned_by(pipeline.TASK_RUN, meta.uid(run))
        return {meta.labels(child).get(children.LABEL_TASK, ""): child for child in owned}

    async def _own(self, run: Object) -> Object:
        """The run's own pipeline spec, checked against its Tasks. Raises Terminal."""
        raw, name = await self._pipeline(run)
        own = blueprint.own(run, raw, name)
        spec = msgspec.convert(own, PipelineSpec)
        blueprint.check_tasks(spec, await self._tasks(run, spec, name), run)
        return own

    async def _pipeline(self, run: Object) -> tuple[Object, str]:
        embedded = meta.spec(run).get("pipelineSpec")
        if embedded is not None:
            return embedded, meta.name(run)
        name = (meta.spec(run).get("pipelineRef") or {}).get("name", "")
        key = Key(meta.namespace(run), name)
        try:
            return meta.spec(await find(self.client, self.cache, pipeline.PIPELINE, key)), name
        except NotFound as error:
            words = f"Error retrieving pipeline for pipelinerun {meta.namespace(run)}/{meta.name(run)}: error when "
            raise Terminal(f"{words}fetching pipeline: {error}", reason="CouldntGetPipeline") from error

    async def _tasks(self, run: Object, spec: PipelineSpec, name: str) -> blueprint.TaskSpecs:
        found = {
            task.name: msgspec.convert(task.task_spec, TaskSpec)
            for task in (*spec.tasks, *spec.finally_)
            if task.task_spec is not None
        }
        for task, reference in blueprint.referenced(spec):
            key = Key(meta.namespace(run), reference.name)
            try:
                obj = await find(self.client, self.cache, pipeline.TASK, key)
            except NotFound as error:
                words = f"Pipeline {meta.namespace(run)}/{name} can't be Run; it contains Tasks that don't exist: "
                words += f'Couldn\'t retrieve Task "{reference.name}": {error}'
                raise Terminal(words, reason="CouldntGetTask") from error
            found[task] = msgspec.convert(meta.spec(obj), TaskSpec)
        return found

    async def _start(self, run: Object, plan: Plan) -> Plan:
        for claim in children.claims(run):
            if self.cache.get(core.PERSISTENT_VOLUME_CLAIM, meta.name(claim), meta.namespace(run)) is None:
                await writing.ensure(self.client, core.PERSISTENT_VOLUME_CLAIM, claim)
        for child in plan.start:
            try:
                await self.client.create(pipeline.TASK_RUN, child)
            except AlreadyExists:
                await self._refuse_foreign(run, child)
            except (Invalid, Forbidden, BadRequest) as error:
                words = f"error creating TaskRun {meta.name(child)} for PipelineRun {meta.name(run)}: {error}"
                return verdict.rejected(run, Terminal(words, reason="CreateRunFailed"), self.clock.now())
        return plan

    async def _refuse_foreign(self, run: Object, child: Object) -> None:
        """A TaskRun of that name is there: it is ours, seen late, or somebody else's. Raises Conflict for theirs."""
        there = await self.client.get(pipeline.TASK_RUN, meta.name(child), meta.namespace(child))
        if not meta.is_controlled_by(there, run):
            raise AlreadyExists(f"TaskRun {meta.name(child)} is not of PipelineRun {meta.name(run)}")

    async def _cancel(self, key: Key, message: str) -> None:
        body = {"spec": {"status": "TaskRunCancelled", "statusMessage": message}}
        run = self.cache.get(pipeline.TASK_RUN, key.name, key.namespace)
        if run is not None and meta.spec(run).get("status") != "TaskRunCancelled":
            await self.client.patch(pipeline.TASK_RUN, key.name, body, key.namespace)
