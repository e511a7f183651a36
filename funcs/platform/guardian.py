"""The other half of supervision: the control part starts a supervisor again when the one it has dies.

Law: only one supervisor holds a cluster's lock, so starting one too many is harmless; it adopts what runs. Nothing is
started once the control part was told to stop. IO: a pidfd, one process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys

from funcs.control.clock import Clock

from . import supervisor
from .duty import Duty
from .pids import Pid

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.5


async def guard(duty: Duty, clock: Clock) -> None:
    """Until cancelled."""
    while True:
        state = supervisor.read_state(duty.places)
        if state is not None and state.supervisor.alive:
            await _end_of(state.supervisor, clock)
        elif not duty.stop.is_set():
            log.warning("the supervisor died; starting another")
            await asyncio.to_thread(_start, duty)
            await clock.sleep(_LOOK_AGAIN)


async def _end_of(pid: Pid, clock: Clock) -> None:
    if not hasattr(os, "pidfd_open"):  # macOS: nothing tells us, so look
        while pid.alive:
            await clock.sleep(_LOOK_AGAIN)
        return
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(pid.number)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        if pid.alive:
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _start(duty: Duty) -> None:
    """In a session of its own, with our log."""
    argv = [sys.executable, "-m", "funcs.platform.supervisor", "--state", str(duty.places.root)]
    with (duty.places.logs / "supervisor.log").open("ab") as file:
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
