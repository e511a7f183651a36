"""Processes by pid and start time: a pid alone may long be somebody else's.

Law: nothing is signalled whose start time is not the recorded one. IO: /proc (Linux) or `ps` (elsewhere), signals.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import msgspec


class Pid(msgspec.Struct, frozen=True):
    """A process for good: the start mark tells it from a later one with the same number."""

    number: int
    started: str

    @property
    def alive(self) -> bool:
        return started(self.number) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal if it is still the same process. False if it is gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.number, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for its end, without polling where the kernel can tell. True if it has ended."""
        if hasattr(os, "pidfd_open"):
            try:
                handle = os.pidfd_open(self.number)
            except OSError:
                return not self.alive
            try:
                if self.alive:
                    select.select([handle], [], [], seconds)
            finally:
                os.close(handle)
        return not self.alive


def of(number: int) -> Pid | None:
    """The process that has this number now; None if there is none."""
    mark = started(number)
    return Pid(number, mark) if mark is not None else None


def started(number: int) -> str | None:
    """A mark of when a process started; None if it does not exist or is a zombie."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _started_by_ps(number)
    # proc(5): field 2 is "(comm)", which may hold spaces and parentheses; state is field 3, starttime field 22.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _started_by_ps(number: int) -> str | None:
    found = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    text = found.stdout.strip()
    return None if not text or text.startswith("Z") else text.split(None, 1)[1]
