"""What is kept up while a container runs: its probes, and its step's timeout.

Law: a vigil ends with the container's attempt and leaves nothing running; a timeout is counted from the start that the
shim recorded, so a node that comes back counts on. IO: through `probes` and the shim.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from funcs.api.meta import Object
from funcs.control.clock import Clock
from funcs.errors import FuncsError

from . import probes
from .link import Message

_SIGKILL = 9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe of this kind (startup, readiness, liveness) has come to."""

    kind: str
    ok: bool
    why: str = ""


class Ask(Protocol):
    """Asks the shim. Raises FuncsError."""

    async def __call__(self, operation: str, deadline: float, **fields: Any) -> Message: ...


class Vigils:
    """One set of tasks per running container.

    `told(name, verdict)` hears the probes; `translate(name, argv)` is PodRuntime's `command`.
    """

    def __init__(
        self,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        ask: Ask,
        told: Callable[[str, Verdict], None],
        translate: Callable[[str, list[str]], list[str]],
    ) -> None:
        self._clock, self._spawn, self._ask, self._told, self._translate = clock, spawn, ask, told, translate
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._started: dict[str, asyncio.Event] = {}

    def begin(self, container: Object, ports: Mapping[int, int], timeout: float | None) -> None:
        """`timeout`: seconds from now after which the container is killed."""
        name = container["name"]
        self.end(name)
        started = self._started[name] = asyncio.Event()
        if not container.get("startupProbe"):
            started.set()
        kinds = [kind for kind in ("startup", "readiness", "liveness") if container.get(f"{kind}Probe")]
        tasks = [self._spawn(self._probe(container, kind, ports)) for kind in kinds]
        if timeout is not None:
            tasks.append(self._spawn(self._time_out(name, timeout)))
        self._tasks[name] = tasks

    def end(self, name: str) -> None:
        for task in self._tasks.pop(name, []):
            task.cancel()

    def end_all(self) -> None:
        for name in list(self._tasks):
            self.end(name)

    def command_in(self, name: str) -> probes.Exec:
        """How to run commands in a container."""

        async def run(argv: list[str], timeout: float) -> tuple[int, str]:
            own = self._translate(name, argv)
            answer = await self._ask("exec", timeout + 5.0, name=name, argv=own, timeout=timeout)
            return (124 if answer["timed_out"] else int(answer["code"])), str(answer["output"])

        return run

    async def _probe(self, container: Object, kind: str, ports: Mapping[int, int]) -> None:
        name = container["name"]
        probe = probes.read(f"{kind}Probe", container[f"{kind}Probe"], container, ports)
        if kind != "startup":
            await self._started[name].wait()

        def verdict(ok: bool, why: str) -> None:
            self._told(name, Verdict(kind, ok, why))
            if kind == "startup" and ok:
                self._started[name].set()

        watching = probes.watch(probe, self._clock, self.command_in(name), verdict)
        await (self._until_started(name, watching) if kind == "startup" else watching)

    async def _until_started(self, name: str, watching: Coroutine[None, None, None]) -> None:
        """A startup probe has done its work when it has succeeded once."""
        task = asyncio.ensure_future(watching)
        started = asyncio.ensure_future(self._started[name].wait())
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            started.cancel()
            await asyncio.gather(task, started, return_exceptions=True)

    async def _time_out(self, name: str, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds) + 0.001)
        with contextlib.suppress(FuncsError):  # it has ended meanwhile
            await self._ask("stop", 10.0, name=name, grace=0, signal=_SIGKILL)
