"""The end of a cluster's pods, from outside the node: `funcs down`, and pods that nobody knows any more.

Law: only processes are signalled that are recorded by pid and start time, or whose environment names the pod's own
directory (its id is in it). When a shim is gone the kernel has taken its mounts and its pid namespace with it, so there
is nothing to unmount; without privileges for a pid namespace a killed shim leaves its containers' children running, and
those are found by their environment. IO: processes, `pods/`, control groups.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from .link import ShimRecord, kill_shim, read_record
from .shim import cgroups

_MARGIN = 2.0
_SWEEPS = 5


def stop_all(state: Path, grace: float) -> int:
    """Stop every pod below `state` and remove what it left; how many there were. Containers get `grace` seconds."""
    pods = state / "pods"
    directories = [each for each in pods.iterdir() if each.is_dir()] if pods.is_dir() else []
    records = [record for each in directories if (record := read_record(each)) is not None]
    for record in records:
        _ask_to_quit(record, grace)
    _wait(records, grace + _MARGIN)
    for record in records:
        kill_shim(record)
    _wait(records, _MARGIN)
    end_strays(pods)
    for directory in directories:
        _forget(directory)
    cgroups.remove_parent()
    return len(directories)


def remove_pod(directory: Path, grace: float) -> None:
    """Stop one pod and remove its directory, its socket and its control groups."""
    record = read_record(directory)
    if record is not None:
        if grace > 0:
            _ask_to_quit(record, grace)
            _wait([record], grace + _MARGIN)
        kill_shim(record)
        _wait([record], _MARGIN)
    end_strays(directory)
    _forget(directory)


def end_strays(directory: Path) -> int:
    """Kill every process that a pod at or below `directory` has left; how many there were."""
    mark = os.fsencode(directory.resolve()) + b"/"
    ended = 0
    for _ in range(_SWEEPS):  # again, as a process may have forked meanwhile
        found = [pid for pid in _processes() if pid != os.getpid() and mark in _environment(pid)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break
        ended += len(found)
    return ended


def _processes() -> list[int]:
    proc = Path("/proc")
    return [int(each.name) for each in proc.iterdir() if each.name.isdecimal()] if proc.is_dir() else []


def _environment(pid: int) -> bytes:
    """What a process was started with; nothing if it is gone, a zombie or another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _forget(directory: Path) -> None:
    """What is left of a pod that runs no more: its socket, its control groups, its directory."""
    record = read_record(directory)
    if record is not None:
        Path(record.socket).unlink(missing_ok=True)
    cgroups.remove_all(f"{cgroups.PARENT}/{directory.name}")
    shutil.rmtree(directory, ignore_errors=True)


def _ask_to_quit(record: ShimRecord, grace: float) -> None:
    if not record.is_alive():
        return
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_MARGIN)
            connection.connect(record.socket)
            connection.sendall(json.dumps({"id": 0, "op": "quit", "grace": grace}).encode() + b"\n")
            connection.recv(1 << 16)
    except OSError:
        kill_shim(record)  # it does not listen any more


def _wait(records: Iterable[ShimRecord], limit: float) -> None:
    deadline = time.monotonic() + limit
    for record in records:
        while record.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
