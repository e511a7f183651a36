"""What every part of the embedded cluster is started with.

Law: a part learns its places, its sockets and how to say "ready" from here, and reads no environment. IO: none.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field

import msgspec

from funcs.errors import FuncsError

from .places import Places, Record

READY = b"1"


@dataclass(slots=True)
class Duty:
    """`stop` is set once, on SIGTERM; a part then drains and returns. `kept`: listeners that other parts serve."""

    name: str
    places: Places
    record: Record
    sockets: dict[str, socket.socket]
    search_path: str = os.defpath
    ready_pipe: int | None = None
    kept: dict[str, socket.socket] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = False

    def ready(self) -> None:
        """Tell the supervisor, once."""
        self.is_ready = True
        self._tell(READY)

    def failed(self, error: FuncsError) -> None:
        """Tell the supervisor why this part will never be ready; nothing if it has been."""
        self._tell(msgspec.json.encode(trouble(error)))

    def _tell(self, message: bytes) -> None:
        if self.ready_pipe is not None:
            os.write(self.ready_pipe, message)
            os.close(self.ready_pipe)
            self.ready_pipe = None


def trouble(error: FuncsError) -> dict[str, object]:
    """An error as it goes from process to process."""
    return {"error": error.message, "reason": error.reason, "hint": error.hint, "code": error.code}
