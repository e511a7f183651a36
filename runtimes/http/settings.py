"""The bounds of a server and of a pool: sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask of a server. Times are kept to within a second, or a quarter of the shortest of them."""

    head: int = 64 * 1024
    fields: int = 128
    body: int | None = 64 * 1024 * 1024
    """Larger bodies are refused with 413; None: any size."""
    unread: int = 256 * 1024
    """A client is held back while so much of its body waits to be read."""
    discard: int = 256 * 1024
    """How much of a body that nobody read is let pass to keep the connection."""
    pipelined: int = 256
    connections: int = 16_384
    head_timeout: float = 10.0
    idle_timeout: float = 90.0
    body_timeout: float = 30.0
    """Silence in the middle of a body that is being read."""
    write_timeout: float = 60.0
    """A client that takes nothing of its answer."""
    answer_timeout: float | None = None
    """From a request's dispatch to the end of its answer's head; None: as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Of one request through a pool."""

    connect: float = 5.0
    """Also the wait for a free connection, when as many as allowed are busy."""
    response: float | None = 60.0
    """From the request being sent to the head of its answer."""
    idle: float | None = 60.0
    """Silence in the middle of the answer's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    connections: int = 1024
    """To one address."""
    waiting: int = 10_000
    """Requests that may wait for a connection to one address."""
    idle: float = 20.0
    """An idle connection is closed after so long: well before the far end would (90 s for our own servers)."""
    head: int = 64 * 1024
    unread: int = 256 * 1024
