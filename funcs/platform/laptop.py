"""The embedded cluster from outside: up, down, status.

Law: `up` returns when every part is ready or says which is not and why; `down` returns when nothing of the cluster
runs. IO: starts and signals the supervisor; the rest it finds in the state directory.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from funcs.errors import AlreadyExists, Conflict, FuncsError, Invalid, Terminal, Timeout, Unavailable
from runtimes.cluster.node.cleanup import stop_all

from . import supervisor
from .places import Isolation, Places, Ports, Record
from .prepare import prepare

_UP_DEADLINE = 60.0
_DOWN_DEADLINE = 60.0
_POD_GRACE = 5.0
_BY_CODE: dict[int, type[FuncsError]] = {kind.code: kind for kind in (Conflict, Invalid, Unavailable, Timeout)}


@dataclass(frozen=True, slots=True)
class Status:
    """What runs now: part → process id, and which parts are ready."""

    record: Record
    supervisor: int | None
    parts: dict[str, int]
    ready: tuple[str, ...]

    @property
    def up(self) -> bool:
        return self.supervisor is not None and set(self.ready) == set(supervisor.PARTS)


def up(
    places: Places, ports: Ports, cache: Path, *, isolation: Isolation = "auto", deadline: float = _UP_DEADLINE
) -> Record:
    """Start the cluster and wait until it is ready. Raises AlreadyExists, Unavailable, Timeout, Invalid."""
    places.create()
    found = status(places) if places.record.exists() else None
    if found is not None and found.supervisor is not None:
        raise AlreadyExists(
            f'the cluster "{found.record.name}" is already up (supervisor {found.supervisor})',
            reason="AlreadyRunning",
            hint="`funcs status` shows it, `funcs down` stops it.",
        )
    record = found.record if found else _first_record(places, ports, cache)
    if (record.isolation, record.cache) != (isolation, cache):
        record = msgspec.structs.replace(record, isolation=isolation, cache=cache)
        places.write_record(record)
    prepare(places, record)
    launch(places, deadline)
    return record


def launch(places: Places, deadline: float) -> None:
    """Start a supervisor of its own session and read its announcement."""
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "funcs.platform.supervisor", "--state", str(places.root), f"--announce={writing}"]
    with (places.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writing,), start_new_session=True
        )
    os.close(writing)
    try:
        _heed(places, process, reading, deadline)
    except FuncsError:
        process.send_signal(signal.SIGTERM)
        process.wait(_DOWN_DEADLINE)
        raise
    finally:
        os.close(reading)


def down(places: Places, *, purge: bool = False) -> bool:
    """Stop everything; with `purge` remove the state too. False if nothing ran."""
    if not places.run.exists():
        return False
    ran, held = _stop_supervisors(places)
    try:
        ran = _stop_parts(places) or ran
        stop_all(places.root, _POD_GRACE)
    finally:
        os.close(held)
    if purge:
        shutil.rmtree(places.root, ignore_errors=False)
    if places.run.exists() and places.run.parent != places.root:
        shutil.rmtree(places.run)
    return ran


def _stop_supervisors(places: Places) -> tuple[bool, int]:
    """Whether one ran, and the lock, so that the control part cannot have another started meanwhile."""
    ran = False
    deadline = time.monotonic() + _DOWN_DEADLINE
    while True:
        state = supervisor.read_state(places)
        if state is not None and state.supervisor.signal(signal.SIGTERM):
            ran = True
            if not state.supervisor.wait(_DOWN_DEADLINE):
                raise Timeout(f"the supervisor, process {state.supervisor.number}, did not end", hint="See its log.")
        try:
            return ran, supervisor.lock(places)
        except Unavailable:  # one that has just been started, and has not yet said so
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _stop_parts(places: Places) -> bool:
    """The parts of a supervisor that had died. Whether there were any."""
    state = supervisor.read_state(places)
    ran = False
    for pid in state.parts.values() if state is not None else ():
        if pid.signal(signal.SIGTERM):
            ran = True
            if not pid.wait(_DOWN_DEADLINE):
                pid.signal(signal.SIGKILL)
    (places.run / "supervisor.json").unlink(missing_ok=True)
    return ran


def status(places: Places) -> Status:
    """Raises NotFound before the first `up`."""
    record = places.read_record()
    state = supervisor.read_state(places)
    if state is None:
        return Status(record, None, {}, ())
    parts = {name: pid.number for name, pid in state.parts.items() if pid.alive}
    running = state.supervisor.number if state.supervisor.alive else None
    return Status(record, running, parts, tuple(name for name in state.ready if name in parts))


def runtime(places: Places) -> str:
    """What runs pods here, as the node found it out; "unknown" before it has."""
    try:
        return (places.run / "runtime").read_text().strip()
    except FileNotFoundError:
        return "unknown"


def _first_record(places: Places, ports: Ports, cache: Path) -> Record:
    node = socket.gethostname().split(".")[0].lower() or "laptop"
    record = Record(name=places.root.name, node=node, ports=supervisor.choose(ports), cache=cache)
    places.write_record(record)
    return record


def _heed(places: Places, process: subprocess.Popen[bytes], reading: int, deadline: float) -> None:
    if not select.select([reading], [], [], deadline)[0]:
        found = supervisor.read_state(places)
        missing = sorted(set(supervisor.PARTS) - set(found.ready if found else ()))
        raise Timeout(f"not ready within {deadline:.0f} s: {', '.join(missing)}", hint=f"See {places.logs}.")
    line = os.read(reading, 65536).decode().strip()
    if line == "ready":
        return
    if line.startswith("failed "):
        raise _part_failed(places, *line.split(" ", 2)[1:])
    if line:
        raise _told(line)
    raise Unavailable(f"the supervisor ended at once (code {process.wait()}):\n{_tail(places.logs / 'supervisor.log')}")


def _part_failed(places: Places, name: str, trouble: str = "") -> FuncsError:
    if trouble:
        return _told(trouble, f"{name} does not start: ")
    log = places.logs / f"{name}.log"
    return Unavailable(f"{name} does not start:\n{_tail(log)}", reason="PartFailed", hint=f"The whole log is in {log}.")


def _told(trouble: str, before: str = "") -> FuncsError:
    """The error that another process has told of."""
    told = msgspec.json.decode(trouble)
    kind = _BY_CODE.get(told["code"], Terminal)
    return kind(before + told["error"], reason=told["reason"], hint=told["hint"])


def _tail(path: Path, lines: int = 12) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
