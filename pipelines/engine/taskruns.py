"""The controller of TaskRuns: reads, asks `attempts.decide`, makes or removes the pod, writes the status.

Law: no decision is made here. IO: the Client.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from funcs.api import core, meta, pipeline
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object, Objects
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, LookAgain
from funcs.errors import AlreadyExists, BadRequest, Forbidden, Invalid, NotFound, Terminal
from pipelines.steps import credentials, workspaces
from pipelines.steps import pod as pods
from pipelines.steps.entrypoint import Credential
from pipelines.steps.taskspec import Task

from . import attempts, outcomes, writing
from .attempts import Observed, Plan

CONTROLLER = "tekton.dev/pipeline"
LABEL_TASK = "tekton.dev/task"
_SECRETS_AT_ONCE = 8


async def find(client: Client, cache: Cache, kind: Kind, key: Key) -> Object:
    """From the cache, else from the server: what was just applied may not be in the cache yet. Raises NotFound."""
    found = cache.get(kind, key.name, key.namespace)
    return found if found is not None else await client.get(kind, key.name, key.namespace)


@dataclass(frozen=True, slots=True)
class TaskRuns:
    """Reconciles one TaskRun at a time."""

    client: Client
    cache: Cache
    clock: Clock
    settings: pods.PodSettings

    async def reconcile(self, key: Key) -> LookAgain | None:
        run = self.cache.get(pipeline.TASK_RUN, key.name, key.namespace)
        if run is None or meta.is_deleting(run) or outcomes.is_done(run) or is_foreign(run):
            return None
        observed = Observed(run=run, task=await self._task(run), pod=await self._pod(run))
        if await self._label(observed):
            return None
        plan = attempts.decide(observed, self.clock.now())
        if plan.start is not None:
            plan = await self._start(observed, plan, plan.start)
        if plan.remove:
            await writing.remove(self.client, core.POD, plan.remove, key.namespace)
        if plan.announce:
            body = {"metadata": {"annotations": {pods.READY: "READY"}}}
            await self.client.patch(core.POD, pods.pod_name(run), body, key.namespace)
        await writing.write_status(self.client, pipeline.TASK_RUN, run, plan.status)
        return None if plan.again is None else LookAgain(max(plan.again, 0.0))

    async def _task(self, run: Object) -> Task | Terminal:
        spec = meta.spec(run)
        if spec.get("taskSpec") is not None:
            return Task(spec["taskSpec"])
        name = (spec.get("taskRef") or {}).get("name", "")
        stored = meta.status(run).get("taskSpec")
        if stored is not None:
            return Task(stored, name=name, embedded=False)
        try:
            task = await find(self.client, self.cache, pipeline.TASK, Key(meta.namespace(run), name))
        except NotFound as error:
            words = f"error when getting Task for TaskRun {meta.name(run)}: {error}"
            return Terminal(words, reason="TaskRunResolutionFailed")
        return Task(meta.spec(task), name=name, embedded=False)

    async def _pod(self, run: Object) -> Object | None:
        name = pods.pod_name(run)
        pod = self.cache.get(core.POD, name, meta.namespace(run))
        expected = meta.status(run).get("podName") == name or meta.spec(run).get("status") == attempts.CANCELLED
        if pod is None and expected:
            try:
                pod = await self.client.get(core.POD, name, meta.namespace(run))
            except NotFound:
                return None
        return pod if pod is not None and meta.is_controlled_by(pod, run) else None

    async def _start(self, observed: Observed, plan: Plan, spec: Object) -> Plan:
        run = observed.run
        for claim in workspaces.claims(meta.spec(run).get("workspaces") or [], run, pipeline.TASK_RUN):
            await writing.ensure(self.client, core.PERSISTENT_VOLUME_CLAIM, claim)
        pod = pods.pod(run, spec, await self._credentials(run), self.settings)
        try:
            await self.client.create(core.POD, pod)
        except AlreadyExists as error:
            there = await self.client.get(core.POD, meta.name(pod), meta.namespace(run))
            if not meta.is_controlled_by(there, run):
                return attempts.refused(observed, error, self.clock.now())
        except (Invalid, Forbidden, BadRequest) as error:
            return attempts.refused(observed, error, self.clock.now())
        return plan

    async def _credentials(self, run: Object) -> list[Credential]:
        """Of the service account's secrets that exist."""
        namespace = meta.namespace(run)
        try:
            account = await self.client.get(
                core.SERVICE_ACCOUNT, meta.spec(run).get("serviceAccountName") or "default", namespace
            )
        except NotFound:
            return []
        names = [str(reference.get("name")) for reference in account.get("secrets") or []]
        gate = asyncio.Semaphore(_SECRETS_AT_ONCE)

        async def secret(name: str) -> Objects:
            async with gate:
                try:
                    return [await self.client.get(core.SECRET, name, namespace)]
                except NotFound:
                    return []

        found = await asyncio.gather(*(secret(name) for name in names))
        return credentials.found([obj for listed in found for obj in listed])

    async def _label(self, observed: Observed) -> bool:
        """A run of a named Task carries its name; whether that had to be written (which brings the run back here)."""
        task = observed.task
        if isinstance(task, Terminal) or not task.name or meta.labels(observed.run).get(LABEL_TASK) == task.name:
            return False
        body = {"metadata": {"labels": {LABEL_TASK: task.name}}}
        await self.client.patch(pipeline.TASK_RUN, meta.name(observed.run), body, meta.namespace(observed.run))
        return True


def is_foreign(run: Object) -> bool:
    """Managed by another controller (`spec.managedBy`)."""
    return (meta.spec(run).get("managedBy") or CONTROLLER) != CONTROLLER
