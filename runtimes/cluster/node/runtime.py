"""The PodRuntime port: how a container that is fully thought out becomes something the shim can start.

Law: everything Kubernetes means (images, environment, volumes, identity) is resolved in `Launch` before a runtime sees
it; a runtime only says how its kind of isolation does it, and refuses by name what it cannot honour. The answer is the
shim's own message (`runtimes.cluster.node.shim`), so a runtime starts nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from funcs.api.meta import Object
from funcs.errors import Invalid

from ..images import Form, Image, Snapshot


class CannotRun(Invalid):
    """The container cannot be started as it is asked for; `reason` is what kubectl shows as the waiting reason."""

    default_reason = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host at a path in the container. `kind` is the volume's, for refusals."""

    source: Path
    path: str
    read_only: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Numeric, as the kernel wants it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt at one container. `directory`: `pods/<uid>/<container>`; `security`: pod's and container's."""

    pod_uid: str
    name: str
    attempt: int
    image: Image
    snapshot: Snapshot
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    hostname: str
    directory: Path
    binds: tuple[Bind, ...] = ()
    security: Object = field(default_factory=dict)
    resources: Object = field(default_factory=dict)
    log_limit: int = 10 << 20


class PodRuntime(Protocol):
    """`name` is shown to people; `form` is how images must be unpacked for it."""

    name: str
    form: Form
    isolated: bool

    def container(self, launch: Launch) -> dict[str, Any]:
        """The shim's `start` message; writes what it needs below `launch.directory`. Raises CannotRun."""
        ...

    def command(self, directory: Path, argv: list[str]) -> list[str]:
        """Another command in the container of `directory` (a probe, a hook), as the shim must be told it."""
        ...

    def pod_mounts(self, directory: Path, volumes: Mapping[str, Object]) -> list[dict[str, Any]]:
        """Mounts that all containers of a pod share (memory-backed emptyDirs). Raises CannotRun."""
        ...

    def cgroup(self, pod_uid: str) -> str:
        """What the names of its containers' control groups begin with, "" if they have none."""
        ...


def shim_message(launch: Launch) -> dict[str, Any]:
    """What both runtimes say alike."""
    return {"name": launch.name, "attempt": launch.attempt, "log_limit": launch.log_limit}
