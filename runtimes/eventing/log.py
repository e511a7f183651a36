"""The event log: what a broker has accepted, how far each trigger has come in it, and what could not be delivered.

Law: what `append` and `save` return for is on disk. Sequence numbers grow in the order of commits and are never used
twice; there may be gaps. The port's implementation is `runtimes.eventing.sqlite`. No IO here.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from funcs.errors import Unavailable

from .event import Event, attributes_of


class LogFull(Unavailable):
    """The disk, or the bound set on the log, has no room: nothing was accepted."""

    default_reason = "LogFull"


class Backlogged(Unavailable):
    """Subscribers are too far behind for more to be accepted."""

    code = 429
    default_reason = "Backlogged"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it lies in the log. `broker` is `namespace/name`; `head` its header lines in binary mode."""

    seq: int
    broker: str
    at: float
    ttl: int
    head: bytes
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.head) + len(self.data)

    def attributes(self) -> dict[str, str]:
        return attributes_of(self.head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A delivery that is owed: it failed `tries` times and is due at `due` (Unix seconds)."""

    trigger: str
    seq: int
    tries: int
    due: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that nobody took: neither its subscriber nor a dead letter sink. `code` 0 means that no answer came."""

    trigger: str
    seq: int
    at: float
    destination: str
    code: int
    data: bytes
    broker: str
    head: bytes
    body: bytes = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class SaveCursor:
    trigger: str
    cursor: bytes


@dataclass(frozen=True, slots=True)
class SaveFailure:
    failure: Failure


@dataclass(frozen=True, slots=True)
class DropFailure:
    trigger: str
    seq: int


@dataclass(frozen=True, slots=True)
class SaveDeadLetter:
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class DropDeadLetter:
    id: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The trigger is gone: its cursor and failures go too. Dead letters stay."""

    trigger: str


Change: TypeAlias = SaveCursor | SaveFailure | DropFailure | SaveDeadLetter | DropDeadLetter | Forget


@dataclass(frozen=True, slots=True)
class Recollection:
    """What the log knows of one trigger."""

    cursor: bytes | None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long delivered events are kept: until older than `seconds`, or the log larger than `size` bytes."""

    seconds: float = 86_400.0
    size: int = 1024 * 1024 * 1024


class EventLog(Protocol):
    """Append, read, remember; the one durable thing behind a broker."""

    @property
    def last(self) -> int:
        """The sequence number of the newest committed event; 0 if there never was one."""
        ...

    @property
    def size(self) -> int:
        """Bytes of events held."""
        ...

    def append(self, broker: str, event: Event, at: float) -> Future[int]:
        """The event's sequence number, once it is on disk. Raises LogFull when there is no room, Backlogged when
        too many wait to be written."""
        ...

    def follow(self, listener: Callable[[Sequence[tuple[Entry, Event]]], None]) -> None:
        """`listener` is told of every commit from now on, in order, on the event loop."""
        ...

    async def read(self, after: int, *, most: int = 256) -> Sequence[Entry]:
        """The events after `after`, oldest first: at most `most`, fewer where they are large; empty at the end."""
        ...

    async def save(self, *changes: Change) -> None:
        """All of them or none. Raises LogFull."""
        ...

    async def recall(self, trigger: str) -> Recollection: ...

    async def triggers(self) -> Sequence[str]:
        """Every trigger that a cursor is kept for."""
        ...

    async def dead_letters(self, *, after: int = 0, most: int = 256) -> Sequence[DeadLetter]:
        """By id, oldest first."""
        ...

    async def trim(self, below: int, retention: Retention, now: float) -> int:
        """Drop whole commits of which every event is at or below `below` and not to be kept. Bytes freed."""
        ...
