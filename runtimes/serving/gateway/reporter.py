"""The gateway's end of the line to the autoscaler.

Law: requests never wait for it. While the line is down, Stats are dropped and pokes are not kept: on reconnecting,
every revision with waiting requests is poked anew. IO: one unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib

from funcs.api.meta import Key
from funcs.control.clock import Clock

from ..stats import PERIOD, Hello, Poke, Stat, encode
from .gateway import Gateway

_UNSENT = 1 << 20  # bytes; a line this far behind is as good as down
_FIRST_WAIT = 0.05
_LONGEST_WAIT = 2.0


class Reporter:
    """`poke` may be called at any time; `run` does the rest."""

    def __init__(self, path: str, name: str, clock: Clock) -> None:
        self._path, self._name, self._clock = path, name, clock
        self._writer: asyncio.StreamWriter | None = None

    def poke(self, key: Key) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(Poke(key.namespace, key.name)))

    async def run(self, gateway: Gateway) -> None:
        """Until cancelled."""
        wait = _FIRST_WAIT
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(self._path)
                wait = _FIRST_WAIT
                await self._talk(gateway, reader, writer)
            await self._clock.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _talk(self, gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the line breaks."""
        try:
            writer.write(encode(Hello(self._name)))
            self._writer = writer
            now = gateway.monotonic()
            for backend in gateway.backends.values():
                backend.measure(now, now)  # what happened while the line was down is not this second's load
                if backend.waiting and not backend.is_ready:
                    self.poke(backend.key)
            while True:
                began = gateway.monotonic()
                await self._clock.sleep(PERIOD)
                if reader.at_eof() or writer.is_closing():  # uvloop raises RuntimeError for a write to a closed line
                    return
                writer.write(_report(gateway, began))
                if writer.transport.get_write_buffer_size() > _UNSENT:
                    return
        finally:
            self._writer = None
            writer.close()


def _report(gateway: Gateway, began: float) -> bytes:
    now = gateway.monotonic()
    lines = []
    for backend in gateway.backends.values():
        concurrency, requests = backend.measure(now, began)
        if concurrency > 0 or requests:
            lines.append(encode(Stat(backend.key.namespace, backend.key.name, round(concurrency, 4), requests)))
    return b"".join(lines)
