"""Two connections joined after `101 Switching Protocols` (WebSocket and the like).

Law: bytes pass both ways untouched, each end held back while the other cannot take more; when one ends, so does the
other. IO: two sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def join(client: asyncio.Transport, pod: asyncio.Transport, ended: Callable[[], None]) -> None:
    """From now on the two transports only talk to each other; `ended` is called once."""
    left, right = _End(client, pod, ended), _End(pod, client, ended)
    left.other, right.other = right, left
    client.set_protocol(left)
    pod.set_protocol(right)
    for transport in (client, pod):
        transport.resume_reading()


class _End(asyncio.Protocol):
    """What arrives by `own` goes out by `far`."""

    other: _End

    def __init__(self, own: asyncio.Transport, far: asyncio.Transport, ended: Callable[[], None]) -> None:
        self._own, self._far, self._ended = own, far, ended
        self._over = False

    def data_received(self, data: bytes) -> None:
        self._far.write(data)

    def pause_writing(self) -> None:
        if not self._far.is_closing():
            self._far.pause_reading()

    def resume_writing(self) -> None:
        if not self._far.is_closing():
            self._far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._over = self.other._over = True
            self._far.close()
            self._ended()
