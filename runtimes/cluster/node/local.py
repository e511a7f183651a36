"""A pod as this machine has it: its directory, ports and volumes, and what they say of how its containers ended.

Law: what must outlive the node is in these files (`pod.json`, the shim's `status.json`), so that a worker that comes
later knows as much. IO: the pod's directory; volumes, through the Client.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

from funcs.api import meta
from funcs.api.meta import Object
from funcs.errors import FuncsError

from . import ports as port_rules
from . import steps
from .assembly import Assembled, assemble, termination_message
from .cleanup import end_strays
from .decide import Termination, is_ordered, is_step
from .environment import Facts
from .link import Message
from .runtime import Bind
from .settings import Surroundings
from .shim.crilog import timestamp
from .volumes import Places, Volume, binds, make_volumes


class LocalPod:
    """`object` is the newest version from the API; `ports` maps declared ports to the host's."""

    def __init__(self, around: Surroundings, pod: Object) -> None:
        self._around = around
        self.object = pod
        self.directory = around.settings.pods / meta.uid(pod)
        self.ports: dict[int, int] = {}
        self._volumes: dict[str, Volume] = {}
        self._assembled: dict[str, Assembled] = {}

    def container(self, name: str) -> Object:
        spec = meta.spec(self.object)
        everything = (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
        return next(each for each in everything if each["name"] == name)

    # making and finding again

    def settle(self, began: float) -> None:
        """Take a directory and ports, and write down what a later worker must know."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self.ports:
            self.ports = self._around.ports.take(port_rules.declared(self.object))
        memory = {
            "uid": meta.uid(self.object),
            "name": meta.name(self.object),
            "namespace": meta.namespace(self.object),
            "ports": {str(port): real for port, real in self.ports.items()},
            "began": began,
        }
        _write_json(self.directory / "pod.json", memory)

    def recall(self) -> float | None:
        """What an earlier worker has written down: when the pod began. None if there was none."""
        memory = _read_json(self.directory / "pod.json")
        if memory is None:
            return None
        self.ports = {int(port): int(real) for port, real in memory["ports"].items()}
        self._around.ports.adopt(self.ports.values())
        return float(memory["began"])

    async def make_volumes(self) -> None:
        """Raises CannotRun, FailedMount."""
        self._volumes = await make_volumes(self._around.client, self._facts(), self._places())

    async def find_volumes(self) -> None:
        """Volumes made earlier, whose places are new to us; where a source has gone, what is there stays."""
        try:
            await self.make_volumes()
        except FuncsError:
            names = [volume["name"] for volume in meta.spec(self.object).get("volumes") or []]
            self._volumes = {name: Volume(self.directory / "volumes" / name, "emptyDir") for name in names}

    async def end_strays(self) -> None:
        """What a killed shim leaves running where there are no pid namespaces."""
        if not self._around.runtime.isolated:
            await asyncio.to_thread(end_strays, self.directory)

    async def remove(self) -> None:
        await self.end_strays()
        await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)
        self._around.ports.release(self.ports.values())

    # containers

    async def assemble(self, container: Object, attempt: int) -> tuple[Assembled, Message]:
        """The container, thought out, and the shim's `start` message. Raises FuncsError, OSError."""
        made = await assemble(self._around, self._facts(), container, attempt, self._volumes)
        message = self._around.runtime.container(made.launch)
        message["previous"] = self.state(container["name"])
        message["mounts"] = [*self._shared_mounts(), *message.get("mounts", [])]
        self._assembled[container["name"]] = made
        return made, message

    def assembled(self, name: str) -> Assembled | None:
        return self._assembled.get(name)

    def command(self, name: str, argv: list[str]) -> list[str]:
        """Another command in a container, as its shim must be told it."""
        return self._around.runtime.command(self.directory / name, argv)

    def state(self, name: str) -> Message | None:
        """What the shim has last written of a container."""
        return _read_json(self.directory / name / "status.json")

    def mark_lost(self, name: str, now: float) -> Message | None:
        """How a container whose shim was killed has ended, as far as can be known; None if it never ran."""
        state = self.state(name)
        if state is not None and state.get("state") != "exited":
            state |= {"state": "exited", "exitCode": 137, "signal": 9, "reason": "ContainerStatusUnknown"}
            state["finishedAt"] = now
            _write_json(self.directory / name / "status.json", state)
        return state

    def skip(self, name: str, now: float) -> Termination:
        """A step that does not run, as its log and its marks say."""
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "log").open("a") as log:
            log.write(f"{timestamp(int(now * 1e9))} stderr F {steps.SKIPPED}\n")
        container = self.container(name)
        return steps.skip_step(container, self._mounted(container), now)

    def termination(self, container: Object, state: Message) -> Termination:
        """How an attempt ended, by the shim's word and what the container has left to say."""
        ended = Termination(
            exit_code=int(state["exitCode"]),
            reason=str(state["reason"]),
            started_at=float(state["startedAt"]),
            finished_at=float(state["finishedAt"]),
            signal=int(state.get("signal") or 0),
            message=str(state.get("message") or ""),
        )
        name = container["name"]
        if is_step(self.object, name):
            return steps.end_step(container, self._mounted(container), ended)
        if ended.message:
            return ended
        made = self._assembled.get(name)
        file = made.message if made is not None else self.directory / name / "termination-log"
        log = self.directory / name / "log"
        return replace(ended, message=termination_message(container, file, log, ended.exit_code != 0))

    def _mounted(self, container: Object) -> tuple[Bind, ...]:
        return binds(container, self._facts(), self._volumes, {})

    def _shared_mounts(self) -> list[Message]:
        if is_ordered(self.object):
            return []  # the node itself writes into the volumes of steps, so they must be where it can see them
        memory = {
            volume["name"]: volume["emptyDir"]
            for volume in meta.spec(self.object).get("volumes") or []
            if (volume.get("emptyDir") or {}).get("medium") == "Memory"
        }
        return self._around.runtime.pod_mounts(self.directory, memory)

    def _facts(self) -> Facts:
        settings = self._around.settings
        return Facts(pod=self.object, node_capacity=settings.capacity, ports=self.ports, service=settings.service)

    def _places(self) -> Places:
        settings = self._around.settings
        return Places(pod=self.directory, claims=settings.claims, certificate_authority=settings.certificate_authority)


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
