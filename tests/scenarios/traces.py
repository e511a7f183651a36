"""What a cluster may leave on a machine: processes, mounts, control groups, network namespaces.

Law: looks at every process and every mount table, from outside; a trace is one that names the cluster's state
directory or one of its pods, or a network namespace that was not there before. IO: /proc, /sys/fs/cgroup, /run/netns.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from funcs.platform import pids
from funcs.platform.pids import Pid


@dataclass(frozen=True, slots=True)
class Traces:
    """Taken while the cluster runs; `left()` afterwards."""

    state: str
    uids: tuple[str, ...]
    processes: tuple[Pid, ...]
    namespaces: frozenset[str]

    @classmethod
    def take(cls, state: Path, before: frozenset[str]) -> Traces:
        """`before`: the network namespaces that `network_namespaces()` found before the cluster was started."""
        uids = tuple(path.name for path in (state / "pods").iterdir())
        words = (str(state), *uids)
        numbers = [number for number in _processes() if any(word in _described(number) for word in words)]
        found = (pids.of(number) for number in with_descendants(numbers))
        return cls(str(state), uids, tuple(pid for pid in found if pid is not None), before)

    def left(self) -> list[str]:
        """What is still there, in words; empty when nothing is."""
        words = (self.state, *self.uids)
        found = [f"process {pid.number}: {_described(pid.number)}" for pid in self.processes if pid.alive]
        for number in _processes():
            if any(word in _described(number) for word in words):
                found.append(f"process {number}: {_described(number)}")
            found += [f"mount in {number}: {line}" for line in _mounts(number) if any(word in line for word in words)]
        groups = (path for path in Path("/sys/fs/cgroup").glob("**/funcs/*") if path.is_dir())
        found += [f"control group {path}" for path in groups if any(uid in path.name for uid in self.uids)]
        found += [f"network namespace {name}" for name in network_namespaces() - self.namespaces]
        return sorted(set(found))


def network_namespaces() -> frozenset[str]:
    """Named ones, and those that a process is in."""
    found = {str(path) for path in Path("/run/netns").glob("*")}
    for number in _processes():
        try:
            found.add(str(Path(f"/proc/{number}/ns/net").readlink()))
        except OSError:
            continue
    return frozenset(found)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]


def _described(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _mounts(number: int) -> list[str]:
    try:
        return Path(f"/proc/{number}/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return []


def with_descendants(numbers: list[int]) -> set[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for number in _processes():
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(number)
    found: set[int] = set()
    waiting = list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += children.get(number, ())
    return found
