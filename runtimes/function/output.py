"""Log lines as JSON on a stream.

Law: a line is whole or absent. Lines of one turn of the loop are written together, at the turn's end, at an error, or
when they are many; other threads' lines, and all lines before `gather` and after it was told None, at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

MANY = 64 * 1024  # bytes gathered before they are written at once

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Output:
    """`write` takes bytes; `wall` gives Unix seconds. Usable from any thread."""

    def __init__(
        self, write: Callable[[bytes], Any], wall: Callable[[], float], fields: Mapping[str, Any] | None = None
    ) -> None:
        self._write = write
        self._wall = wall
        self._fields = dict(fields or {})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._second = self._moment = -1
        self._before = self._last = ""

    def gather(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on write once a turn of `loop`; None: each line at once."""
        self._loop = loop
        self.flush()

    def sink(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        line = _encode({"time": self._stamp(), "level": level, "message": message, **self._fields, **fields}) + b"\n"
        loop = self._loop
        if loop is None or asyncio._get_running_loop() is not loop:
            self._write(line)
            return
        if not self._lines:
            loop.call_soon(self.flush)
        self._lines.append(line)
        self._size += len(line)
        if level == "error" or self._size > MANY:
            self.flush()

    def _stamp(self) -> str:
        """RFC 3339, in milliseconds; what stands before them is made once a second."""
        moment = int(self._wall() * 1000)
        if moment != self._moment:
            self._moment = moment
            second, rest = divmod(moment, 1000)
            if second != self._second:
                self._second = second
                self._before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._last = f"{self._before}.{rest:03}Z"
        return self._last

    def flush(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._write(b"".join(lines))


class LogHandler(logging.Handler):
    """What libraries log, as lines of an Output."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._output.sink(record.levelname.lower(), record.getMessage(), fields)
