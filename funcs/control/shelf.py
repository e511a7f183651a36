"""All objects of one kind as bytes, with their label index and the recent history that watches read.

Law: a version names one state; the history holds the last `window` changes, and a reader who falls behind it is told
(Expired) instead of being waited for. Watchers keep a position, never a queue, so a slow one costs nothing. No IO.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from funcs.api.meta import Key
from funcs.api.selectors import LabelSelector
from funcs.errors import Expired


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object: JSON in `data`."""

    key: Key
    version: int
    data: bytes = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write. `after` None: deleted, and `last` is the object as it went, at this version."""

    version: int
    before: Entry | None
    after: Entry | None
    last: Entry


class Shelf:
    def __init__(self, window: int) -> None:
        self._window = window
        self._entries: dict[Key, Entry] = {}
        self._labelled: dict[tuple[str, str], set[Key]] = {}
        self._history: list[Change] = []
        self._dropped = 0  # changes no longer held
        self._waiting: set[asyncio.Future[None]] = set()
        self.floor = 0  # the oldest version from which nothing is missing

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def entries(self) -> Mapping[Key, Entry]:
        return self._entries

    @property
    def latest(self) -> int:
        """The version of the newest change."""
        return self._history[-1].version if self._history else self.floor

    def put(self, change: Change) -> None:
        self._index(change.before, change.after)
        self._history.append(change)
        if len(self._history) >= 2 * self._window:
            self._forget(len(self._history) - self._window)
        self.wake()

    def settle(self, version: int) -> None:
        """Forget the history: what is here now is the state of `version`, where watches can start."""
        if self._history:
            self._forget(len(self._history))
        self.floor = version

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def candidates(self, selector: LabelSelector) -> Iterable[Entry]:
        """All that can match, by the rarest of the labels that the selector fixes."""
        sets = [self._labelled.get(pair, set()) for pair in selector.exact()]
        if not sets:
            return self._entries.values()
        return [self._entries[key] for key in min(sets, key=len)]

    def at(self, version: int) -> Mapping[Key, Entry]:
        """The entries as they were. Raises Expired."""
        if version < self.floor:
            raise _expired(version, self.floor)
        entries = dict(self._entries)
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.before is None:
                entries.pop(change.last.key, None)
            else:
                entries[change.last.key] = change.before
        return entries

    def position(self, version: int) -> int:
        """Where the changes after `version` begin. Raises Expired."""
        if version < self.floor:
            raise _expired(version, self.floor)
        return self._dropped + bisect_right(self._history, version, key=lambda change: change.version)

    def since(self, position: int) -> list[Change]:
        """Raises Expired if they are no longer held."""
        if position < self._dropped:
            raise Expired(f"the watch fell more than {self._window} changes behind", hint="List again, then watch.")
        return self._history[position - self._dropped :]

    def changed(self) -> asyncio.Future[None]:
        """Done when there is more to read."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        return future

    def leave(self, future: asyncio.Future[None]) -> None:
        self._waiting.discard(future)

    def _forget(self, count: int) -> None:
        self.floor = self._history[count - 1].version
        del self._history[:count]
        self._dropped += count

    def _index(self, before: Entry | None, after: Entry | None) -> None:
        if before is not None and (after is None or before.labels != after.labels):
            for pair in before.labels.items():
                keys = self._labelled[pair]
                keys.discard(before.key)
                if not keys:
                    del self._labelled[pair]
        if after is not None:
            self._entries[after.key] = after
            for pair in after.labels.items():
                self._labelled.setdefault(pair, set()).add(after.key)
        elif before is not None:
            del self._entries[before.key]


def _expired(version: int, floor: int) -> Expired:
    return Expired(f"too old resource version: {version} ({floor})", hint="List again, then watch.")
