"""Light load on a cluster, and a place where its events arrive.

Law: every attempt is accounted for: answered, or failed with a time and a reason. IO: threads, loopback sockets.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.scenarios.cluster import Cluster, eventually

_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Failure:
    """`at` in seconds of the monotonic clock."""

    at: float
    reason: str


@dataclass
class Load:
    """Loops that call a function, one request each at a time, until the block is left."""

    cluster: Cluster
    function: str
    loops: int = 2
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(self.loops)]
        for thread in self._threads:
            thread.start()
        self.until_more(self.loops)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def until_more(self, answers: int = 20) -> None:
        """Wait for so many more answers: the function goes on answering."""
        wanted = self.answers.total() + answers
        eventually(f"{self.function} answers", lambda: self.answers.total() >= wanted, 30)

    def _loop(self) -> None:
        while not self._stop.wait(_PAUSE):
            started = time.monotonic()
            try:
                answer = self.cluster.call(self.function, b"hello")
            except (OSError, HTTPException) as error:
                self.failures.append(Failure(time.monotonic(), repr(error)))
                continue
            self.slowest = max(self.slowest, time.monotonic() - started)
            if answer.status == 200:
                self.answers[answer.who] += 1
            else:
                self.failures.append(Failure(time.monotonic(), f"{answer.status}: {answer.body[:200]!r}"))


@dataclass
class Until:
    """Runs a function of a counter again and again beside the block, in one thread."""

    again: Callable[[int], None]
    count: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _loop(self) -> None:
        try:
            while not self._stop.wait(_PAUSE):
                self.again(self.count)
                self.count += 1
        except BaseException as error:
            self._error = error


class Recorder:
    """An HTTP server that takes events and counts them by id."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen[self.headers["Ce-Id"]] += 1
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """The test says what went wrong."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def persistently(attempt: Callable[[], int], wanted: int, seconds: float = 30) -> int:
    """Try until the answer is `wanted`, as a producer that must not lose anything does; how many tries it took."""
    deadline = time.monotonic() + seconds
    tries, last = 0, "never tried"
    while time.monotonic() < deadline:
        tries += 1
        try:
            status = attempt()
        except (OSError, HTTPException) as error:
            last = repr(error)
        else:
            if status == wanted:
                return tries
            last = str(status)
        time.sleep(_PAUSE)
    raise AssertionError(f"not {wanted} within {seconds:.0f} s and {tries} tries; the last was {last}")
