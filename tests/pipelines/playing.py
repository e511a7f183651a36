"""A node that plays steps instead of running them, and worlds with the engine and such a node."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from funcs.api import catalog, conditions, core, meta, pipeline
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.clock import Clock, ManualClock
from funcs.control.controller import Cache, Controller, Watch
from funcs.control.memory import MemoryClient, Write
from funcs.control.testing import Chaos, World
from pipelines.engine.controllers import controllers
from pipelines.language.admission import RULES
from pipelines.steps import entrypoint
from pipelines.steps.entrypoint import Reason
from pipelines.steps.pod import PodSettings

SETTINGS = PodSettings(tools_image="registry.example/tools")


@dataclass(frozen=True)
class Ran:
    """How one step ended. `results` maps names to contents; None as exit code: it goes on running, or waiting."""

    exit_code: int | None = 0
    results: Mapping[str, str] = field(default_factory=dict)
    reason: Reason = Reason.NONE
    waiting: str = ""


Script = Callable[[Object, str, entrypoint.Step], Ran]


def all_succeed(pod: Object, container: str, step: entrypoint.Step) -> Ran:
    """Every declared result is written, its content its name."""
    return Ran(results={name: name for name in step.results})


def by_container(**endings: Ran) -> Script:
    """By `<task run>/<container>` or container; dashes written as underscores."""

    def script(pod: Object, container: str, step: entrypoint.Step) -> Ran:
        return endings.get(container.removeprefix("step-").replace("-", "_"), all_succeed(pod, container, step))

    return script


@dataclass
class PlayingNode:
    client: Client
    cache: Cache
    clock: Clock
    script: Script

    async def reconcile(self, key: Key) -> None:
        pod = self.cache.get(core.POD, key.name, key.namespace)
        if pod is None or meta.status(pod).get("phase") in ("Succeeded", "Failed"):
            return
        status = self.play(pod)
        if status != meta.status(pod):
            await self.client.patch_status(core.POD, key.name, status, key.namespace)

    def play(self, pod: Object) -> Object:
        statuses: list[Object] = []
        failed = running = False
        for container in meta.spec(pod)["containers"]:
            if not container["name"].startswith("step-"):
                statuses.append(_state(container, {"running": {"startedAt": self._now()}}, ready=True))
                continue
            step = entrypoint.parse(container["args"])
            ran = self.script(pod, container["name"], step)
            if running or (ran.exit_code is None and not failed):
                running = True
                waiting = {"waiting": {"reason": ran.waiting, "message": "denied"}}
                state = waiting if ran.waiting else {"running": {"startedAt": self._now()}}
                statuses.append(_state(container, state, ready=not ran.waiting))
                continue
            if failed:
                ran = Ran(1, reason=Reason.SKIPPED)
            ending = entrypoint.end(step, exit_code=ran.exit_code or 0, reason=ran.reason)
            failed = failed or ending.failed
            statuses.append(_state(container, self._terminated(step, ran, ending.exit_code)))
        phase = "Running" if running else "Failed" if failed else "Succeeded"
        return {"phase": phase, "containerStatuses": statuses}

    def _terminated(self, step: entrypoint.Step, ran: Ran, exit_code: int) -> Object:
        message = entrypoint.termination_message(
            step,
            exit_code=ran.exit_code or 0,
            started_at=self.clock.now(),
            results={name: text.encode() for name, text in ran.results.items()},
            reason=ran.reason,
        )
        return {
            "terminated": {
                "exitCode": exit_code,
                "reason": "Error" if exit_code else "Completed",
                "startedAt": self._now(),
                "finishedAt": self._now(),
                "message": message,
            }
        }

    def _now(self) -> str:
        return meta.timestamp(self.clock.now())


def _state(container: Object, state: Object, *, ready: bool = False) -> Object:
    return {"name": container["name"], "image": container.get("image", ""), "state": state, "ready": ready}


@dataclass
class Theatre:
    """A world of the engine and a playing node."""

    client: MemoryClient
    world: World
    clock: ManualClock

    @classmethod
    def open(cls, script: Script = all_succeed, *, chaos: Chaos | None = None) -> Theatre:
        clock = ManualClock()
        client = MemoryClient(clock=clock, rules=RULES)

        def make(client: MemoryClient, cache: Cache) -> list[Controller]:
            node = PlayingNode(client, cache, clock, script)
            return [
                *controllers(client, cache, clock, SETTINGS),
                Controller("node", node.reconcile, (Watch(core.POD),)),
            ]

        return cls(client, World(make, client, chaos=chaos), clock)

    async def apply(self, *documents: str | Object) -> list[Object]:
        """Create them in namespace default; the objects as created."""
        made = []
        for document in documents:
            parsed = list(yaml.safe_load_all(document)) if isinstance(document, str) else [document]
            for obj in filter(None, parsed):
                obj.setdefault("metadata", {})["namespace"] = "default"
                made.append(await self.client.create(catalog.kind_of(obj), obj))
        return made

    async def run(self, *documents: str | Object) -> Object:
        """Create them and settle; the last, as it then is."""
        made = (await self.apply(*documents))[-1]
        await self.world.settle()
        return await self.again(made)

    async def again(self, obj: Object) -> Object:
        return await self.client.get(catalog.kind_of(obj), meta.name(obj), "default")

    async def task_run(self, name: str) -> Object:
        return await self.client.get(pipeline.TASK_RUN, name, "default")

    async def pod(self, name: str) -> Object:
        return await self.client.get(core.POD, name, "default")

    async def pods(self) -> list[str]:
        return [meta.name(pod) for pod in self.client.objects(core.POD)]

    async def patch(self, obj: Object, spec: Object) -> Object:
        await self.client.patch(catalog.kind_of(obj), meta.name(obj), {"spec": spec}, "default")
        await self.world.settle()
        return await self.again(obj)

    async def advance(self, seconds: float) -> list[Write]:
        return await self.world.advance(seconds)


def succeeded(run: Object) -> tuple[str, str]:
    """(status, reason) of the condition Succeeded."""
    found = conditions.find(run, "Succeeded")
    assert found is not None, run.get("status")
    return found.status, found.reason


def message(run: Object) -> str:
    found = conditions.find(run, "Succeeded")
    assert found is not None
    return found.message


def result_of(run: Object) -> dict[str, Any]:
    return {found["name"]: found["value"] for found in meta.status(run).get("results") or []}


def steps_of(run: Object) -> dict[str, tuple[int, str]]:
    """Exit code and termination reason by step."""
    return {
        step["name"]: (step["terminated"]["exitCode"], step["terminationReason"]) for step in meta.status(run)["steps"]
    }


def as_json(value: object) -> str:
    return json.dumps(value)


DATA = Path(__file__).parent.parent / "data" / "tekton"
