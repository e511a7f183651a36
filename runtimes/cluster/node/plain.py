"""The `process` runtime: containers as plain processes of this machine, for systems without containers.

Law: it is not isolation, and it never pretends: only images that are made for the host's own userland
(`dev.funcs.base=host`) are run, with the machine's own interpreter, and whatever it cannot honour is refused by name.
There is no mount namespace of the container's own, so absolute paths of the image and of volume mounts are rewritten,
at path boundaries and longest first, to where they really are: in command, args, environment, working directory and
step scripts. No IO beyond what it is asked to write.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcs.api.meta import Object

from ..images import BASE_LABEL, Form
from .runtime import CannotRun, Launch, shim_message
from .volumes import host_path

_SYSTEM = frozenset({
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
})  # fmt: skip
_SHARED = ("home", "opt", "srv")  # directories of the machine whose children may be the image's
_INTERPRETER = re.compile(r"(?<![\w./-])/usr/local/bin/python(3(\.\d+)?)?(?![\w.-])")
_PLACES = "places.json"  # in the container's directory: a node that comes back relocates alike
_FIRST_UID = 1 << 30
_UIDS = 1 << 28


@dataclass(frozen=True, slots=True)
class Relocation:
    """Where absolute paths of the container really are."""

    places: Mapping[str, str]
    interpreter: str

    def text(self, value: str) -> str:
        """`value` with every such path rewritten."""
        value = _INTERPRETER.sub(lambda _: self.interpreter, value)
        if not self.places:
            return value
        known = "|".join(re.escape(path) for path in sorted(self.places, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])(?:{known})(?![\w.-])", lambda found: self.places[found[0]], value)


class ProcessRuntime:
    """`interpreter` is the Python that stands in for the image's; `switch_user` gives each pod a uid of its own."""

    name = "process"
    form: Form = "tree"
    isolated = False

    def __init__(self, interpreter: str, path: str, *, switch_user: bool = False) -> None:
        self._interpreter = interpreter
        self._path = path
        self._switch_user = switch_user

    def container(self, launch: Launch) -> dict[str, Any]:
        self._refuse(launch)
        relocation = self.relocation(launch)
        home, scratch, programs = _home(launch), launch.directory / "tmp", launch.directory / "bin"
        message = shim_message(launch) | {
            "argv": [relocation.text(part) for part in launch.argv],
            "env": {"HOME": str(home), "TMPDIR": str(scratch)} | self._environment(launch, relocation, programs),
            "cwd": relocation.text(launch.cwd) if launch.cwd not in ("", "/") else str(home),
            "no_new_privileges": True,
        }
        (launch.directory / _PLACES).write_text(json.dumps(dict(relocation.places)))
        self._place_interpreter(programs)
        identity = self._identity(launch)
        for directory in (home, scratch):
            directory.mkdir(parents=True, exist_ok=True)
            if identity is not None:
                os.chown(directory, identity, identity)
        if identity is not None:
            message |= {"uid": identity, "gid": identity, "groups": []}
        return message

    def relocation(self, launch: Launch) -> Relocation:
        tree = launch.snapshot.directories[0]
        places = {f"/{path}": str(tree / path) for path in _own_directories(tree)}
        home = launch.env.get("HOME", "/").rstrip("/")
        if home.startswith("/") and host_path(home, launch.binds) is None:
            places[home] = str(_home(launch))  # snapshots are shared and never written
        places |= {bind.path.rstrip("/"): str(bind.source) for bind in launch.binds}
        return Relocation(places, self._interpreter)

    def command(self, directory: Path, argv: list[str]) -> list[str]:
        places = json.loads((directory / _PLACES).read_text())
        return [Relocation(places, self._interpreter).text(part) for part in argv]

    def pod_mounts(self, directory: Path, volumes: Mapping[str, Object]) -> list[dict[str, Any]]:
        return []  # `medium: Memory` is a promise about speed here, not about size

    def cgroup(self, pod_uid: str) -> str:
        return ""

    def _environment(self, launch: Launch, relocation: Relocation, programs: Path) -> dict[str, str]:
        env = {name: relocation.text(value) for name, value in launch.env.items()}
        own = _below(env.get("PATH", ""), relocation)
        return env | {"PATH": os.pathsep.join([*own, str(programs), self._path])}

    def _place_interpreter(self, programs: Path) -> None:
        """Under every name that images have it by; not every machine has a `python`."""
        programs.mkdir(exist_ok=True)
        for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
            link = programs / name
            link.unlink(missing_ok=True)
            link.symlink_to(self._interpreter)

    def _identity(self, launch: Launch) -> int | None:
        wanted = launch.security.get("runAsUser")
        if wanted is not None:
            return int(wanted)
        return pod_identity(launch.pod_uid) if self._switch_user else None

    def _refuse(self, launch: Launch) -> None:
        if launch.image.labels.get(BASE_LABEL) != "host":
            raise CannotRun(
                f"image {launch.image.name} is not made for process isolation (label {BASE_LABEL}=host is missing)",
                hint="Install crun, so that any image can be run.",
            )
        security = launch.security
        refused = [
            (bool(security.get("readOnlyRootFilesystem")), "securityContext.readOnlyRootFilesystem"),
            (bool(security.get("privileged")), "securityContext.privileged"),
            (bool((security.get("capabilities") or {}).get("add")), "securityContext.capabilities.add"),
            (security.get("runAsUser") is not None and not self._switch_user
             and int(security["runAsUser"]) != os.geteuid(), "securityContext.runAsUser"),
            (any(bind.kind == "hostPath" for bind in launch.binds), "volumes[].hostPath"),
        ]  # fmt: skip
        names = [name for found, name in refused if found]
        if names:
            raise CannotRun(
                f"process isolation cannot honour {', '.join(names)} of container {launch.name}",
                hint="Remove it, or install crun and run as root.",
            )


def pod_identity(pod_uid: str) -> int:
    """A high uid of the pod's own, the same every time."""
    return _FIRST_UID + zlib.crc32(pod_uid.encode()) % _UIDS


def may_switch_user(paths: Iterable[Path]) -> bool:
    """Whether another uid could still reach these paths: we are root, and everybody may pass every directory."""
    if os.geteuid() != 0:
        return False
    return all(parent.stat().st_mode & 0o001 for path in paths for parent in path.resolve().parents)


def _home(launch: Launch) -> Path:
    return launch.directory / "home"


def _own_directories(tree: Path) -> list[str]:
    """What the image has and the machine has not, as paths below the root."""
    own = [entry.name for entry in os.scandir(tree) if entry.name not in _SYSTEM]
    shared = [f"{top}/{entry.name}" for top in _SHARED if (tree / top).is_dir() for entry in os.scandir(tree / top)]
    return sorted([*own, *shared])


def _below(path: str, relocation: Relocation) -> list[str]:
    """Of a PATH, the directories that belong to the image or to a volume."""
    places = tuple(relocation.places.values())
    return [part for part in path.split(os.pathsep) if part.startswith(places)] if places else []
