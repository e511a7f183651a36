"""Following a run: lines of its steps as they begin, then how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from funcs.api import meta, pipeline
from funcs.api.meta import Object
from funcs.control.client import LogOptions
from funcs.control.clock import ManualClock
from funcs.control.engine import EngineSettings
from funcs.control.memory import MemoryClient
from funcs.errors import NotFound, Timeout
from pipelines.engine.follow import RunFailed, follow

RUN: Object = {
    "apiVersion": "tekton.dev/v1",
    "kind": "PipelineRun",
    "metadata": {"name": "run", "namespace": "default"},
    "spec": {},
}


class Logs:
    """By container, what it says."""

    def __init__(self, **said: list[bytes]) -> None:
        self.said = said

    async def stream(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        assert options.follow
        for chunk in self.said[f"{meta.name(pod)}_{options.container.removeprefix('step-')}"]:
            yield chunk


def task_run(name: str, *steps: str, done: bool = True) -> Object:
    state = {"terminated": {"exitCode": 0}} if done else {"waiting": {}}
    condition = {"type": "Succeeded", "status": "True" if done else "Unknown"}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "name": f"run-{name}",
            "namespace": "default",
            "labels": {"tekton.dev/pipelineRun": "run", "tekton.dev/pipelineTask": name},
        },
        "status": {
            "podName": name,
            "conditions": [condition],
            "steps": [{"name": step, "container": f"step-{step}", **state} for step in steps],
        },
    }


def pod(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {}}


def ended(status: str, reason: str) -> Object:
    return {"conditions": [{"type": "Succeeded", "status": status, "reason": reason, "message": "words"}]}


def world(logs: Logs) -> MemoryClient:
    client = MemoryClient(clock=ManualClock(), settings=EngineSettings(logs=logs))
    client.seed(RUN)
    return client


async def collect(client: MemoryClient, lines: list[str]) -> None:
    async for line in follow(client, "default", "run", client.clock):
        lines.append(line)


async def until(lines: list[str], count: int) -> None:
    async with asyncio.timeout(5):
        while len(lines) < count:
            await asyncio.sleep(0)


async def test_lines_come_while_the_run_goes_on() -> None:
    client = world(Logs(a_one=[b"he", b"llo\nwor", b"ld"], a_two=[b"more\n"], b_one=[b"other\n"]))
    lines: list[str] = []
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        following = tasks.create_task(collect(client, lines))
        client.seed(pod("a"), task_run("a", "one", "two"))
        await until(lines, 3)
        client.seed(pod("b"), task_run("b", "one", done=False))
        await asyncio.sleep(0)
        await client.patch_status(pipeline.TASK_RUN, "run-b", task_run("b", "one")["status"], "default")
        await until(lines, 4)
        await client.patch_status(pipeline.PIPELINE_RUN, "run", ended("True", "Succeeded"), "default")
        await following
    assert lines == [
        "[a : one] hello",
        "[a : one] world",
        "[a : two] more",
        "[b : one] other",
        "PipelineRun run succeeded: Succeeded: words",
    ]


async def test_a_run_that_failed_raises_after_its_last_line() -> None:
    client = world(Logs(a_one=[b"oops\n"]))
    client.seed(pod("a"), task_run("a", "one"), task_run("gone", "one"))
    await client.patch_status(pipeline.PIPELINE_RUN, "run", ended("False", "Failed"), "default")
    lines: list[str] = []
    with pytest.raises(RunFailed, match="words") as failure:
        await collect(client, lines)
    assert failure.value.reason == "Failed"
    assert sorted(lines) == [
        "PipelineRun run failed: Failed: words",
        "[a : one] oops",
        "[gone : one] (the log is gone with its pod)",
    ]


async def test_a_run_that_is_not_there_is_not_found() -> None:
    client = MemoryClient(clock=ManualClock())
    with pytest.raises(NotFound):
        await collect(client, [])


async def test_the_wait_has_an_end() -> None:
    client = world(Logs())
    clock = client.clock
    assert isinstance(clock, ManualClock)
    async with asyncio.timeout(5):
        lines = follow(client, "default", "run", clock, limit=60)
        waiting = asyncio.ensure_future(anext(lines))
        while not waiting.done():
            await clock.advance(60)
        with pytest.raises(Timeout):
            await waiting


async def test_whoever_stops_listening_leaves_nothing_behind() -> None:
    client = world(Logs(a_one=[b"line\n"] * 5000))
    client.seed(pod("a"), task_run("a", "one"))
    before = asyncio.all_tasks()
    lines = follow(client, "default", "run", client.clock)
    assert await anext(lines) == "[a : one] line"
    await lines.aclose()  # type: ignore[attr-defined]
    assert asyncio.all_tasks() == before
