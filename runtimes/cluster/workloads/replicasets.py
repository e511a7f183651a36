"""Replica sets: so many pods of one template.

Law: a pod's name is made from the set's uid and a slot number, so a create repeated from a stale cache meets its own
earlier pod (AlreadyExists) instead of making one too many. IO: through the Client port.
"""

from __future__ import annotations

import hashlib

from funcs.api import core, meta, names
from funcs.api.conditions import is_true
from funcs.api.meta import Key, Object, Objects
from funcs.control.client import Client, WriteOptions
from funcs.control.controller import Cache, Controller, Watch, owner_key
from funcs.errors import AlreadyExists, NotFound

_WRITE = WriteOptions(manager="replicaset-controller")


class ReplicaSets:
    """Reconciles apps/v1 ReplicaSets."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def controller(self) -> Controller:
        return Controller(
            "replicasets",
            self.reconcile,
            (Watch(core.REPLICA_SET), Watch(core.POD, owner_key(core.REPLICA_SET))),
        )

    async def reconcile(self, key: Key) -> None:
        found = self._cache.get(core.REPLICA_SET, key.name, key.namespace)
        if found is None or meta.is_deleting(found):
            return
        pods = self._cache.owned_by(core.POD, meta.uid(found))
        for name in missing(found, pods):
            try:
                await self._client.create(core.POD, pod(found, name), _WRITE)
            except AlreadyExists:
                continue
        for extra in surplus(found, pods):
            try:
                await self._client.delete(core.POD, meta.name(extra), meta.namespace(extra))
            except NotFound:
                continue
        report = status(found, pods)
        if report != {name: value for name, value in meta.status(found).items() if name in report}:
            await self._client.patch_status(core.REPLICA_SET, key.name, report, key.namespace)


def is_active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return meta.status(pod).get("phase") not in ("Succeeded", "Failed") and not meta.is_deleting(pod)


def missing(replica_set: Object, pods: Objects) -> list[str]:
    """Names of the pods to create: the lowest slots that nobody, not even a finished pod, holds."""
    taken = {meta.name(pod) for pod in pods}
    lacking = _wanted(replica_set) - sum(1 for pod in pods if is_active(pod))
    made: list[str] = []
    slot = 0
    while len(made) < lacking:
        name = pod_name(replica_set, slot)
        if name not in taken:
            made.append(name)
        slot += 1
    return made


def surplus(replica_set: Object, pods: Objects) -> Objects:
    """The pods to delete: not ready before ready, younger before older."""
    active = [pod for pod in pods if is_active(pod)]
    active.sort(key=lambda pod: (is_true(pod), _age_rank(pod), meta.name(pod)))
    return active[: max(0, len(active) - _wanted(replica_set))]


def pod_name(replica_set: Object, slot: int) -> str:
    digest = hashlib.sha256(f"{meta.uid(replica_set)}/{slot}".encode()).digest()
    return names.child(meta.name(replica_set), "-" + "".join(names.SAFE[byte % len(names.SAFE)] for byte in digest[:5]))


def pod(replica_set: Object, name: str) -> Object:
    template = meta.spec(replica_set).get("template") or {}
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": meta.namespace(replica_set),
            "labels": dict(given.get("labels") or {}),
            "annotations": dict(given.get("annotations") or {}),
            "ownerReferences": [meta.controller_reference(replica_set, core.REPLICA_SET)],
        },
        "spec": dict(template.get("spec") or {}),
    }


def status(replica_set: Object, pods: Objects) -> Object:
    active = [pod for pod in pods if is_active(pod)]
    ready = sum(1 for pod in active if is_true(pod))
    return {
        "observedGeneration": meta.generation(replica_set),
        "replicas": len(active),
        "fullyLabeledReplicas": len(active),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }


def _wanted(replica_set: Object) -> int:
    return int(meta.spec(replica_set).get("replicas", 1))


def _age_rank(pod: Object) -> float:
    """Younger first."""
    created = meta.metadata(pod).get("creationTimestamp")
    return -meta.parse_timestamp(created) if created else 0.0
