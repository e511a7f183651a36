"""How far a trigger has come in the log: done up to `low`, and done with some beyond it.

Law: pure; `low` never passes an event that was taken and not acknowledged. Sequence numbers only grow; those that a
trigger does not want are never taken, so `low` steps over them. No IO.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import msgspec


class Cursor:
    """`take` what is to be delivered, `ack` it in any order, `see` how far the log was looked through."""

    __slots__ = ("_acked", "_order", "_outstanding", "_seen")

    def __init__(self, low: int = 0, acked: Iterable[int] = ()) -> None:
        self._seen = low
        self._acked = {seq for seq in acked if seq > low}
        self._outstanding: set[int] = set()
        self._order: list[int] = []

    def __repr__(self) -> str:
        return f"Cursor(low={self.low}, acked={sorted(self.acked())}, outstanding={sorted(self._outstanding)})"

    @property
    def low(self) -> int:
        """Everything up to here is done."""
        return self._order[0] - 1 if self._order else self._seen

    @property
    def outstanding(self) -> int:
        """How many are taken and not acknowledged."""
        return len(self._outstanding)

    @property
    def width(self) -> int:
        """How many are acknowledged beyond `low`: what a slow delivery costs in memory and on disk."""
        return len(self._acked)

    @property
    def oldest(self) -> int | None:
        """The outstanding one that holds `low` back."""
        return self._order[0] if self._order else None

    def acked(self) -> Iterator[int]:
        low = self.low
        return (seq for seq in self._acked if seq > low)

    def take(self, seq: int) -> bool:
        """To be delivered now. False if it is done or taken already."""
        if seq <= self.low or seq in self._acked or seq in self._outstanding:
            return False
        self._outstanding.add(seq)
        heapq.heappush(self._order, seq)
        self._seen = max(self._seen, seq)
        return True

    def ack(self, seq: int) -> None:
        """Done: delivered, dead-lettered, or written down to be retried."""
        if seq not in self._outstanding:
            return
        self._outstanding.discard(seq)
        self._acked.add(seq)
        while self._order and self._order[0] not in self._outstanding:
            self._acked.discard(heapq.heappop(self._order))
        self._forget()

    def skip(self, seq: int) -> None:
        """Done with elsewhere: never to be taken."""
        if seq > self.low:
            self._acked.add(seq)

    def see(self, seq: int) -> None:
        """Everything up to `seq` has been looked through, and what is wanted of it taken."""
        self._seen = max(self._seen, seq)
        self._forget()

    def _forget(self) -> None:
        """With nothing outstanding, `low` says it all up to what was seen."""
        if self._acked and not self._order:
            self._acked = {seq for seq in self._acked if seq > self._seen}

    def encode(self) -> bytes:
        """For the disk: `low` and the distances of the acknowledged ones from it."""
        low = self.low
        return msgspec.msgpack.encode((low, [seq - low for seq in sorted(self._acked) if seq > low]))

    @classmethod
    def decode(cls, data: bytes) -> Cursor:
        """Raises msgspec.DecodeError."""
        low, distances = msgspec.msgpack.decode(data, type=tuple[int, list[int]])
        return cls(low, (low + distance for distance in distances))
