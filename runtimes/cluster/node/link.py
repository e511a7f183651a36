"""The node's end of a shim: starting one, finding one again, asking it, hearing from it.

Law: a shim is who it says only if its pid and start time are those recorded; every request has a deadline; what a shim
announces arrives at `heard` in order. IO: the unix socket, one process start, `/proc`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcs.errors import Timeout, Unavailable

_HERE = str(Path(__file__).parent)
_CODE = f"import sys; sys.path.append({_HERE!r}); from shim.supervise import main; main()"
_START_DEADLINE = 20.0
_ANSWER_DEADLINE = 10.0
_LONGEST_LINE = 16 << 20

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShimRecord:
    """What `shim.json` holds. `started` is the kernel's start time of the pid, so that pids cannot lie."""

    pid: int
    started: str
    socket: str

    def is_alive(self) -> bool:
        return self.started != "" and start_time(self.pid) == self.started


def start_time(pid: int) -> str:
    """The kernel's start time of a process, "" if there is none (or it is a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "" if Path("/proc/self").exists() else _portable_start_time(pid)
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _portable_start_time(pid: int) -> str:
    """Where there is no /proc: whether the pid is there is all that can be known cheaply."""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "unknown"


def read_record(directory: Path) -> ShimRecord | None:
    try:
        found = json.loads((directory / "shim.json").read_text())
        return ShimRecord(int(found["pid"]), str(found["started"]), str(found["socket"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def start_shim(directory: Path, address: Path, cgroup: str) -> ShimRecord:
    """A new shim for the pod at `directory`, listening at `address`. Raises Unavailable."""
    with _listener(address) as listener:
        config: dict[str, str | int] = {"directory": str(directory), "listener": listener.fileno(), "cgroup": cgroup}
        launched = await asyncio.to_thread(_launch, config)
    out = launched.stdout.strip()
    if launched.returncode != 0 or not out.isdigit():
        text = launched.stderr.decode(errors="replace").strip()[-500:]
        raise Unavailable(f"the pod's shim did not start: {text}", reason="FailedCreatePodSandBox")
    record = ShimRecord(int(out), start_time(int(out)), str(address))
    path = directory / "shim.json"
    path.with_suffix(".new").write_text(
        json.dumps({"pid": record.pid, "started": record.started, "socket": str(address)})
    )
    path.with_suffix(".new").replace(path)
    return record


def _launch(config: dict[str, str | int]) -> subprocess.CompletedProcess[bytes]:
    """Run in a thread: the shim detaches itself from its launcher, which uvloop's own subprocesses never notice."""
    argv = [sys.executable, "-I", "-S", "-E", "-c", _CODE, json.dumps(config)]
    try:
        return subprocess.run(
            argv, pass_fds=[int(config["listener"])], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_START_DEADLINE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable("the pod's shim did not start in time", reason="FailedCreatePodSandBox") from None


def _listener(address: Path) -> socket.socket:
    """Bound here and inherited by the shim, so that connecting to it can begin before it has."""
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    address.chmod(0o600)
    listener.listen(64)
    return listener


def kill_shim(record: ShimRecord) -> None:
    """At once, and with it everything in its namespaces."""
    if record.is_alive():
        try:
            os.kill(record.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Link:
    """An open connection to a shim. `heard(state)` is called for each container state; `closed()` when it is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._gone = False

    @classmethod
    async def open(cls, address: str) -> tuple[Link, list[Message]]:
        """The connection and the states of all containers. Raises Unavailable."""
        try:
            async with asyncio.timeout(_ANSWER_DEADLINE):
                reader, writer = await asyncio.open_unix_connection(address, limit=_LONGEST_LINE)
                hello = json.loads(await reader.readline())
        except (OSError, ValueError, TimeoutError) as error:
            raise Unavailable(f"no shim at {address}: {error}") from error
        return cls(reader, writer), hello["hello"]["containers"]

    async def listen(self, heard: Callable[[Message], None]) -> None:
        """Until the shim is gone."""
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "state" in message:
                    heard(message["state"])
                elif (asked := self._asked.pop(message.get("id"), None)) is not None and not asked.done():
                    asked.set_result(message)
        except (OSError, ValueError):
            pass  # a connection that breaks has ended, however it did
        finally:
            self._gone = True
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(Unavailable("the pod's shim is gone"))
            self._writer.close()

    async def ask(self, operation: str, deadline: float = _ANSWER_DEADLINE, **fields: Any) -> Message:
        """The shim's answer. Raises Unavailable with its message if it could not, Timeout."""
        if self._gone:
            raise Unavailable("the pod's shim is gone")
        number = next(self._ids)
        asked: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._writer.write(json.dumps({"id": number, "op": operation, **fields}).encode() + b"\n")
            # Not wait_for: Python 3.11's forgets a cancellation that comes together with the answer.
            async with asyncio.timeout(deadline):
                answer = await asked
        except TimeoutError:
            raise Timeout(f"the pod's shim did not answer {operation} in {deadline:g} s") from None
        except OSError as error:
            raise Unavailable(f"the pod's shim is gone: {error}") from error
        finally:
            self._asked.pop(number, None)
        if not answer.get("ok"):
            raise Unavailable(str(answer.get("message")))
        return answer

    def close(self) -> None:
        self._writer.close()
