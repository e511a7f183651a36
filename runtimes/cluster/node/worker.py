"""One pod on this node: observe, decide, do, report; until the pod is gone.

Law: one worker per pod uid, and it alone writes the pod's status, only when that changes. All knowledge that must
outlive the node is on disk (`pod.json`, the shim's files), so a new worker takes over where the last one ended. IO:
through the parts it calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import DeleteOptions
from funcs.errors import Conflict, FuncsError, NotFound, Unavailable

from . import hooks, steps
from . import ports as port_rules
from .assembly import Assembled
from .decide import (
    Action,
    Observed,
    Prepare,
    Problem,
    Remove,
    Skip,
    Start,
    Stop,
    containers,
    decide,
    init_containers,
    is_ordered,
    is_step,
)
from .link import Link, Message, ShimRecord, kill_shim, read_record, start_shim
from .local import LocalPod
from .settings import Surroundings
from .status import differs, pod_status
from .vigils import Verdict, Vigils

_STATUS_RETRY = 1.0
_LEAST_AFTER_HOOK = 2.0
_PULLED = {True: 'Successfully pulled image "{}"', False: 'Container image "{}" already present on machine'}


class PodWorker:
    """`update` with every new version of the pod; `vanished` when it is gone from the API."""

    def __init__(self, around: Surroundings, pod: Object) -> None:
        self._around = around
        self._local = LocalPod(around, pod)
        self._seen = Observed()
        self._changed = asyncio.Event()
        self._link: Link | None = None
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._vigils = Vigils(around.clock, self._spawn, self._ask, self._verdict, self._local.command)
        self._gone = False
        self._done = False
        self._ending = False

    def successor(self) -> PodWorker:
        """A worker that begins anew with what this one knew of the API."""
        fresh = PodWorker(self._around, self._pod)
        fresh._gone = self._gone
        return fresh

    @property
    def _pod(self) -> Object:
        return self._local.object

    def update(self, pod: Object) -> None:
        self._local.object = pod
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
                self._ending = True
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
            self._seen = replace(self._seen, began=self._seen.began or now)
            self._local.settle(self._seen.began)
            await self._publish_ports()
            await self._local.make_volumes()
            address = around.settings.socket(meta.uid(self._pod))
            around.settings.run.mkdir(mode=0o700, parents=True, exist_ok=True)
            await start_shim(self._local.directory, address, around.runtime.cgroup(meta.uid(self._pod)))
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
        text = json.dumps({str(port): real for port, real in self._local.ports.items()})
        if self._local.ports and meta.annotations(self._pod).get(port_rules.ANNOTATION) != text:
            patch: Object = {"metadata": {"annotations": {port_rules.ANNOTATION: text}}}
            self._local.object = await self._around.client.patch(
                core.POD, meta.name(self._pod), patch, meta.namespace(self._pod)
            )

    async def _start(self, name: str) -> None:
        container, around = self._local.container(name), self._around
        try:
            made, message = await self._local.assemble(container, self._seen.of(name).attempt + 1)
            pulled = _PULLED[made.launch.image.pulled].format(container["image"])
            around.recorder.record(self._pod, "Pulled", pulled, container=name)
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
        name = action.name
        self._around.recorder.record(self._pod, "Killing", f"Stopping container {name}", container=name)
        remaining = action.grace
        hook = hooks.read("preStop", self._local.container(name), self._local.ports)
        if hook is not None and remaining > 0:
            began = self._around.clock.monotonic()
            await self._run_hook(name, "PreStop", hook, remaining)
            remaining = max(_LEAST_AFTER_HOOK, remaining - (self._around.clock.monotonic() - began))
        number = _stop_signal(self._local.assembled(name))
        with contextlib.suppress(FuncsError):  # it has ended meanwhile, or the shim has, which says so itself
            await self._ask("stop", 10.0, name=name, grace=remaining, signal=number)

    async def _run_hook(self, name: str, kind: str, hook: hooks.Hook, limit: float) -> bool:
        why = await hooks.run(hook, self._around.clock, self._vigils.command_in(name), limit)
        if why:
            self._around.recorder.record(self._pod, f"Failed{kind}Hook", why, container=name, warning=True)
        return not why

    async def _post_start(self, container: Object, hook: hooks.Hook, attempt: int) -> None:
        """The container counts as started, and is probed, once this is done; it is killed if this fails."""
        name = container["name"]
        ok = await self._run_hook(name, "PostStart", hook, hooks.POST_START_SECONDS)
        found = self._seen.of(name)
        if (found.phase, found.attempt) != ("running", attempt):
            return
        if ok:
            self._see(name, **_begun(container))
            self._watch(container)
        else:
            self._see(name, sick=f"Container {name} failed its postStart hook")
        self._changed.set()

    def _skip(self, name: str) -> None:
        self._see(name, phase="exited", attempt=0, ended=self._local.skip(name, self._around.clock.now()))
        self._changed.set()

    async def _remove(self) -> None:
        """Nothing is left of the pod, here or in the API."""
        self._vigils.end_all()
        record = read_record(self._local.directory)
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(FuncsError):
                await link.ask("quit", grace=0)
            link.close()
        if record is not None:
            await _await_end(record, self._around)
        await self._local.remove()
        if not self._gone:
            options = DeleteOptions(grace_seconds=0, uid=meta.uid(self._pod))
            with contextlib.suppress(NotFound, Conflict):
                await self._around.client.delete(core.POD, meta.name(self._pod), meta.namespace(self._pod), options)
        self._done = True

    # observing

    async def _adopt(self) -> None:
        """Take over what an earlier node has left running."""
        began = self._local.recall()
        if began is None:
            return
        self._seen = replace(self._seen, began=began)
        record = read_record(self._local.directory)
        if record is None:
            return
        await self._local.find_volumes()
        if record.is_alive():
            try:
                await self._connect(record.socket)
            except Unavailable:
                kill_shim(record)
            else:
                self._seen = replace(self._seen, prepared=True)
                return
        await self._shim_lost()

    async def _connect(self, address: str) -> None:
        self._link, states = await Link.open(address)
        for state in states:
            self._heard(state, fresh=False)
        self._spawn(self._listen(self._link))

    async def _listen(self, link: Link) -> None:
        await link.listen(self._heard)
        if self._link is link and not self._done:
            self._link = None
            await self._shim_lost()

    async def _shim_lost(self) -> None:
        """The shim was killed, and with it every container: what ran has ended, and nobody knows how."""
        await self._local.end_strays()
        for container in (*init_containers(self._pod), *containers(self._pod)):
            state = self._local.mark_lost(container["name"], self._around.clock.now())
            if state is not None:
                self._heard(state)
        if meta.spec(self._pod).get("restartPolicy", "Always") == "Always" and not is_ordered(self._pod):
            self._seen = replace(self._seen, prepared=False, preparing=False)
        else:
            self._seen = replace(self._seen, prepared=True, lost=True)
        self._around.recorder.record(self._pod, "ShimKilled", "The pod's shim was killed", warning=True)
        self._changed.set()

    def _heard(self, state: Message, *, fresh: bool = True) -> None:
        """A container's state, from its shim; one that is not fresh began under an earlier worker."""
        name = str(state["name"])
        found = self._seen.of(name)
        container = self._local.container(name)
        last = self._local.termination(container, state["previous"]) if state.get("previous") else found.last
        if state["state"] == "running":
            hook = hooks.read("postStart", container, self._local.ports) if fresh else None
            attempt = int(state["attempt"])
            self._see(
                name, phase="running", attempt=attempt, started_at=float(state["startedAt"]), last=last,
                ended=None, problem=None, sick="",
                **(_begun(container) if hook is None else {"started": False, "ready": False}),
            )  # fmt: skip
            self._around.recorder.record(self._pod, "Started", f"Started container {name}", container=name)
            if hook is None:
                self._watch(container)
            else:
                self._spawn(self._post_start(container, hook, attempt))
        elif state["state"] == "exited":
            self._vigils.end(name)
            ended = self._local.termination(container, state)
            self._see(
                name, phase="exited", attempt=int(state["attempt"]), started_at=float(state["startedAt"]), last=last,
                ended=ended, ready=False, started=False, stopping=False, problem=None,
            )  # fmt: skip
        self._changed.set()

    def _watch(self, container: Object) -> None:
        name = container["name"]
        step = steps.step_of(container.get("args") or []) if is_step(self._pod, name) else None
        ends = None
        if step is not None and step.timeout is not None:
            ends = self._seen.of(name).started_at + step.timeout - self._around.clock.now()
        self._vigils.begin(container, self._local.ports, ends)

    def _verdict(self, name: str, verdict: Verdict) -> None:
        """What a probe has found of a running container."""
        container, found, kind = self._local.container(name), self._seen.of(name), verdict.kind
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
            self._local.object = await self._around.client.patch_status(
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
        if self._ending:  # what the shim said last must not begin a vigil that nobody ends
            task.cancel()
        return task

    def _see(self, name: str, **changes: object) -> None:
        found = replace(self._seen.of(name), **changes)  # type: ignore[arg-type]
        self._seen = replace(self._seen, containers={**self._seen.containers, name: found})

    async def _ask(self, operation: str, deadline: float, **fields: Any) -> Message:
        """Raises Unavailable when there is no shim, or it says no."""
        if self._link is None:
            raise Unavailable("the pod's shim is gone", reason="RunContainerError")
        return await self._link.ask(operation, deadline, **fields)


def _begun(container: Object) -> dict[str, bool]:
    """What a running container is before any probe has spoken."""
    started = "startupProbe" not in container
    return {"started": started, "ready": started and "readinessProbe" not in container}


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
