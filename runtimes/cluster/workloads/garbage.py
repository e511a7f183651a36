"""The garbage collector: dependents follow their owners.

Law: an object is deleted only when every owner it names is gone, confirmed by a fresh read, never on the cache's word.
Background, foreground and orphan propagation are finalizers on the owner (`foregroundDeletion`, `orphan`), as in
Kubernetes (pkg/controller/garbagecollector). IO: through the Client port.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial

from funcs.api import core, meta
from funcs.api.catalog import BY_IDENTITY, KINDS
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.client import Client, DeleteOptions, WriteOptions
from funcs.control.controller import Cache, Controller, Watch
from funcs.errors import NotFound

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_WRITE = WriteOptions(manager="garbage-collector")
_EVENTS = (core.EVENT, core.LEASE)  # never owners, rarely owned, always many


@dataclass(frozen=True, slots=True)
class Node:
    """An object as the graph knows it."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    owners: tuple[str, ...]


class Graph:
    """Who names whom as owner, by uid. Pure."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = defaultdict(set)

    def observe(self, kind: Kind, obj: Object) -> Node:
        owners = tuple(reference["uid"] for reference in meta.metadata(obj).get("ownerReferences") or [])
        node = Node(kind, meta.namespace(obj), meta.name(obj), meta.uid(obj), owners)
        self._unlink(node.uid)
        self._nodes[node.uid] = node
        for owner in owners:
            self._dependents[owner].add(node.uid)
        return node

    def forget(self, uid: str) -> None:
        self._unlink(uid)
        self._nodes.pop(uid, None)

    def node(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        return sorted(
            (self._nodes[found] for found in self._dependents.get(uid, ()) if found in self._nodes),
            key=lambda node: (node.kind.resource, node.namespace, node.name),
        )

    def _unlink(self, uid: str) -> None:
        known = self._nodes.get(uid)
        for owner in known.owners if known else ():
            self._dependents[owner].discard(uid)
            if not self._dependents[owner]:
                del self._dependents[owner]


class Garbage:
    """One controller over every kind; its keys are uids (in `Key.name`)."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache
        self._graph = Graph()

    def controller(self) -> Controller:
        watches = tuple(Watch(kind, partial(self._keys, kind)) for kind in KINDS if kind not in _EVENTS)
        return Controller("garbage", self.reconcile, watches)

    def _keys(self, kind: Kind, obj: Object) -> list[Key]:
        node = self._graph.observe(kind, obj)
        concerned = {node.uid, *node.owners, *(found.uid for found in self._graph.dependents(node.uid))}
        return [Key("", uid) for uid in concerned]

    async def reconcile(self, key: Key) -> None:
        node = self._graph.node(key.name)
        if node is None:
            return
        obj = self._cache.get(node.kind, node.name, node.namespace)
        if obj is None or meta.uid(obj) != node.uid:
            for dependent in self._graph.dependents(node.uid):
                await self._examine(dependent)
            self._graph.forget(node.uid)
            return
        if meta.is_deleting(obj):
            await self._finalize(node, obj)
        await self._examine(node)

    async def _examine(self, node: Node) -> None:
        """Delete `node` if all its owners are gone; drop references to those that are, if some are not."""
        obj = self._cache.get(node.kind, node.name, node.namespace)
        if obj is None or meta.uid(obj) != node.uid or not node.owners:
            return
        references = meta.metadata(obj).get("ownerReferences") or []
        living = [reference for reference in references if await self._lives(reference, node.namespace)]
        if len(living) == len(references):
            return
        if living:
            await self._patch(node, {"metadata": {"ownerReferences": living}})
        elif not meta.is_deleting(obj):
            await self._delete(node, "Foreground" if FOREGROUND in meta.finalizers(obj) else "Background")

    async def _lives(self, reference: Object, namespace: str) -> bool:
        group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
        kind = BY_IDENTITY.get((group, version, str(reference.get("kind") or "")))
        if kind is None:
            return True  # of a kind that is not served: not ours to judge
        place = namespace if kind.namespaced else ""
        cached = self._cache.get(kind, reference["name"], place)
        if cached is not None and meta.uid(cached) == reference.get("uid"):
            return True
        try:
            found = await self._client.get(kind, reference["name"], place or None)
        except NotFound:
            return False
        return meta.uid(found) == reference.get("uid")

    async def _finalize(self, node: Node, obj: Object) -> None:
        finalizers = meta.finalizers(obj)
        dependents = self._graph.dependents(node.uid)
        if FOREGROUND in finalizers:
            blocking = [found for found in dependents if self._blocks(found, node.uid)]
            for dependent in dependents:
                child = self._cache.get(dependent.kind, dependent.name, dependent.namespace)
                if child is not None and not meta.is_deleting(child):
                    await self._delete(dependent, "Foreground")
            if not blocking:
                await self._release(node, finalizers, FOREGROUND)
        elif ORPHAN in finalizers:
            for dependent in dependents:
                await self._disown(dependent, node.uid)
            await self._release(node, finalizers, ORPHAN)

    def _blocks(self, dependent: Node, owner: str) -> bool:
        child = self._cache.get(dependent.kind, dependent.name, dependent.namespace)
        references = meta.metadata(child).get("ownerReferences") or [] if child else []
        return any(found.get("uid") == owner and found.get("blockOwnerDeletion") for found in references)

    async def _disown(self, dependent: Node, owner: str) -> None:
        child = self._cache.get(dependent.kind, dependent.name, dependent.namespace)
        if child is not None:
            kept = [found for found in meta.metadata(child).get("ownerReferences") or [] if found.get("uid") != owner]
            await self._patch(dependent, {"metadata": {"ownerReferences": kept}})

    async def _release(self, node: Node, finalizers: list[str], done: str) -> None:
        await self._patch(node, {"metadata": {"finalizers": [found for found in finalizers if found != done]}})

    async def _patch(self, node: Node, patch: Object) -> None:
        try:
            await self._client.patch(node.kind, node.name, patch, node.namespace or None, options=_WRITE)
        except NotFound:
            return

    async def _delete(self, node: Node, propagation: str) -> None:
        options = DeleteOptions(propagation="Foreground" if propagation == "Foreground" else "Background", uid=node.uid)
        try:
            await self._client.delete(node.kind, node.name, node.namespace or None, options)
        except NotFound:
            return
