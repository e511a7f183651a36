"""One container of the pod: how it is started, what it says, how it ended.

Law: `state` is all that anybody outside learns, and it is on disk (`status.json`) before anybody is told.
"""

from __future__ import annotations

import _signal
import os
import time

from . import cgroups
from .crilog import LogFile
from .spawn import StartFailed, spawn
from .wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Message

_CHUNK = 65536
_ASK_AGAIN = 0.05
_CRUN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Container:
    """Started once per attempt; `spec` is what the node sent (see `runtimes.cluster.node.runtime`)."""

    def __init__(self, directory: str, spec: Message, previous: Message | None) -> None:
        self.name: str = spec["name"]
        self.spec = spec
        self.directory = f"{directory}/{self.name}"
        self.pid = 0
        self.launcher = 0
        self.kill_at: float | None = None
        self.ask_at: float | None = None
        self.pipes: dict[int, str] = {}
        self._join: list[str] = []
        self.state: Message = {"name": self.name, "attempt": spec["attempt"], "state": "starting"}
        if previous is not None:
            self.state["previous"] = {key: value for key, value in previous.items() if key != "previous"}
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        _rotate(self.directory)
        self._log = LogFile(f"{self.directory}/log", spec.get("log_limit") or 10 << 20)

    def start(self) -> None:
        """Begin. A plain process runs at once; a crun container once its launcher has ended (`launched`)."""
        outer, inner = [], []
        for stream in ("stdout", "stderr"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reader, False)
            self.pipes[reader] = stream
            outer.append(reader)
            inner.append(writer)
        try:
            self._join = cgroups.make(self.spec.get("cgroup") or "", self.spec.get("limits") or {})
            if "crun" in self.spec:
                self.launcher = spawn(self._crun_run(), self._crun_spec(), inner[0], inner[1])
            else:
                self.pid = spawn(self.spec["argv"], self.spec, inner[0], inner[1])
                self._running()
        except (StartFailed, OSError) as error:
            self.failed_to_start(str(error))
        finally:
            for writer in inner:
                os.close(writer)

    def launched(self, code: int) -> None:
        """The launcher has ended: the container runs, or never will."""
        self.launcher = 0
        if code:
            self.failed_to_start(self._crun_problem())
            return
        with open(f"{self.directory}/pid") as file:
            self.pid = int(file.read())
        self._running()

    def read(self, descriptor: int, now: int) -> bool:
        """Take what the container has said. False when that stream has ended."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        if data:
            self._log.feed(self.pipes[descriptor], data, now)
        return bool(data)

    def signal(self, number: int) -> None:
        """To the main process; to everything it has started when it is killed."""
        pid = self.pid or self.launcher
        if not pid:
            return
        try:
            if number == _signal.SIGKILL and "crun" not in self.spec:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            pass

    def ask(self, number: int, grace: float, now: float) -> None:
        """End it by a signal, and after `grace` seconds by force.

        The kernel drops SIGTERM for the first process of a pid namespace while that has no handler, so one that is
        still starting is asked again once it can hear.
        """
        self.kill_at = now + grace
        self.signal(number)
        self.ask_at = now + _ASK_AGAIN if number == _signal.SIGTERM and not self._hears_term() else None

    def ask_again(self, now: float) -> None:
        """When `ask_at` has come."""
        self.ask_at = None if self._hears_term() else now + _ASK_AGAIN
        if self.ask_at is None:
            self.signal(_signal.SIGTERM)

    def _hears_term(self) -> bool:
        try:
            with open(f"/proc/{self.pid}/status") as file:
                caught = next(line for line in file if line.startswith("SigCgt:"))
        except (OSError, StopIteration):
            return True  # it is gone, or this is not Linux, where nothing is dropped
        return bool(int(caught.split()[1], 16) >> (_signal.SIGTERM - 1) & 1)

    def ended(self, status: int) -> None:
        """The main process has ended with this wait status: record it, and leave nothing of it running."""
        self.signal(_signal.SIGKILL)
        killed = os.WIFSIGNALED(status)
        code = 128 + os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)
        group = self.spec.get("cgroup")
        out_of_memory = bool(killed and group and cgroups.oom_killed(group))
        reason = "OOMKilled" if out_of_memory else "Completed" if code == 0 else "Error"
        self._exited(code, reason, os.WTERMSIG(status) if killed else 0)

    def failed_to_start(self, message: str) -> None:
        self.state.setdefault("startedAt", time.time())
        self.state["message"] = message
        self._exited(128, "StartError", 0)

    def exec_argv(self, argv: list[str]) -> tuple[list[str], Message]:
        """How to run another command in this container: (argv, spec) for `spawn`."""
        crun = self.spec.get("crun")
        if not crun:
            return argv, self.spec
        head = [crun["binary"], "--root", crun["root"], self._cgroup_manager()]
        return [*head, "exec", crun["id"], *argv], self._crun_spec()

    def _running(self) -> None:
        self.state |= {"state": "running", "pid": self.pid, "startedAt": time.time()}
        self._save()

    def _exited(self, code: int, reason: str, signal: int) -> None:
        for descriptor, stream in self.pipes.items():
            now = time.time_ns()
            while self._drain(descriptor, now):
                pass
            self._log.finish(stream, now)
            os.close(descriptor)
        self.pipes.clear()
        self._log.close()
        self.kill_at = self.ask_at = None
        self.pid = self.launcher = 0
        self.state |= {
            "state": "exited",
            "exitCode": code,
            "signal": signal,
            "reason": reason,
            "finishedAt": time.time(),
        }
        self._save()
        if group := self.spec.get("cgroup"):
            cgroups.remove(group)
        if crun := self.spec.get("crun"):
            _forget(f"{crun['root']}/{crun['id']}")

    def _drain(self, descriptor: int, now: int) -> bool:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        self._log.feed(self.pipes[descriptor], data, now) if data else None
        return bool(data)

    def _save(self) -> None:
        path = f"{self.directory}/status.json"
        with open(path + ".new", "w") as file:
            file.write(encode(self.state))
        os.replace(path + ".new", path)

    def _crun_run(self) -> list[str]:
        crun = self.spec["crun"]
        head = [crun["binary"], "--root", crun["root"], self._cgroup_manager()]
        options = ["--detach", "--bundle", crun["bundle"], "--pid-file", f"{self.directory}/pid"]
        return [*head, f"--log=file:{self.directory}/crun.log", "run", *options, crun["id"]]

    def _crun_spec(self) -> Message:
        """crun itself is put into the container's groups, and what it starts is there from its beginning."""
        return {"env": _CRUN_ENVIRONMENT, "cwd": "/", "join": self._join}

    def _cgroup_manager(self) -> str:
        theirs = self.spec.get("cgroup") and not self._join
        return "--cgroup-manager=cgroupfs" if theirs else "--cgroup-manager=disabled"

    def _crun_problem(self) -> str:
        try:
            with open(f"{self.directory}/crun.log", errors="replace") as file:
                lines = file.read().strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "crun failed and did not say why"


def _forget(path: str) -> None:
    """Remove what crun keeps of a container that has ended: a flat directory."""
    try:
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except OSError:
        pass  # never made, or already gone


def _rotate(directory: str) -> None:
    """What the last attempt said becomes `previous`; the one before it is forgotten."""
    for old, new in (("log", "previous"), ("log.1", "previous.1")):
        if os.path.exists(f"{directory}/{old}"):
            os.replace(f"{directory}/{old}", f"{directory}/{new}")
        elif os.path.exists(f"{directory}/{new}"):
            os.unlink(f"{directory}/{new}")
