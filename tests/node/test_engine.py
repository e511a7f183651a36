"""The pipeline engine over a real node: steps as processes or containers, results, workspaces, live logs."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from funcs.api import core, meta, pipeline
from funcs.api.admission import Request, admit
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.clock import SystemClock
from funcs.control.controller import Cache, Controller, Watch
from funcs.control.informer import Informers
from funcs.control.loop import Loop
from pipelines.engine import outcomes
from pipelines.engine.controllers import controllers
from pipelines.language.admission import RULES
from pipelines.steps.pod import PodSettings
from tests.node.harness import DEADLINE, IMAGE, World


def placing(client: Client, cache: Cache) -> Controller:
    """A scheduler of one node."""

    async def reconcile(key: Key) -> None:
        pod = cache.get(core.POD, key.name, key.namespace)
        if pod is not None and not meta.spec(pod).get("nodeName"):
            await client.patch(core.POD, key.name, {"spec": {"nodeName": "here"}}, key.namespace)

    return Controller("placing", reconcile, (Watch(core.POD),))


@asynccontextmanager
async def engine(world: World) -> AsyncIterator[None]:
    clock, informers = SystemClock(), Informers()
    made = [
        *controllers(world.client, informers, clock, PodSettings(tools_image="nowhere/none")),
        placing(world.client, informers),
    ]
    async with Loop(made, informers, world.client, clock, random.random) as loop:
        await loop.synced()
        yield
    world.uids.extend(meta.uid(pod) for pod in world.client.objects(core.POD))


def step(script: str, **more: Any) -> Object:
    return {"image": IMAGE, "script": script, **more}


RUN: Object = {
    "apiVersion": "tekton.dev/v1",
    "kind": "PipelineRun",
    "metadata": {"name": "run", "namespace": "default"},
    "spec": {
        "params": [{"name": "words", "value": ["one", "two three", "$(date)"]}],
        "workspaces": [
            {
                "name": "shared",
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
                },
            }
        ],
        "pipelineSpec": {
            "params": [{"name": "words", "type": "array"}],
            "workspaces": [{"name": "shared"}],
            "results": [{"name": "said", "value": "$(tasks.read.results.said)"}],
            "tasks": [
                {
                    "name": "write",
                    "params": [{"name": "words", "value": ["$(params.words[*])"]}],
                    "taskSpec": {
                        "params": [{"name": "words", "type": "array"}],
                        "results": [{"name": "count"}],
                        "steps": [
                            step('for word in "$@"; do echo "$word"; done > $(workspaces.shared.path)/words',
                                 args=["$(params.words[*])"]),
                            step("exit 7", name="wrong", onError="continue"),
                            step("printf %s $(cat $(steps.step-wrong.exitCode.path)) > $(results.count.path)"),
                        ],
                    },
                },
                {
                    "name": "read",
                    "taskSpec": {
                        "results": [{"name": "said"}],
                        "steps": [
                            step("cat $(workspaces.shared.path)/words; "
                                 "{ cat $(workspaces.shared.path)/words; echo $(tasks.write.results.count); } "
                                 "> $(results.said.path)"),
                        ],
                    },
                },
            ],
            "finally": [{"name": "last", "taskSpec": {"steps": [step('test "$(tasks.write.status)" = Succeeded')]}}],
        },
    },
}  # fmt: skip


async def done(world: World, name: str) -> Object:
    async with asyncio.timeout(DEADLINE):
        while not outcomes.is_done(run := await world.client.get(pipeline.PIPELINE_RUN, name, "default")):
            await asyncio.sleep(0.02)
    return run


async def test_a_pipeline_runs_for_real(world: World) -> None:
    made = copy.deepcopy(RUN)
    admit(Request(kind=pipeline.PIPELINE_RUN, operation="CREATE", object=made), RULES)
    async with engine(world):
        await world.client.create(pipeline.PIPELINE_RUN, made)
        run = await done(world, "run")
    assert outcomes.of(run).reason == "Succeeded", meta.status(run)
    assert meta.status(run)["results"] == [{"name": "said", "value": "one\ntwo three\n$(date)\n7\n"}]
    write = await world.client.get(pipeline.TASK_RUN, "run-write", "default")
    steps = {found["name"]: found for found in meta.status(write)["steps"]}
    assert steps["wrong"]["terminated"]["exitCode"] == 7
    assert steps["wrong"]["terminationReason"] == "Continued"
