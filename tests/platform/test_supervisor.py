"""The supervisor: sockets outlive parts, parts outlive the supervisor."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from funcs.errors import AlreadyExists, Unavailable
from funcs.platform import pids, supervisor
from funcs.platform.places import Places, Ports, Record
from funcs.platform.supervisor import State

# A part that says it is ready and answers each connection to its first listener with its own pid.
TOY = """
import os, signal, socket, sys
listeners = [int(a.rpartition("=")[2]) for a in sys.argv if a.startswith("--listen=")]
for a in sys.argv:
    if a.startswith("--keep="): os.close(int(a.rpartition("=")[2]))  # as one that offers nothing to a successor
ready = int(next(a for a in sys.argv if a.startswith("--ready=")).partition("=")[2])
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(ready, b"1"); os.close(ready)
if not listeners: signal.pause()
found = socket.socket(fileno=listeners[0])
while True:
    peer, _ = found.accept()
    peer.sendall(str(os.getpid()).encode()); peer.close()
"""
SUPERVISOR = """
import sys
from pathlib import Path
from funcs.platform.places import Places
from funcs.platform import supervisor
places = Places(Path(sys.argv[1]))
supervisor.lock(places)
sys.exit(supervisor.Supervisor(places, places.read_record(), (sys.executable, "-c", sys.argv[3])).run(int(sys.argv[2])))
"""


def eventually(what: str, look: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "cluster")
    found.create()
    ports = supervisor.choose(Ports(api=0, hub=0, gateway=0, broker=0))
    found.write_record(Record(name="t", node="n", ports=ports, cache=tmp_path))
    return found


@pytest.fixture
def start(places: Places) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        reading, writing = os.pipe()
        argv = [sys.executable, "-c", SUPERVISOR, str(places.root), str(writing), TOY]
        started.append(subprocess.Popen(argv, pass_fds=(writing,), stderr=subprocess.DEVNULL))
        os.close(writing)
        with os.fdopen(reading) as announced:
            assert announced.readline() == "ready\n"
        return started[-1]

    yield begin
    state = supervisor.read_state(places)
    for process in started:
        process.terminate()
        process.wait(20)
    for pid in state.parts.values() if state else ():
        pid.signal(signal.SIGKILL)


def state_of(places: Places) -> State:
    found = supervisor.read_state(places)
    assert found is not None
    return found


def ask(places: Places) -> int:
    with socket.create_connection(("127.0.0.1", places.read_record().ports.gateway), timeout=10) as peer:
        return int(peer.makefile().read())


def test_a_killed_part_is_restarted_and_no_connect_is_refused(
    places: Places, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    start()
    first = ask(places)
    os.kill(first, signal.SIGKILL)
    eventually("the killed part has ended", lambda: pids.started(first) is None)
    second = ask(places)  # queues in the backlog of the socket that the supervisor holds
    assert second != first
    eventually("the restarted part is ready", lambda: "gateway" in state_of(places).ready)


def test_parts_serve_on_when_the_supervisor_dies_and_the_next_one_adopts_them(
    places: Places, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    before = start()
    serving = ask(places)
    parts = state_of(places).parts
    before.kill()
    before.wait()
    assert ask(places) == serving
    start()
    assert state_of(places).parts == parts
    os.kill(serving, signal.SIGKILL)
    eventually(
        "an adopted part that dies is started again",
        lambda: state_of(places).parts.get("gateway") not in (None, parts["gateway"]),
    )
    assert ask(places) != serving


def test_told_to_stop_it_ends_every_part(places: Places, start: Callable[[], subprocess.Popen[bytes]]) -> None:
    process = start()
    parts = state_of(places).parts
    process.terminate()
    assert process.wait(20) == 0
    assert not any(pid.alive for pid in parts.values())
    assert supervisor.read_state(places) is None


def test_only_one_supervisor_holds_a_cluster(places: Places) -> None:
    held = supervisor.lock(places)
    with pytest.raises(Unavailable, match="another supervisor"):
        supervisor.lock(places)
    os.close(held)


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AlreadyExists, match=f"port {port} of the gateway is in use") as refused:
            supervisor.choose(Ports(api=0, hub=0, gateway=port, broker=0))
    assert refused.value.reason == "PortInUse"
    assert "--gateway-port" in (refused.value.hint or "")


def test_a_pid_is_told_from_a_later_process_with_the_same_number() -> None:
    mine = pids.of(os.getpid())
    assert mine is not None
    assert mine.alive
    assert not pids.Pid(mine.number, "some other start").alive
    assert not pids.Pid(mine.number, "some other start").signal(signal.SIGKILL)
