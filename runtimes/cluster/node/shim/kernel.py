"""The system calls that Python's `os` lacks: namespaces, mounts, process control.

Law: every failure is an OSError that names the call. On systems other than Linux only `available` is usable.
"""

from __future__ import annotations

import ctypes
import os
import sys

available = sys.platform.startswith("linux")

NEWNS = 0x00020000
NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 16384
MS_PRIVATE = 1 << 18
_DETACH = 2

_PDEATHSIG = 1
_CHILD_SUBREAPER = 36
_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, type: str = "", flags: int = 0, data: str = "") -> None:
    done = _libc.mount(_text(source), _text(target), _text(type), ctypes.c_ulong(flags), _text(data))
    _check(done, f"mount {type} on {target}")


def unmount(target: str) -> None:
    """Detach now, free when the last user is gone."""
    _check(_libc.umount2(_text(target), _DETACH), f"umount {target}")


def die_with_parent(signal: int) -> None:
    _check(_libc.prctl(_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl PDEATHSIG")


def adopt_orphans() -> None:
    _check(_libc.prctl(_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl CHILD_SUBREAPER")


def forbid_new_privileges() -> None:
    _check(_libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl NO_NEW_PRIVS")


def _text(value: str) -> bytes | None:
    return os.fsencode(value) if value else None


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
