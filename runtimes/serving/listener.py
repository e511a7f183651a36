"""The autoscaler's end of the line: takes what gateways report over a unix socket.

Law: a report of a revision at zero, and every poke, is acted on at once; one look at a revision at a time, however many
ask. A peer that sends anything else is cut off. IO: the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from types import TracebackType
from typing import Self

from funcs.api.meta import Key
from funcs.errors import BadRequest

from .autoscaler import Autoscaler
from .stats import LONGEST_LINE, Hello, Poke, decode

log = logging.getLogger(__name__)


class StatsListener:
    """`async with StatsListener(path, autoscaler): …` listens at `path`, mode 0600, replacing what a dead one left."""

    def __init__(self, path: str, autoscaler: Autoscaler) -> None:
        self._path, self._autoscaler = Path(path), autoscaler
        self._server: asyncio.Server | None = None
        self._pokes: dict[Key, asyncio.Task[None]] = {}
        self._peers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=LONGEST_LINE)
        self._path.chmod(0o600)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        tasks = {*self._pokes.values(), *self._peers}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._peers.add(task)
        self._autoscaler.connected()
        try:
            async for line in reader:
                self._take(line)
        except (BadRequest, ValueError, OSError) as problem:
            log.warning("a gateway was cut off: %s", problem)
        except asyncio.CancelledError:
            # Cancelled on closing only; asyncio's streams would report it as an error of the server.
            return
        finally:
            self._autoscaler.disconnected()
            if task is not None:
                self._peers.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    def _take(self, line: bytes) -> None:
        message = decode(line)
        if isinstance(message, Hello):
            log.info("gateway %s reports", message.gateway)
        elif isinstance(message, Poke):
            self._poke(message.key)
        else:
            at_zero = self._autoscaler.record(message.key, message.concurrency, message.requests)
            if at_zero and message.concurrency > 0:
                self._poke(message.key)

    def _poke(self, key: Key) -> None:
        if key in self._pokes:
            return
        task = asyncio.get_running_loop().create_task(self._autoscaler.poke(key))
        self._pokes[key] = task
        task.add_done_callback(lambda _: self._pokes.pop(key, None))
