"""The log of a pod's container, read from the files that its shim writes.

Law: records are in the CRI's format; what is streamed is their text, in order, with nothing lost when the file is
rotated in between. Following waits on the kernel's word that the directory has changed (inotify), not on a clock; where
there is no inotify it looks five times a second. IO: `pods/<uid>/<container>/`, read only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcs.api import meta
from funcs.api.meta import Object
from funcs.control.client import LogOptions
from funcs.errors import BadRequest

_CHUNK = 1 << 16
_PORTABLE_WAIT = 0.2
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_NON_BLOCKING = 0o4000
_DEFAULT = "kubectl.kubernetes.io/default-container"


async def stream_log(pods: Path, pod: Object, options: LogOptions, now: float = 0.0) -> AsyncIterator[bytes]:
    """Chunks of text as they come. `now` is Unix seconds, for `since_seconds`. Raises BadRequest in kubelet's words."""
    name = container_name(pod, options.container)
    directory = pods / meta.uid(pod) / name
    if not (directory / ("previous" if options.previous else "log")).exists():
        raise BadRequest(_why_there_is_none(pod, name, options.previous))
    since = _timestamp(now - options.since_seconds) if options.since_seconds is not None and now else b""
    limit = _Limit(options.limit_bytes)
    with _Changes(directory if options.follow and not options.previous else None) as changes:
        reader = _Reader(directory, "previous" if options.previous else "log")
        block = _text(_tail(reader.read(), options.tail_lines), since, options)
        while True:
            if allowed := limit.take(block):
                yield allowed
            if limit.reached or not changes.active:
                return
            ended = _has_ended(directory)
            block = _text(reader.read(), since, options)
            if not block:
                if ended:
                    return
                await changes.wait()


def container_name(pod: Object, wanted: str) -> str:
    """The container whose log is meant. Raises BadRequest when it must be said, or there is none of that name."""
    spec = meta.spec(pod)
    mains = [each["name"] for each in spec.get("containers") or []]
    inits = [each["name"] for each in spec.get("initContainers") or []]
    name = wanted or meta.annotations(pod).get(_DEFAULT, "")
    if not name and len(mains) == 1:
        return str(mains[0])
    if not name:
        choice = f"choose one of: [{' '.join(mains)}]" + (
            f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
        )
        raise BadRequest(f"a container name must be specified for pod {meta.name(pod)}, {choice}")
    if name not in mains and name not in inits:
        raise BadRequest(f"container {name} is not valid for pod {meta.name(pod)}")
    return name


def _why_there_is_none(pod: Object, name: str, previous: bool) -> str:
    """k8s.io/kubernetes pkg/kubelet/kubelet_pods.go, validateContainerLogStatus."""
    statuses = [
        *(meta.status(pod).get("containerStatuses") or []),
        *(meta.status(pod).get("initContainerStatuses") or []),
    ]
    state = next((each.get("state") or {} for each in statuses if each["name"] == name), {})
    if previous:
        return f'previous terminated container "{name}" in pod "{meta.name(pod)}" not found'
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason") or "ContainerCreating"
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        kind = "image can't be pulled" if reason == "ErrImagePull" else "trying and failing to pull image"
        return f'container "{name}" in pod "{meta.name(pod)}" is waiting to start: {kind}'
    return f'container "{name}" in pod "{meta.name(pod)}" is waiting to start: {reason}'


class _Reader:
    """Whole records of a log, across its rotation."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / name
        self._rest = b""
        older = directory / f"{name}.1"
        self._pending = [older] if older.exists() else []
        self._file = self._path.open("rb")

    def read(self) -> list[bytes]:
        data = b"".join(path.read_bytes() for path in self._pending) + self._rest
        self._pending = []
        data += self._file.read()
        if self._rotated():
            data += self._file.read()
            self._file.close()
            self._file = self._path.open("rb")
            data += self._file.read()
        *lines, self._rest = data.split(b"\n")
        return lines

    def _rotated(self) -> bool:
        try:
            found = self._path.stat()
        except OSError:
            return False
        return found.st_ino != os.fstat(self._file.fileno()).st_ino


@dataclass
class _Limit:
    left: int | None

    @property
    def reached(self) -> bool:
        return self.left is not None and self.left <= 0

    def take(self, block: bytes) -> bytes:
        if self.left is None:
            return block
        block = block[: self.left]
        self.left -= len(block)
        return block


class _Changes:
    """Woken when a directory changes. Inactive without a directory."""

    def __init__(self, directory: Path | None) -> None:
        self.active = directory is not None
        self._directory = directory
        self._descriptor = -1
        self._changed = asyncio.Event()

    def __enter__(self) -> _Changes:
        if self._directory is not None and sys.platform.startswith("linux"):
            libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = libc.inotify_init1(_NON_BLOCKING | os.O_CLOEXEC)
            mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
            if (
                self._descriptor >= 0
                and libc.inotify_add_watch(self._descriptor, os.fsencode(self._directory), mask) >= 0
            ):
                asyncio.get_running_loop().add_reader(self._descriptor, self._drain)
        return self

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, _CHUNK)
        self._changed.set()

    async def wait(self) -> None:
        """Until something has changed since the last wait."""
        patience = _PORTABLE_WAIT if self._descriptor < 0 else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._changed.wait()
        self._changed.clear()

    def __exit__(self, *error: object) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)


def _tail(lines: list[bytes], count: int | None) -> list[bytes]:
    """The last `count` lines; the parts of a long line (P … F) are one."""
    if count is None:
        return lines
    start = len(lines)
    for index in range(len(lines) - 1, -1, -1):
        if _tag(lines[index]) == b"F":
            if count == 0:
                break
            count -= 1
        start = index
    return lines[start:]


def _text(lines: list[bytes], since: bytes, options: LogOptions) -> bytes:
    return b"".join(_rendered(lines, since, options.timestamps))


def _rendered(lines: list[bytes], since: bytes, timestamps: bool) -> Iterator[bytes]:
    whole = True
    for line in lines:
        when, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if when >= since:
            yield (when + b" " if timestamps and whole else b"") + text + (b"\n" if tag == b"F" else b"")
        whole = tag == b"F"


def _tag(line: bytes) -> bytes:
    parts = line.split(b" ", 3)
    return parts[2] if len(parts) > 2 else b"F"


def _has_ended(directory: Path) -> bool:
    try:
        found: Any = json.loads((directory / "status.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("state") == "exited"


def _timestamp(seconds: float) -> bytes:
    return meta.timestamp(max(seconds, 0.0)).rstrip("Z").encode()
