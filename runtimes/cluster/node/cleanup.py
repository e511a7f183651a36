"""The end of a cluster's pods, from outside the node: `funcs down`, and pods that nobody knows any more.

Law: only processes are signalled whose pid and start time are those recorded. When a shim is gone the kernel has taken
its mounts and its pid namespace with it, so there is nothing to unmount. IO: processes, `pods/`, control groups.
"""

from __future__ import annotations

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


def stop_all(state: Path, grace: float) -> int:
    """Stop every pod below `state` and remove what it left; how many there were. Containers get `grace` seconds."""
    pods = state / "pods"
    directories = [each for each in pods.iterdir() if each.is_dir()] if pods.is_dir() else []
    records = [record for each in directories if (record := read_record(each)) is not None]
    for record in records:
        _ask_to_quit(record, grace)
    _wait(records, grace + _MARGIN)
    for directory in directories:
        remove_pod(directory, 0.0)
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
        Path(record.socket).unlink(missing_ok=True)
    for state in directory.glob("*/status.json"):
        _end_orphan(state)
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


def _end_orphan(path: Path) -> None:
    """Without pid namespaces a killed shim may leave grandchildren; they are in the session of the container's pid."""
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    session = state.get("session")
    if not session or os.getsid(0) == session:
        return
    for process in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and int(fields[19]) >= int(state["sessionStarted"]):
                os.kill(int(process.parent.name), signal.SIGKILL)
        except (OSError, ValueError, KeyError):
            continue
