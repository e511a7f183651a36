"""A port of the host for every port a pod declares, as pods share the host's network.

Law: a port is free when it is given, and is given once at a time. IO: a bind to ask the kernel.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from funcs.api import meta
from funcs.api.meta import Object

ANNOTATION = "node.funcs.dev/ports"


def declared(pod: Object) -> list[int]:
    """Every containerPort of the pod, in order, once."""
    spec = meta.spec(pod)
    found = [
        int(port["containerPort"])
        for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
        for port in container.get("ports") or []
    ]
    return list(dict.fromkeys(found))


class Ports:
    """What this node has given out."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self, wanted: Iterable[int]) -> dict[int, int]:
        """A free port of the host for each."""
        return {port: self._free() for port in wanted}

    def adopt(self, ports: Iterable[int]) -> None:
        self._taken.update(ports)

    def release(self, ports: Iterable[int]) -> None:
        self._taken.difference_update(ports)

    def _free(self) -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("", 0))
                port = int(probe.getsockname()[1])
            if port not in self._taken:
                self._taken.add(port)
                return port
