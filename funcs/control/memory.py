"""The Client in memory: the engine without a log, which keeps a record of what was asked of it.

Law: behaves as the embedded store does (the same contract suite runs over both); tests assert on `writes`. No IO.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from funcs.api import catalog, meta
from funcs.api.admission import Rules
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object, Objects

from . import envelope, listing, objects
from .client import ALL, DELETE, WRITE, DeleteOptions, PatchType, WriteOptions
from .clock import Clock, ManualClock
from .engine import Engine, EngineSettings
from .ids import Ids, SerialIds


@dataclass(frozen=True, slots=True)
class Write:
    """One write as it was asked for: `verb` is create, update, apply, patch, delete, or post (to a subresource)."""

    verb: str
    kind: Kind
    key: Key
    subresource: str = ""
    body: Any = None

    def __str__(self) -> str:
        return f"{self.verb} {self.kind.resource} {self.key}" + (f"/{self.subresource}" if self.subresource else "")


class MemoryClient(Engine):
    """`refuse(write)` may raise, before anything happens: how a test makes writes fail."""

    def __init__(
        self,
        kinds: Iterable[Kind] = catalog.KINDS,
        *,
        clock: Clock | None = None,
        rules: Mapping[Kind, Rules] | None = None,
        ids: Ids | None = None,
        settings: EngineSettings | None = None,
    ) -> None:
        settings = settings or EngineSettings(rules=rules or {})
        self.clock = clock or ManualClock()
        super().__init__(kinds, self.clock, ids or SerialIds(), settings)
        self.writes: list[Write] = []
        self.refuse: Callable[[Write], None] = lambda write: None

    def seed(self, *seeds: Object) -> None:
        """Put objects (of kinds in the catalog) in place whole, status too, past admission; unrecorded."""
        for seed in seeds:
            kind = catalog.kind_of(seed)
            obj = objects.seeded(kind, copy.deepcopy(seed), self._moment(WRITE))
            key = envelope.key_of(kind, obj)
            version = self.version + 1
            obj["metadata"]["resourceVersion"] = str(version)
            self.restore(version, kind, key, msgspec.json.encode(obj), deleted=False)

    def take_writes(self) -> list[Write]:
        """The writes so far; the record starts anew."""
        taken, self.writes = self.writes, []
        return taken

    def objects(self, kind: Kind) -> Objects:
        """All objects of a kind, without awaiting."""

        return listing.page(self._shelf(kind), kind, ALL, self.version).items

    def latest_change(self, kind: Kind) -> str:
        """The version of the newest change of this kind, "0" if there was none: has anything happened?"""
        return str(self._shelf(kind).latest)

    async def create(self, kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
        self._note("create", kind, _key(kind, obj), "", obj)
        return await super().create(kind, obj, options)

    async def update(self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, subresource: str = "") -> Object:
        self._note("update", kind, _key(kind, obj), subresource, obj)
        return await super().update(kind, obj, options, subresource=subresource)

    async def apply(
        self, kind: Kind, obj: Object, options: WriteOptions = WRITE, *, force: bool = True, subresource: str = ""
    ) -> Object:
        self._note("apply", kind, _key(kind, obj), subresource, obj)
        return await super().apply(kind, obj, options, force=force, subresource=subresource)

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Object | Objects,
        namespace: str | None = None,
        *,
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        options: WriteOptions = WRITE,
    ) -> Object:
        self._note("patch", kind, envelope.locate(kind, name, namespace), subresource, patch)
        return await super().patch(kind, name, patch, namespace, type=type, subresource=subresource, options=options)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions = DELETE
    ) -> Object | None:
        self._note("delete", kind, envelope.locate(kind, name, namespace))
        return await super().delete(kind, name, namespace, options)

    async def subresource(
        self, kind: Kind, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        self._note("post", kind, envelope.locate(kind, name, namespace), subresource, body)
        return await super().subresource(kind, name, subresource, body, namespace)

    def _note(self, verb: str, kind: Kind, key: Key, subresource: str = "", body: Any = None) -> None:
        write = Write(verb, kind, key, subresource, copy.deepcopy(body))
        self.writes.append(write)
        self.refuse(write)


def _key(kind: Kind, obj: Object) -> Key:
    metadata = meta.metadata(obj)
    return envelope.locate(kind, metadata.get("name") or metadata.get("generateName") or "", metadata.get("namespace"))
