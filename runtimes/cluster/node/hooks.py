"""Lifecycle hooks: what a container asks to be done right after its start and right before its end.

Law: a hook has a deadline, and what it came to is its answer, never an exception. `exec`, `httpGet` and `sleep` are
done; `tcpSocket`, which Kubernetes keeps only for old objects, is refused by name. IO: through `probes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from funcs.api.meta import Object
from funcs.control.clock import Clock

from . import probes
from .runtime import CannotRun

Ports = Mapping[int, int]
POST_START_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Hook:
    """`probe` does it; without one it is to sleep for `seconds`."""

    probe: probes.Probe | None
    seconds: float = 0.0


def read(name: str, container: Object, ports: Ports) -> Hook | None:
    """The container's hook of this name (`postStart`, `preStop`). Raises CannotRun for a handler we lack."""
    spec = (container.get("lifecycle") or {}).get(name)
    if not spec:
        return None
    if "tcpSocket" in spec:
        raise CannotRun(f"lifecycle.{name} of {container['name']}: handler tcpSocket is not supported")
    if spec.get("sleep") is not None:
        return Hook(None, float(spec["sleep"].get("seconds") or 0))
    return Hook(probes.read(f"lifecycle.{name}", spec, container, ports))


async def run(hook: Hook, clock: Clock, command: probes.Exec, limit: float) -> str:
    """Why it failed, or "". `limit`: seconds."""
    if hook.probe is None:
        await clock.sleep(min(limit, hook.seconds))
        return ""
    ok, why = await probes.check(probes.within(hook.probe, limit), command)
    return "" if ok else why
