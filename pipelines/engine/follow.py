"""A PipelineRun's log as it happens: `[task : step] text`, as tkn prints it, then how it ended.

Law: a step's lines come in order, tasks interleave; nothing is polled. IO: the Client's watches and logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from funcs.api import meta, pipeline
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client, EventType, LogOptions, Selection
from funcs.control.clock import Clock
from funcs.errors import Expired, FuncsError, NotFound, Timeout, Unavailable

from . import outcomes
from .children import LABEL_RUN, LABEL_TASK

_LINES = 1024
_LONGEST_LINE = 64 * 1024
_WATCH_AGAIN = 0.2


class RunFailed(FuncsError):
    """The run ended, and not well; `reason` is its condition's."""

    default_reason = "Failed"


async def follow(
    client: Client, namespace: str, name: str, clock: Clock, *, limit: float = 2 * 3600.0
) -> AsyncIterator[str]:
    """Lines without newlines. Raises RunFailed at the end of a run that failed, NotFound, Timeout after `limit` s."""
    follower = _Follower(client, namespace, name, clock)
    work = asyncio.create_task(follower.run(limit), name=f"follow {namespace}/{name}")
    try:
        while (line := await follower.lines.get()) is not None:
            yield line
        await work
    except* FuncsError as errors:
        raise _first(errors) from None
    finally:
        work.cancel()
        await asyncio.wait((work,))
    outcome = outcomes.of(follower.ended)
    verb = "succeeded" if outcome.status == "True" else "failed"
    yield f"PipelineRun {name} {verb}: {outcome.reason}: {outcome.message}"
    if outcome.status != "True":
        raise RunFailed(f"PipelineRun {name} failed: {outcome.message}", reason=outcome.reason)


def _first(errors: BaseExceptionGroup[FuncsError]) -> FuncsError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, FuncsError)
    return found


@dataclass
class _Task:
    """A TaskRun as last seen."""

    run: Object
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, run: Object) -> None:
        self.run = run
        self.changed.set()


class _Follower:
    def __init__(self, client: Client, namespace: str, name: str, clock: Clock) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._tasks: dict[str, _Task] = {}
        self.ended: Object = {}
        self.lines: asyncio.Queue[str | None] = asyncio.Queue(_LINES)

    async def run(self, limit: float) -> None:
        try:
            await self._client.get(pipeline.PIPELINE_RUN, self._name, self._namespace)
            async with asyncio.TaskGroup() as logs:
                deadline = logs.create_task(self._expire(limit))
                tasks = logs.create_task(self._watch_tasks(logs))
                await self._watch_run()
                await self._see_all(logs)
                tasks.cancel()
                deadline.cancel()
        finally:
            self._put_last()

    def _put_last(self) -> None:
        """The end, even if nobody has room for it: what is lost then was not going to be read."""
        if self.lines.full():
            self.lines.get_nowait()
        self.lines.put_nowait(None)

    async def _expire(self, limit: float) -> None:
        await self._clock.sleep(limit)
        raise Timeout(f"PipelineRun {self._name} did not end within {limit:g} s")

    async def _watch_run(self) -> None:
        selection = Selection(namespace=self._namespace, fields=f"metadata.name={self._name}")
        async for type_, run in self._watch(pipeline.PIPELINE_RUN, selection):
            if type_ is EventType.DELETED:
                raise NotFound(f"PipelineRun {self._name} was deleted")
            if outcomes.is_done(run):
                self.ended = run
                return

    async def _watch_tasks(self, logs: asyncio.TaskGroup) -> None:
        async for type_, run in self._watch(pipeline.TASK_RUN, self._selection):
            if type_ is not EventType.DELETED:
                self._see(run, logs)

    @property
    def _selection(self) -> Selection:
        return Selection(namespace=self._namespace, labels=f"{LABEL_RUN}={self._name}")

    async def _see_all(self, logs: asyncio.TaskGroup) -> None:
        """The TaskRuns as they ended, so that every log comes to its end."""
        for run in (await self._client.list(pipeline.TASK_RUN, self._selection)).items:
            self._see(run, logs)
        for task in self._tasks.values():
            task.changed.set()

    def _see(self, run: Object, logs: asyncio.TaskGroup) -> None:
        name = meta.name(run)
        if name in self._tasks:
            self._tasks[name].see(run)
            return
        task = self._tasks[name] = _Task(run)
        logs.create_task(self._follow_task(task))

    async def _watch(self, kind: Kind, selection: Selection) -> AsyncIterator[tuple[EventType, Object]]:
        """What is, then what changes; begun anew whenever the server ends it."""
        while True:
            try:
                async for event in self._client.watch(kind, selection):
                    if event.type is not EventType.BOOKMARK:
                        yield event.type, event.object
            except (Expired, Unavailable):
                await self._clock.sleep(_WATCH_AGAIN)

    async def _follow_task(self, task: _Task) -> None:
        """Step by step, each as soon as it has begun; the next attempt after a retry; until the run is done."""
        told: set[tuple[str, str]] = set()
        while True:
            task.changed.clear()
            pod = str(meta.status(task.run).get("podName") or "")
            step = next((s for s in self._begun(task.run) if (pod, s["container"]) not in told), None)
            if step is not None:
                told.add((pod, step["container"]))
                await self._copy(pod, step, meta.labels(task.run).get(LABEL_TASK, meta.name(task.run)))
            elif outcomes.is_done(task.run) or self.ended:
                return
            else:
                await task.changed.wait()

    def _begun(self, run: Object) -> list[Object]:
        return [step for step in meta.status(run).get("steps") or [] if "running" in step or "terminated" in step]

    async def _copy(self, pod: str, step: Object, task: str) -> None:
        prefix = f"[{task} : {step['name']}] "
        options = LogOptions(container=step["container"], follow=True)
        rest = b""
        try:
            async for chunk in self._client.stream_log(pod, self._namespace, options):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await self._say(prefix, line)
                if len(rest) > _LONGEST_LINE:
                    await self._say(prefix, rest)
                    rest = b""
        except NotFound:
            await self._say(prefix, b"(the log is gone with its pod)")
        if rest:
            await self._say(prefix, rest)

    async def _say(self, prefix: str, line: bytes) -> None:
        await self.lines.put(prefix + line.rstrip(b"\r").decode("utf-8", errors="replace"))
