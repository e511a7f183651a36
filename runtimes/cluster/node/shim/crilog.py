"""A container's log in the CRI's format: `<rfc3339nano> stdout|stderr F|P <text>`, one record a line.

Law: records are whole lines on disk; a line longer than `LONGEST` becomes P records ended by an F. The file is capped:
at `limit` bytes it becomes `log.1` and a new one begins, so a log takes at most twice the limit.
Source: kubernetes/design-proposals-archive, node/kubelet-cri-logging.md.
"""

from __future__ import annotations

import os
import time

LONGEST = 16 * 1024


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, as containerd writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


class LogFile:
    """Appends what a container says. One writer per file."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._rest = {"stdout": b"", "stderr": b""}
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._file).st_size

    def feed(self, stream: str, data: bytes, now: int) -> None:
        """Write every whole line of what has come so far; keep the rest until its end comes."""
        lines = (self._rest[stream] + data).split(b"\n")
        rest = lines.pop()
        records = [record for line in lines for record in _records(line)]
        while len(rest) > LONGEST:
            records.append((b"P", rest[:LONGEST]))
            rest = rest[LONGEST:]
        self._rest[stream] = rest
        self._write(stream, records, now)

    def finish(self, stream: str, now: int) -> None:
        """The stream has ended: what is left is a record too."""
        rest, self._rest[stream] = self._rest[stream], b""
        if rest:
            self._write(stream, [(b"F", rest)], now)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, stream: str, records: list[tuple[bytes, bytes]], now: int) -> None:
        if not records:
            return
        head = f"{timestamp(now)} {stream} ".encode()
        block = b"".join(head + tag + b" " + text + b"\n" for tag, text in records)
        if self._size and self._size + len(block) > self._limit:
            os.close(self._file)
            os.replace(self._path, self._path + ".1")
            self._open()
        self._size += len(block)
        while block:
            block = block[os.write(self._file, block) :]


def _records(line: bytes) -> list[tuple[bytes, bytes]]:
    if len(line) <= LONGEST:
        return [(b"F", line)]
    parts = [line[start : start + LONGEST] for start in range(0, len(line), LONGEST)]
    return [(b"P", part) for part in parts[:-1]] + [(b"F", parts[-1])]
