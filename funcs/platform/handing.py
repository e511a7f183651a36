"""Listening sockets, handed from one process to the next.

Law: the control part keeps every listener of the cluster and hands it to whoever may open its unix socket, in a
directory that is the owner's alone; so a supervisor that follows a dead one holds all ports, and no connect is refused
while a part restarts. IO: inherited descriptors, one unix socket (SCM_RIGHTS).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 2.0
_MOST = 16


def inherited(texts: Iterable[str]) -> dict[str, socket.socket]:
    """The listeners given as `NAME=DESCRIPTOR`; children do not get them: uvloop's get all that they can inherit."""
    pairs = (text.partition("=") for text in texts)
    return {name: _taken(int(number)) for name, _, number in pairs}


@contextmanager
def offering(path: Path, listeners: Mapping[str, socket.socket]) -> Iterator[None]:
    """Hand them to everyone who connects, while the block lasts. In a running loop."""
    loop = asyncio.get_running_loop()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        door.setblocking(False)
        loop.add_reader(door, _hand, door, listeners)
        try:
            yield
        finally:
            loop.remove_reader(door)
            path.unlink(missing_ok=True)


def taken_from(path: Path) -> dict[str, socket.socket]:
    """What is offered there; nothing when nobody offers."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(_PATIENCE)
        try:
            peer.connect(str(path))
            names, descriptors, _, _ = socket.recv_fds(peer, 4096, _MOST)
        except OSError:
            return {}
    return {name: _taken(number) for name, number in zip(json.loads(names or b"[]"), descriptors, strict=True)}


def _hand(door: socket.socket, listeners: Mapping[str, socket.socket]) -> None:
    peer, _ = door.accept()
    with peer:
        socket.send_fds(peer, [json.dumps(list(listeners)).encode()], [found.fileno() for found in listeners.values()])


def _taken(number: int) -> socket.socket:
    found = socket.socket(fileno=number)
    found.set_inheritable(False)
    return found
