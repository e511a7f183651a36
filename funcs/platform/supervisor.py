"""The supervisor: holds the listening sockets, starts the parts, restarts those that die.

Law: a listening socket outlives the part that serves it, so connects queue while the part restarts; the supervisor may
itself die at any time, and the next one adopts the parts that live, and the sockets that the control part keeps for it.
It is synchronous and knows nothing of what a part does. IO: sockets, processes, `run/supervisor.json`.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from funcs.errors import AlreadyExists, FuncsError, Invalid, Unavailable

from . import pids
from .duty import READY, trouble
from .handing import taken_from
from .pids import Pid
from .places import Places, Ports, Record, write_atomically

# part → the listeners that it serves
PARTS: dict[str, tuple[str, ...]] = {
    "control": ("api", "hub"),
    "node": (),
    "gateway": ("gateway",),
    "broker": ("broker",),
}
KEEPER = "control"  # holds every listener, so that the supervisor that follows has them too
SOCKETS = "listeners.sock"
_BACKOFF = (0.05, 5.0)
_STABLE = 30.0
_FINAL = (405, 422, 500)  # Unsupported, Invalid, Terminal
_STOP_GRACE = 15.0


class State(msgspec.Struct, frozen=True):
    """`run/supervisor.json`: enough for `funcs down`, and for a successor to adopt the parts."""

    supervisor: Pid
    parts: dict[str, Pid]
    ready: tuple[str, ...] = ()


@dataclass(slots=True)
class Part:
    """One process, and when to try it again."""

    name: str
    pid: Pid | None = None
    process: subprocess.Popen[bytes] | None = None
    watch: int = -1  # pidfd of the process, or the pipe that closes when it ends
    ready: bool = False
    trouble: bytes = b""  # why it says that it will not be ready
    started: float = 0.0
    failures: int = 0
    retry_at: float = 0.0

    @property
    def gave_up(self) -> bool:
        """It ended, and said a reason that another try cannot change."""
        return self.failures > 0 and self.trouble != b"" and msgspec.json.decode(self.trouble)["code"] in _FINAL


@dataclass(slots=True)
class Supervisor:
    """`run()` returns when it was told to stop and every part has ended."""

    places: Places
    record: Record
    program: tuple[str, ...] = (sys.executable, "-m", "funcs.platform.part")
    parts: dict[str, Part] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    stopping: bool = False
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self, announce: int | None = None) -> int:
        """`announce`: a descriptor that gets one line when every part is ready, or when one fails for good."""
        self._install_signals()
        self.parts = {name: Part(name) for name in PARTS}
        self._adopt()
        while not self.stopping:
            self._start_due()
            announce = self._announce(announce)
            for key, _ in self._selector.select(self._next_due()):
                key.data(key.fileobj)
        return self._stop()

    # -- starting ------------------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Take every listener that no adopted part holds. Raises AlreadyExists when a port is in use."""
        held = {listener for part in self.parts.values() if part.pid for listener in PARTS[part.name]}
        for listener, port in msgspec.structs.asdict(self.record.ports).items():
            if listener not in held and listener not in self.sockets:
                self.sockets[listener] = listen(listener, port)

    def _start_due(self) -> None:
        now = time.monotonic()
        for part in self.parts.values():
            if part.pid is None and part.retry_at <= now:
                try:
                    self.bind()
                except AlreadyExists as error:  # the port was lost with its part; the other parts live on
                    self._failed(part)
                    say(f"{part.name} cannot start: {error}")
                else:
                    self._spawn(part)

    def _spawn(self, part: Part) -> None:
        reading, writing = os.pipe()
        served = {name: self.sockets[name].fileno() for name in PARTS[part.name]}
        kept = {name: found.fileno() for name, found in self.sockets.items() if part.name == KEEPER} | served
        argv = [*self.program, part.name, "--state", str(self.places.root), f"--ready={writing}"]
        argv += [f"--{'listen' if name in served else 'keep'}={name}={number}" for name, number in kept.items()]
        with (self.places.logs / f"{part.name}.log").open("ab") as log:
            part.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(*kept.values(), writing),
                start_new_session=True,
            )
        os.close(writing)
        part.pid = pids.of(part.process.pid)
        part.started, part.ready = time.monotonic(), False
        self._selector.register(reading, selectors.EVENT_READ, lambda fileobj: self._hear(part, fileobj))
        self._watch(part)
        self._save()

    def _hear(self, part: Part, reading: int) -> None:
        """A part says that it is ready, or why it never will be; the pipe's end says no more than its exit."""
        self._selector.unregister(reading)
        said = os.read(reading, 65536)
        if said == READY:
            part.ready = True
            self._save()
        part.trouble = b"" if said == READY else said
        os.close(reading)

    # -- ending and adopting ---------------------------------------------------------------------------------------

    def _watch(self, part: Part) -> None:
        if part.pid is not None and hasattr(os, "pidfd_open"):
            try:
                part.watch = os.pidfd_open(part.pid.number)
            except ProcessLookupError:
                self._ended(part)
                return
            self._selector.register(part.watch, selectors.EVENT_READ, lambda _: self._ended(part))

    def _ended(self, part: Part) -> None:
        if part.watch >= 0:
            self._selector.unregister(part.watch)
            os.close(part.watch)
        code = part.process.wait() if part.process else "unknown"
        lived = time.monotonic() - part.started
        if lived > _STABLE:
            part.failures = -1
        part.pid, part.process, part.watch, part.ready = None, None, -1, False
        delay = self._failed(part)
        say(f"{part.name} ended with code {code} after {lived:.1f} s; starting it again in {delay:.2f} s")

    def _failed(self, part: Part) -> float:
        """Seconds until it is tried again."""
        part.failures += 1
        delay: float = min(_BACKOFF[0] * 2 ** max(0, part.failures - 1), _BACKOFF[1])
        part.retry_at = time.monotonic() + delay
        return delay

    def _adopt(self) -> None:
        """Take over the parts of a supervisor that died; they have gone on serving."""
        state = read_state(self.places)
        for name, pid in (state.parts if state else {}).items():
            if name in self.parts and pid.alive:
                part = self.parts[name]
                part.pid, part.ready, part.started = pid, True, time.monotonic()
                self._watch(part)
                say(f"adopted {name}, process {pid.number}")
        if self.parts[KEEPER].pid is not None:
            self.sockets |= taken_from(self.places.run / SOCKETS)
        self.bind()
        self._save()

    def _stop(self) -> int:
        """Parts that produce work end first; control last, so that the others can still report."""
        for name in ("broker", "gateway", "node", "control"):
            part = self.parts[name]
            if part.pid is not None and part.pid.signal(signal.SIGTERM):
                self._end(part)
        for found in self.sockets.values():
            found.close()
        (self.places.run / "supervisor.json").unlink(missing_ok=True)
        return 0

    def _end(self, part: Part) -> None:
        assert part.pid is not None
        if part.process is not None:
            try:
                part.process.wait(_STOP_GRACE)
            except subprocess.TimeoutExpired:
                say(f"{part.name} did not end in {_STOP_GRACE:.0f} s: killed")
                part.process.kill()
                part.process.wait()
        elif not part.pid.wait(_STOP_GRACE):
            part.pid.signal(signal.SIGKILL)

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _announce(self, announce: int | None) -> int | None:
        """Tell `funcs up`, once: ready, or what keeps failing."""
        if announce is None:
            return None
        failing = [part for part in self.parts.values() if part.failures >= 3 or part.gave_up]
        if failing:
            os.write(announce, b"failed %b %b\n" % (failing[0].name.encode(), failing[0].trouble))
        elif all(part.ready for part in self.parts.values()):
            os.write(announce, b"ready\n")
        else:
            return announce
        os.close(announce)
        return None

    def _save(self) -> None:
        me = pids.of(os.getpid())
        assert me is not None
        parts = {part.name: part.pid for part in self.parts.values() if part.pid}
        ready = tuple(part.name for part in self.parts.values() if part.ready)
        write_atomically(self.places.run / "supervisor.json", msgspec.json.encode(State(me, parts, ready)))

    def _next_due(self) -> float | None:
        waiting = [part.retry_at for part in self.parts.values() if part.pid is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _install_signals(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._selector.register(reading, selectors.EVENT_READ, lambda _: self._woken(reading))

    def _told_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _woken(self, reading: int) -> None:
        os.read(reading, 512)
        if not hasattr(os, "pidfd_open"):  # macOS: SIGCHLD is all there is
            for part in self.parts.values():
                if part.process is not None and part.process.poll() is not None:
                    self._ended(part)


_KEPT = "Stop what listens there: a cluster keeps the ports of its first start."
_CHOSEN = "Stop what listens there, or choose another: `funcs up --{}-port N` (0 takes any free one)."


def listen(listener: str, port: int, hint: str = _KEPT) -> socket.socket:
    """A listening loopback socket. Raises AlreadyExists (in use) or Invalid (needs root), with listener and port."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
    except OSError as error:
        found.close()
        if isinstance(error, PermissionError):
            remedy = f"Choose one from 1024 on: `funcs up --{listener}-port N`."
            raise Invalid(f"port {port} of the {listener} needs root", hint=remedy) from error
        raise AlreadyExists(
            f"port {port} of the {listener} is in use", reason="PortInUse", hint=hint.format(listener)
        ) from error
    found.listen(1024)
    return found


def choose(ports: Ports) -> Ports:
    """Real numbers for the ports given as 0."""
    with ExitStack() as held:  # all at once, so that no two are the same
        found = {
            listener: held.enter_context(listen(listener, port, _CHOSEN))
            for listener, port in msgspec.structs.asdict(ports).items()
        }
        return Ports(**{listener: one.getsockname()[1] for listener, one in found.items()})


def lock(places: Places) -> int:
    """The lock that only one supervisor of a cluster holds. Raises Unavailable if another one does."""
    handle = os.open(places.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Unavailable("another supervisor runs this cluster", reason="AlreadyRunning") from None
    return handle


def read_state(places: Places) -> State | None:
    """What the last supervisor recorded; None when there is none."""
    try:
        return msgspec.json.decode((places.run / "supervisor.json").read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def say(text: str) -> None:
    """One line in the supervisor's own log."""
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, file=sys.stderr, flush=True)


def main(root: Path, announce: int | None) -> int:
    """Run a cluster's supervisor; errors before it runs go to `announce` as one JSON line."""
    places = Places(root)
    try:
        lock(places)  # held until this process ends
        return Supervisor(places, places.read_record()).run(announce)
    except FuncsError as error:
        if announce is not None:
            os.write(announce, msgspec.json.encode(trouble(error)) + b"\n")
        say(f"{error.reason}: {error}")
        return 1


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m funcs.platform.supervisor")
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--announce", type=int)
    given = arguments.parse_args()
    sys.exit(main(given.state, given.announce))
