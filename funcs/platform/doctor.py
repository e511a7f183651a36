"""What this machine can do for the platform: found out by trying, each finding with its remedy.

Law: nothing is changed, and nothing that runs is disturbed; PROBLEM is only what makes the platform unusable here. IO:
looks at programs, ports, disk, control groups and the state directory; one trial container in a scratch directory.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from funcs.errors import FuncsError
from runtimes.cluster.node.detect import detect
from runtimes.cluster.node.shim import cgroups

from . import credentials, supervisor
from .places import Isolation, Places, Ports, check_format

_PYTHON = (3, 11)
_GIT = (2, 28)  # the first with `git init --initial-branch`
_LEAST_DISK, _GOOD_DISK = 1 << 30, 5 << 30
_CLOCK_SLACK = 60.0
_EARLIEST = 1_735_689_600.0  # 2025-01-01: no clock that works is behind this program's own making


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is one imperative sentence, "" when there is nothing to do."""

    what: str
    level: Level
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What to examine. `path` is where programs are looked for, `now` is Unix time."""

    places: Places
    ports: Ports
    path: str
    now: float
    isolation: Isolation = "auto"


def examine(machine: Machine) -> Iterator[Finding]:
    """Every finding, in the order in which they are best put right."""
    yield python()
    yield installer(machine.path)
    yield git(machine.path)
    yield isolation(machine)
    yield control_groups(cgroups.ROOT)
    yield state(machine.places)
    yield disk(machine.places.root)
    yield clock(machine.places, machine.now)
    yield from ports(machine)


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    text = ".".join(map(str, version))
    if version < _PYTHON:
        return Finding("python", Level.PROBLEM, f"Python {text}", "Use Python 3.11 or newer.")
    return Finding("python", Level.OK, f"Python {text} at {sys.executable}")


def installer(path: str, pip: bool | None = None) -> Finding:
    """What installs functions' dependencies: uv, or pip of this environment."""
    uv = shutil.which("uv", path=path)
    if uv is not None:
        return Finding("installer", Level.OK, f"uv at {uv}")
    if importlib.util.find_spec("pip") is not None if pip is None else pip:
        return Finding("installer", Level.OK, "pip")
    return Finding(
        "installer",
        Level.WARNING,
        "neither uv nor pip: functions with dependencies cannot be built",
        "Install one of them (python -m ensurepip, or apt install python3-venv).",
    )


def git(path: str) -> Finding:
    found = shutil.which("git", path=path)
    if found is None:
        remedy = "Install git, or deploy with --no-git."
        return Finding("git", Level.WARNING, "not installed: no deploys by `git push`", remedy)
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    number = re.search(r"(\d+)\.(\d+)", said)
    if number is None or (int(number[1]), int(number[2])) < _GIT:
        return Finding("git", Level.WARNING, f"{said or found}: too old", "Install git 2.28 or newer.")
    return Finding("git", Level.OK, said)


def isolation(machine: Machine) -> Finding:
    """What will run pods, found out by the same trial as the node's own."""
    interpreter = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    try:
        with tempfile.TemporaryDirectory(prefix="funcs-doctor-") as scratch:
            found = detect(machine.isolation, interpreter, machine.path, Path(scratch))
    except FuncsError as error:
        return Finding("isolation", Level.PROBLEM, error.message, error.hint or "")
    if found.runtime.isolated:
        return Finding("isolation", Level.OK, found.text)
    return Finding("isolation", Level.WARNING, found.text, "As root on Debian or Ubuntu: apt-get install crun.")


def control_groups(root: str) -> Finding:
    """Limits of memory and processors need a writable hierarchy."""
    found = cgroups.hierarchies(root)
    if not found:
        return Finding("cgroups", Level.WARNING, f"none at {root}: pods have no limits", "Mount /sys/fs/cgroup.")
    kind = "v2" if found == [root] else "v1"
    if not all(os.access(place, os.W_OK) for place in found):
        return Finding("cgroups", Level.WARNING, f"{kind}, not writable: pods have no limits", "Run as root.")
    return Finding("cgroups", Level.OK, f"{kind} at {root}")


def state(places: Places) -> Finding:
    """Can the state directory be used, and is what it holds whole?"""
    root = places.root
    if not root.exists():
        nearest = _nearest(root)
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            remedy = "Make it writable, or set XDG_STATE_HOME to another place."
            return Finding("state", Level.PROBLEM, f"{nearest} is not a directory that can be written", remedy)
        return Finding("state", Level.OK, f"{root}, made by the first `funcs up`")
    if not os.access(root, os.W_OK):
        return Finding("state", Level.PROBLEM, f"{root} cannot be written", "Make it writable, or `chown` it.")
    try:
        if (root / "format").exists():
            check_format(root)
        if places.record.exists():
            places.read_record()
        if places.tokens.exists():
            credentials.ensure(places)
    except FuncsError as error:
        return Finding("state", Level.PROBLEM, error.message, error.hint or "")
    return Finding("state", Level.OK, str(root))


def disk(root: Path, free: int | None = None) -> Finding:
    place = _nearest(root)
    left = shutil.disk_usage(place).free if free is None else free
    text = f"{left / (1 << 30):.1f} GiB free at {place}"
    if left < _LEAST_DISK:
        return Finding("disk", Level.PROBLEM, text, "Free at least 1 GiB, or set XDG_STATE_HOME to another disk.")
    if left < _GOOD_DISK:
        return Finding("disk", Level.WARNING, text, "Free some space: images and their layers are kept there.")
    return Finding("disk", Level.OK, text)


def clock(places: Places, now: float) -> Finding:
    """A clock behind what was already written makes certificates invalid and events out of order."""
    remedy = "Set the clock, for example with `timedatectl set-ntp true`."
    if now < _EARLIEST:
        return Finding("clock", Level.PROBLEM, "it is set to a time before 2025", remedy)
    written = [path.stat().st_mtime for path in (places.record, *places.store.glob("*.db")) if path.exists()]
    ahead = max(written, default=now) - now
    if ahead > _CLOCK_SLACK:
        return Finding("clock", Level.WARNING, f"the state was written {ahead:.0f} s in the future", remedy)
    return Finding("clock", Level.OK, "not behind the state")


def ports(machine: Machine) -> Iterator[Finding]:
    """The recorded ports of a cluster, else the ones it would take; those that it holds itself are fine."""
    places = machine.places
    wanted = machine.ports
    if places.record.exists():
        try:
            wanted = places.read_record().ports
        except FuncsError:
            pass  # said by `state`
    running = supervisor.read_state(places)
    held = running is not None and any(pid.alive for pid in (running.supervisor, *running.parts.values()))
    for listener, port in msgspec.structs.asdict(wanted).items():
        yield _port(listener, port, held)


def _port(listener: str, port: int, held: bool) -> Finding:
    what = f"port {listener}"
    if held:
        return Finding(what, Level.OK, f"{port}, held by the cluster")
    try:
        supervisor.listen(listener, port).close()
    except FuncsError as error:
        return Finding(what, Level.PROBLEM, error.message, error.hint or "")
    return Finding(what, Level.OK, f"{port} is free")


def _nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
