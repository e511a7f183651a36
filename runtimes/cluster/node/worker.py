"""One pod on this node: observe, decide, do, report; until the pod is gone.

Law: one worker per pod uid, and it alone writes the pod's status, only when that changes. All knowledge that must
outlive the node is on disk (`pod.json`, the shim's files), so a new worker takes over where the last one ended. IO:
through the parts it calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import DeleteOptions
from funcs.errors import Conflict, FuncsError, NotFound, Unavailable

from . import ports as port_rules
from . import probes, steps
from .assembly import Assembled, assemble, termination_message
from .decide import (
    Action,
    Observed,
    Prepare,
    Problem,
    Remove,
    Skip,
    Start,
    Stop,
    Termination,
    containers,
    decide,
    init_containers,
    is_ordered,
    is_step,
)
from .environment import Facts
from .link import Link, Message, ShimRecord, kill_shim, read_record, start_shim
from .settings import Surroundings
from .shim.crilog import timestamp
from .status import differs, pod_status
from .vigils import Verdict, Vigils
from .volumes import Places, Volume, binds, make_volumes

_STATUS_RETRY = 1.0
_PULLED = {True: 'Successfully pulled image "{}"', False: 'Container image "{}" already present on machine'}


class PodWorker:
    """`update` with every new version of the pod; `vanished` when it is gone from the API."""

    def __init__(self, around: Surroundings, pod: Object) -> None:
        self._around = around
        self._pod = pod
        self._seen = Observed()
        self._directory = around.settings.pods / meta.uid(pod)
        self._changed = asyncio.Event()
        self._link: Link | None = None
        self._volumes: dict[str, Volume] = {}
        self._ports: dict[int, int] = {}
        self._assembled: dict[str, Assembled] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._vigils = Vigils(around.clock, self._spawn, self._ask, self._verdict)
        self._gone = False
        self._done = False

    def successor(self) -> PodWorker:
        """A worker that begins anew with what this one knew of the API."""
        fresh = PodWorker(self._around, self._pod)
        fresh._gone = self._gone
        return fresh

    def update(self, pod: Object) -> None:
        self._pod = pod
        self._changed.set()

    def vanished(self) -> None:
        self._gone = True
        self._changed.set()

    async def run(self) -> None:
        """Until the pod is gone. Cancellation leaves the pod running for the next node."""
        async with self._group:
            try:
                await self._adopt()
                while not self._done:
                    await self._turn()
            finally:
                for task in self._tasks:
                    task.cancel()

    async def _turn(self) -> None:
        self._changed.clear()
        clock = self._around.clock
        if self._gone:
            await self._remove()
            return
        plan = decide(self._pod, self._seen, clock.now())
        for action in plan.actions:
            await self._do(action)
        if self._done:
            return
        again = await self._report()
        due = plan.look_again if again is None else min(again, plan.look_again or again)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - clock.now())):
                await self._changed.wait()

    # doing

    async def _do(self, action: Action) -> None:
        if isinstance(action, Prepare):
            self._seen = replace(self._seen, preparing=True)
            await self._prepare()
        elif isinstance(action, Start):
            self._see(action.name, phase="starting", sick="", stopping=False)
            self._spawn(self._start(action.name))
        elif isinstance(action, Stop):
            self._see(action.name, stopping=True)
            self._spawn(self._stop(action))
        elif isinstance(action, Skip):
            self._skip(action.name)
        elif isinstance(action, Remove):
            await self._remove()

    async def _prepare(self) -> None:
        """Directory, ports, volumes, shim."""
        around, now = self._around, self._around.clock.now()
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not self._ports:
                self._ports = around.ports.take(port_rules.declared(self._pod))
            began = self._seen.began or now
            self._seen = replace(self._seen, began=began)
            _write_json(self._directory / "pod.json", self._memory())
            await self._publish_ports()
            self._volumes = await make_volumes(around.client, self._facts(), self._places())
            address = around.settings.socket(meta.uid(self._pod))
            around.settings.run.mkdir(mode=0o700, parents=True, exist_ok=True)
            await start_shim(self._directory, address, around.runtime.cgroup(meta.uid(self._pod)))
            await self._connect(str(address))
        except (FuncsError, OSError) as error:
            self._prepare_failed(error, now)
        else:
            self._seen = replace(self._seen, prepared=True, preparing=False, problem=None)

    def _prepare_failed(self, error: Exception, now: float) -> None:
        reason = getattr(error, "reason", "ContainerCreating")
        times = self._seen.problem.times + 1 if self._seen.problem else 1
        self._seen = replace(self._seen, preparing=False, problem=Problem(reason, str(error), times, now))
        word = "FailedMount" if reason == "ContainerCreating" else reason
        self._around.recorder.record(self._pod, word, str(error), warning=True)

    async def _publish_ports(self) -> None:
        text = json.dumps({str(port): real for port, real in self._ports.items()})
        if self._ports and meta.annotations(self._pod).get(port_rules.ANNOTATION) != text:
            patch: Object = {"metadata": {"annotations": {port_rules.ANNOTATION: text}}}
            self._pod = await self._around.client.patch(
                core.POD, meta.name(self._pod), patch, meta.namespace(self._pod)
            )

    async def _start(self, name: str) -> None:
        container, around = self._container(name), self._around
        attempt = self._seen.of(name).attempt + 1
        try:
            made = await assemble(around, self._facts(), container, attempt, self._volumes)
            pulled = _PULLED[made.launch.image.pulled].format(container["image"])
            around.recorder.record(self._pod, "Pulled", pulled, container=name)
            message = around.runtime.container(made.launch)
            message["previous"] = _read_json(self._directory / name / "status.json")
            message["mounts"] = [*self._shared_mounts(), *message.get("mounts", [])]
            self._assembled[name] = made
            self._see(name, image_id=made.launch.image.id)
            await self._ask("start", 10.0, container=message)
            around.recorder.record(self._pod, "Created", f"Created container: {name}", container=name)
        except (FuncsError, OSError) as error:
            problem = self._seen.of(name).problem
            reason = error.reason if isinstance(error, FuncsError) else "CreateContainerError"
            times = problem.times + 1 if problem is not None else 1
            found = self._seen.of(name)
            phase = "exited" if found.ended is not None else "waiting"
            self._see(name, phase=phase, problem=Problem(reason, str(error), times, around.clock.now()))
            around.recorder.record(self._pod, "Failed", f"Error: {error}", container=name, warning=True)
        self._changed.set()

    async def _stop(self, action: Stop) -> None:
        container = self._container(action.name)
        self._around.recorder.record(self._pod, "Killing", f"Stopping container {action.name}", container=action.name)
        remaining = action.grace
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook and remaining > 0:
            began = self._around.clock.monotonic()
            await self._pre_stop(container, hook, remaining)
            remaining = max(2.0, remaining - (self._around.clock.monotonic() - began))
        number = _stop_signal(self._assembled.get(action.name))
        with contextlib.suppress(FuncsError):  # it has ended meanwhile, or the shim has, which says so itself
            await self._ask("stop", 10.0, name=action.name, grace=remaining, signal=number)

    async def _pre_stop(self, container: Object, hook: Object, limit: float) -> None:
        if "sleep" in hook:
            await self._around.clock.sleep(min(limit, float(hook["sleep"]["seconds"])))
            return
        try:
            probe = probes.read("preStop", hook | {"timeoutSeconds": limit}, container, self._ports)
        except FuncsError as error:
            self._around.recorder.record(self._pod, "FailedPreStopHook", str(error), warning=True)
            return
        ok, why = await probes.check(probe, self._vigils.command_in(container["name"]))
        if not ok:
            self._around.recorder.record(self._pod, "FailedPreStopHook", why, container=container["name"], warning=True)

    def _skip(self, name: str) -> None:
        container = self._container(name)
        mounted = binds(container, self._facts(), self._volumes, {})
        ended = steps.skip_step(container, mounted, self._around.clock.now())
        self._see(name, phase="exited", attempt=0, ended=ended)
        _note(self._directory / name, steps.SKIPPED, self._around.clock.now())
        self._changed.set()

    async def _remove(self) -> None:
        """Nothing is left of the pod, here or in the API."""
        self._vigils.end_all()
        record = read_record(self._directory)
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(FuncsError):
                await link.ask("quit", grace=0)
            link.close()
        if record is not None:
            await _await_end(record, self._around)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._around.ports.release(self._ports.values())
        if not self._gone:
            options = DeleteOptions(grace_seconds=0, uid=meta.uid(self._pod))
            with contextlib.suppress(NotFound, Conflict):
                await self._around.client.delete(core.POD, meta.name(self._pod), meta.namespace(self._pod), options)
        self._done = True

    # observing

    async def _adopt(self) -> None:
        """Take over what an earlier node has left running."""
        try:
            memory = json.loads((self._directory / "pod.json").read_text())
        except (OSError, ValueError):
            return
        self._ports = {int(port): int(real) for port, real in memory["ports"].items()}
        self._around.ports.adopt(self._ports.values())
        self._seen = replace(self._seen, began=float(memory["began"]))
        record = read_record(self._directory)
        if record is None:
            return
        self._volumes = await self._known_volumes()
        if record.is_alive():
            try:
                await self._connect(record.socket)
            except Unavailable:
                kill_shim(record)
            else:
                self._seen = replace(self._seen, prepared=True)
                return
        self._shim_lost()

    async def _known_volumes(self) -> dict[str, Volume]:
        """The volumes again: made already, so only their places are new to us; missing sources keep what is there."""
        try:
            return await make_volumes(self._around.client, self._facts(), self._places())
        except FuncsError:
            names = [volume["name"] for volume in meta.spec(self._pod).get("volumes") or []]
            return {name: Volume(self._directory / "volumes" / name, "emptyDir") for name in names}

    async def _connect(self, address: str) -> None:
        self._link, states = await Link.open(address)
        for state in states:
            self._heard(state)
        self._spawn(self._listen(self._link))

    async def _listen(self, link: Link) -> None:
        await link.listen(self._heard)
        if self._link is link and not self._done:
            self._link = None
            self._shim_lost()

    def _shim_lost(self) -> None:
        """The shim was killed, and with it every container: what ran has ended, and nobody knows how."""
        for container in (*init_containers(self._pod), *containers(self._pod)):
            state = _read_json(self._directory / container["name"] / "status.json")
            if state is not None and state.get("state") == "exited":
                self._heard(state)
            elif state is not None:
                state |= {"state": "exited", "exitCode": 137, "signal": 9, "reason": "ContainerStatusUnknown"}
                state |= {"finishedAt": self._around.clock.now()}
                _write_json(self._directory / container["name"] / "status.json", state)
                self._heard(state)
        if meta.spec(self._pod).get("restartPolicy", "Always") == "Always" and not is_ordered(self._pod):
            self._seen = replace(self._seen, prepared=False, preparing=False)
        else:
            self._seen = replace(self._seen, prepared=True, lost=True)
        self._around.recorder.record(self._pod, "ShimKilled", "The pod's shim was killed", warning=True)
        self._changed.set()

    def _heard(self, state: Message) -> None:
        """A container's state, from its shim."""
        name = str(state["name"])
        found = self._seen.of(name)
        container = self._container(name)
        last = self._termination(container, state["previous"]) if state.get("previous") else found.last
        if state["state"] == "running":
            self._see(
                name, phase="running", attempt=int(state["attempt"]), started_at=float(state["startedAt"]), last=last,
                ended=None, problem=None, sick="",
                started="startupProbe" not in container,
                ready="readinessProbe" not in container and "startupProbe" not in container,
            )  # fmt: skip
            self._around.recorder.record(self._pod, "Started", f"Started container {name}", container=name)
            self._watch(container)
        elif state["state"] == "exited":
            self._vigils.end(name)
            ended = self._termination(container, state)
            self._see(
                name, phase="exited", attempt=int(state["attempt"]), started_at=float(state["startedAt"]), last=last,
                ended=ended, ready=False, started=False, stopping=False, problem=None,
            )  # fmt: skip
        self._changed.set()

    def _termination(self, container: Object, state: Message) -> Termination:
        ended = Termination(
            exit_code=int(state["exitCode"]),
            reason=str(state["reason"]),
            started_at=float(state["startedAt"]),
            finished_at=float(state["finishedAt"]),
            signal=int(state.get("signal") or 0),
            message=str(state.get("message") or ""),
        )
        name = container["name"]
        if is_step(self._pod, name):
            return steps.end_step(container, binds(container, self._facts(), self._volumes, {}), ended)
        if ended.message:
            return ended
        made = self._assembled.get(name)
        file = made.message if made is not None else self._directory / name / "termination-log"
        log = self._directory / name / "log"
        return replace(ended, message=termination_message(container, file, log, ended.exit_code != 0))

    def _watch(self, container: Object) -> None:
        name = container["name"]
        step = steps.step_of(container.get("args") or []) if is_step(self._pod, name) else None
        ends = None
        if step is not None and step.timeout is not None:
            ends = self._seen.of(name).started_at + step.timeout - self._around.clock.now()
        self._vigils.begin(container, self._ports, ends)

    def _verdict(self, name: str, verdict: Verdict) -> None:
        """What a probe has found of a running container."""
        container, found, kind = self._container(name), self._seen.of(name), verdict.kind
        if found.phase != "running":
            return
        if kind == "startup" and verdict.ok and not found.started:
            self._see(name, started=True, ready="readinessProbe" not in container)
        elif kind == "readiness" and found.ready != verdict.ok:
            self._see(name, ready=verdict.ok)
        elif kind != "readiness" and not verdict.ok and not found.sick and not (kind == "startup" and found.started):
            self._see(name, sick=f"Container {name} failed {kind} probe, will be restarted")
        else:
            return
        if not verdict.ok:
            text = f"{kind.capitalize()} probe failed: {verdict.why}"
            self._around.recorder.record(self._pod, "Unhealthy", text, container=name, warning=True)
        self._changed.set()

    async def _report(self) -> float | None:
        """Write the status if it has changed; when to try again if it could not be written."""
        now = self._around.clock.now()
        status = pod_status(self._pod, self._seen, now)
        if not differs(self._pod, status):
            return None
        try:
            self._pod = await self._around.client.patch_status(
                core.POD, meta.name(self._pod), status, meta.namespace(self._pod)
            )
        except NotFound:
            self._gone = True
            return now
        except FuncsError:
            return now + _STATUS_RETRY
        return None

    # small things

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task of this worker: it ends with it at the latest."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _see(self, name: str, **changes: object) -> None:
        found = replace(self._seen.of(name), **changes)  # type: ignore[arg-type]
        self._seen = replace(self._seen, containers={**self._seen.containers, name: found})

    def _container(self, name: str) -> Object:
        spec = meta.spec(self._pod)
        everything = (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
        return next(each for each in everything if each["name"] == name)

    def _facts(self) -> Facts:
        settings = self._around.settings
        return Facts(pod=self._pod, node_capacity=settings.capacity, ports=self._ports, service=settings.service)

    def _places(self) -> Places:
        settings = self._around.settings
        return Places(pod=self._directory, claims=settings.claims, certificate_authority=settings.certificate_authority)

    def _shared_mounts(self) -> list[Message]:
        if is_ordered(self._pod):
            return []  # the node itself writes into the volumes of steps, so they must be where it can see them
        memory = {
            volume["name"]: volume["emptyDir"]
            for volume in meta.spec(self._pod).get("volumes") or []
            if (volume.get("emptyDir") or {}).get("medium") == "Memory"
        }
        return self._around.runtime.pod_mounts(self._directory, memory)

    async def _ask(self, operation: str, deadline: float, **fields: Any) -> Message:
        """Raises Unavailable when there is no shim, or it says no."""
        if self._link is None:
            raise Unavailable("the pod's shim is gone", reason="RunContainerError")
        return await self._link.ask(operation, deadline, **fields)

    def _memory(self) -> Object:
        return {
            "uid": meta.uid(self._pod),
            "name": meta.name(self._pod),
            "namespace": meta.namespace(self._pod),
            "ports": {str(port): real for port, real in self._ports.items()},
            "began": self._seen.began,
        }


async def _await_end(record: ShimRecord, around: Surroundings) -> None:
    """A shim that was told to quit is gone in a moment; one that is not is killed."""
    for delay in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        if not record.is_alive():
            break
        await around.clock.sleep(delay)
    kill_shim(record)
    await asyncio.to_thread(Path(record.socket).unlink, missing_ok=True)


def _stop_signal(made: Assembled | None) -> int:
    name = made.launch.image.config.stop_signal if made is not None else ""
    if name.isdecimal():
        return int(name)
    return int(getattr(signal, name if name.startswith("SIG") else f"SIG{name}", signal.SIGTERM)) if name else 15


def _note(directory: Path, line: str, now: float) -> None:
    """A line of the node's own in a container's log."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("a") as log:
        log.write(f"{timestamp(int(now * 1e9))} stderr F {line}\n")


def _read_json(path: Path) -> Message | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, value: Object) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value))
    fresh.replace(path)
