"""What every part of the embedded cluster is started with.

Law: a part learns its places, its sockets and how to say "ready" from here, and reads no environment. IO: none.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field

from .places import Places, Record


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

    def ready(self) -> None:
        """Tell the supervisor, once."""
        if self.ready_pipe is not None:
            os.write(self.ready_pipe, b"1")
            os.close(self.ready_pipe)
            self.ready_pipe = None
