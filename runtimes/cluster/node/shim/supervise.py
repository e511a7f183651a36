"""The shim's loop: reap, log, and do what the node says over a unix socket.

Law: one thread, one `poll`; nothing is awaited but events. Connections carry JSON lines: requests `{"id", "op", …}` are
answered `{"id", "ok", …}`; every connection also gets `{"state": …}` whenever a container's state changes, and a
`{"hello": …}` with all states when it opens. When the shim ends, the kernel ends its pid namespace and with it every
process, and its mount namespace and with it every mount; without the privilege for namespaces, children die with their
parent. Operations: start, stop, exec, quit.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
import sys
import time

from . import cgroups, kernel
from .container import Container
from .spawn import StartFailed, spawn
from .wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

_LONGEST_LINE = 8 << 20
_BACKLOG = 1 << 20
_EXEC_OUTPUT = 64 << 10


class _Connection:
    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.incoming = b""
        self.outgoing = b""


class _Exec:
    def __init__(self, connection: _Connection, id: int, reader: int, deadline: float) -> None:
        self.connection, self.id, self.reader, self.deadline = connection, id, reader, deadline
        self.output = b""
        self.timed_out = False


class Supervisor:
    """The pod's processes, and who is listening."""

    def __init__(self, config: Message, listener: Any) -> None:
        self._config = config
        self._listener = listener
        self._containers: dict[str, Container] = {}
        self._connections: dict[int, _Connection] = {}
        self._execs: dict[int, _Exec] = {}
        self._early: dict[int, int] = {}
        self._poll = select.poll()
        self._quit = False

    def run(self) -> None:
        wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(self._waker)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        _signal.signal(_signal.SIGTERM, self._terminated)
        self._poll.register(wake, select.POLLIN)
        self._poll.register(self._listener.fileno(), select.POLLIN)
        while not (self._quit and not any(each.pid or each.launcher for each in self._containers.values())):
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor == wake:
                    os.read(wake, 4096)
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._connections:
                    self._serve(self._connections[descriptor])
                else:
                    self._read_pipe(descriptor)
            self._reap()
            self._meet_deadlines()
        self._flush_all()

    def _terminated(self, number: int, frame: object) -> None:
        self._quit = True
        for container in self._containers.values():
            container.signal(_signal.SIGKILL)

    # Deadlines

    def _patience(self) -> float | None:
        times = [each.kill_at for each in self._containers.values() if each.kill_at is not None]
        times += [each.ask_at for each in self._containers.values() if each.ask_at is not None]
        times += [each.deadline for each in self._execs.values() if not each.timed_out]
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1 if times else None

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        for container in self._containers.values():
            if container.ask_at is not None and container.ask_at <= now:
                container.ask_again(now)
            if container.kill_at is not None and container.kill_at <= now:
                container.kill_at = None
                container.signal(_signal.SIGKILL)
        for pid, running in self._execs.items():
            if running.deadline <= now and not running.timed_out:
                running.timed_out = True
                os.killpg(pid, _signal.SIGKILL)

    # Processes

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._process_ended(pid, status)

    def _process_ended(self, pid: int, status: int) -> None:
        if pid in self._execs:
            self._exec_ended(self._execs.pop(pid), status)
            return
        for container in self._containers.values():
            if pid == container.launcher:
                self._forget_pipes(container)
                container.launched(os.waitstatus_to_exitcode(status))
                self._watch(container)
                if container.pid in self._early:
                    self._container_ended(container, self._early.pop(container.pid))
                return
            if pid == container.pid:
                self._container_ended(container, status)
                return
        if any(container.launcher for container in self._containers.values()):
            self._early[pid] = status  # a container may end before its launcher has said which process it is

    def _container_ended(self, container: Container, status: int) -> None:
        self._forget_pipes(container)
        container.ended(status)
        self._tell({"state": container.state})

    def _watch(self, container: Container) -> None:
        """Announce the state a start has led to, and read what the container says from now on."""
        if container.state["state"] != "exited":
            for descriptor in container.pipes:
                self._poll.register(descriptor, select.POLLIN)
        if container.state["state"] != "starting":
            self._tell({"state": container.state})

    def _forget_pipes(self, container: Container) -> None:
        for descriptor in container.pipes:
            try:
                self._poll.unregister(descriptor)
            except KeyError:
                pass

    def _read_pipe(self, descriptor: int) -> None:
        for container in self._containers.values():
            if descriptor in container.pipes:
                if not container.read(descriptor, time.time_ns()):
                    self._poll.unregister(descriptor)
                return
        for running in self._execs.values():
            if running.reader == descriptor:
                self._read_exec(running)
                return
        self._poll.unregister(descriptor)

    # Connections

    def _accept(self) -> None:
        descriptor, _ = self._listener._accept()
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        socket.setblocking(False)
        connection = _Connection(socket)
        self._connections[descriptor] = connection
        self._poll.register(descriptor, select.POLLIN)
        states = [container.state for container in self._containers.values()]
        self._send(connection, {"hello": {"containers": states, "isolated": self._config["isolated"]}})

    def _serve(self, connection: _Connection) -> None:
        if connection.outgoing:
            self._flush(connection)
        try:
            data = connection.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.incoming += data
        if not data or len(connection.incoming) > _LONGEST_LINE:
            self._drop(connection)
            return
        *lines, connection.incoming = connection.incoming.split(b"\n")
        for line in lines:
            self._do(connection, decode(line.decode()))

    def _do(self, connection: _Connection, request: Message) -> None:
        operations = {"start": self._start, "stop": self._stop, "exec": self._exec, "quit": self._stop_all}
        try:
            answer = operations[request["op"]](connection, request)
        except (OSError, StartFailed, KeyError, TypeError, ValueError) as error:
            answer = {"ok": False, "message": str(error) or repr(error)}
        if answer is not None:
            self._send(connection, {"id": request.get("id"), **answer})

    def _tell(self, message: Message) -> None:
        for connection in list(self._connections.values()):
            self._send(connection, message)

    def _send(self, connection: _Connection, message: Message) -> None:
        connection.outgoing += encode(message).encode() + b"\n"
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.outgoing = connection.outgoing[sent:]
        if len(connection.outgoing) > _BACKLOG:
            self._drop(connection)  # it does not listen; it learns everything from `hello` when it comes back
            return
        wanted = select.POLLIN | (select.POLLOUT if connection.outgoing else 0)
        self._poll.register(connection.socket.fileno(), wanted)

    def _flush_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.socket.setblocking(True)
            self._flush(connection)

    def _drop(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        if self._connections.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
            connection.socket.close()

    # Operations

    def _start(self, connection: _Connection, request: Message) -> Message:
        spec = request["container"]
        old = self._containers.get(spec["name"])
        if old is not None and old.state["state"] != "exited":
            raise ValueError(f"container {spec['name']} is {old.state['state']}")
        for each in spec.get("mounts") or []:
            _mount(each)
        container = Container(self._config["directory"], spec, old.state if old else spec.get("previous"))
        self._containers[container.name] = container
        container.start()
        self._watch(container)
        return {"ok": True}

    def _stop(self, connection: _Connection, request: Message) -> Message:
        container = self._containers[request["name"]]
        container.ask(request.get("signal") or _signal.SIGTERM, request["grace"], time.monotonic())
        return {"ok": True}

    def _stop_all(self, connection: _Connection, request: Message) -> Message:
        self._quit = True
        for container in self._containers.values():
            number = _signal.SIGKILL if request["grace"] <= 0 else _signal.SIGTERM
            container.ask(number, request["grace"], time.monotonic())
        return {"ok": True}

    def _exec(self, connection: _Connection, request: Message) -> None:
        container = self._containers[request["name"]]
        if not container.pid:
            raise ValueError(f"container {container.name} is not running")
        argv, spec = container.exec_argv(request["argv"])
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        try:
            pid = spawn(argv, spec, writer, writer)
        except StartFailed:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._execs[pid] = _Exec(connection, request["id"], reader, time.monotonic() + request["timeout"])
        self._poll.register(reader, select.POLLIN)

    def _read_exec(self, running: _Exec) -> None:
        try:
            data = os.read(running.reader, 65536)
        except BlockingIOError:
            return
        if not data:
            self._poll.unregister(running.reader)
        running.output = (running.output + data)[:_EXEC_OUTPUT]

    def _exec_ended(self, running: _Exec, status: int) -> None:
        try:
            self._poll.unregister(running.reader)
        except KeyError:
            pass  # it had closed its output before it ended
        try:
            while data := os.read(running.reader, 65536):
                running.output = (running.output + data)[:_EXEC_OUTPUT]
        except BlockingIOError:
            pass
        os.close(running.reader)
        code = os.waitstatus_to_exitcode(status)
        answer = {"id": running.id, "ok": True, "code": code, "timed_out": running.timed_out}
        if running.connection.socket.fileno() >= 0:
            self._send(running.connection, answer | {"output": running.output.decode(errors="replace")})


def _mount(each: Message) -> None:
    """`{"type", "source", "target", "flags", "data", "cwd"}`; `cwd` lets an overlay name its layers briefly."""
    os.makedirs(each["target"], exist_ok=True)
    if os.path.ismount(each["target"]):
        return
    os.chdir(each.get("cwd") or "/")
    try:
        kernel.mount(each["source"], each["target"], each["type"], each.get("flags") or 0, each.get("data") or "")
    finally:
        os.chdir("/")


def _isolate() -> bool:
    """A pid namespace for the next child. False where the privilege is missing."""
    if not kernel.available or os.geteuid() != 0:
        return False
    try:
        kernel.unshare(kernel.NEWPID)
    except OSError:
        return False
    return True


def _enter_mount_namespace() -> None:
    kernel.unshare(kernel.NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    if os.path.ismount("/sys/fs/cgroup/unified"):
        kernel.unmount("/sys/fs/cgroup/unified")  # crun 1.8 fails on hosts that have both versions


def main() -> None:
    """`argv[1]`: {"directory", "listener", "cgroup"}. Prints the shim's pid once it is in its place, and returns."""
    config = decode(sys.argv[1])
    os.set_inheritable(config["listener"], False)  # it came by inheritance; no container may answer in our name
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    config["isolated"] = _isolate()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if pid := os.fork():
        os.close(writer)
        problem = os.read(reader, 4096)
        os.write(2 if problem else 1, problem or f"{pid}\n".encode())
        os._exit(1 if problem else 0)
    try:
        if config["isolated"]:
            _enter_mount_namespace()
        elif kernel.available:
            kernel.adopt_orphans()
    except OSError as error:
        os.write(writer, str(error).encode())
        os._exit(1)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(writer)
    family = _socket.AF_UNIX
    try:
        Supervisor(config, _socket.socket(family, _socket.SOCK_STREAM, 0, config["listener"])).run()
    finally:
        if group := config.get("cgroup"):
            cgroups.remove_all(group)
