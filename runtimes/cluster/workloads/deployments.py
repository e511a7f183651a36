"""Deployments: a pod template and a number, kept by replica sets.

Law: one replica set per template, named by the template's hash; `spec.replicas` of the sets is the only thing changed
on the way from one to the other. The arithmetic is in `rollout`. IO: through the Client port.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from funcs.api import core, meta, names
from funcs.api.conditions import Condition, find
from funcs.api.meta import Key, Object, Objects
from funcs.control.client import Client, WriteOptions
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key
from funcs.errors import AlreadyExists

from . import rollout
from .rollout import Share

REVISION = "deployment.kubernetes.io/revision"
TEMPLATE_HASH = "pod-template-hash"
_WRITE = WriteOptions(manager="deployment-controller")


class Deployments:
    """Reconciles apps/v1 Deployments."""

    def __init__(self, client: Client, cache: Cache, clock: Clock) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock

    def controller(self) -> Controller:
        return Controller(
            "deployments",
            self.reconcile,
            (Watch(core.DEPLOYMENT), Watch(core.REPLICA_SET, owner_key(core.DEPLOYMENT))),
        )

    async def reconcile(self, key: Key) -> LookAgain | None:
        deployment = self._cache.get(core.DEPLOYMENT, key.name, key.namespace)
        if deployment is None or meta.is_deleting(deployment):
            return None
        owned = self._cache.owned_by(core.REPLICA_SET, meta.uid(deployment))
        owned.sort(key=lambda found: (meta.metadata(found).get("creationTimestamp", ""), meta.name(found)))
        new = next((found for found in owned if meta.name(found) == set_name(deployment)), None)
        if not meta.spec(deployment).get("paused"):
            await self._roll(deployment, new, [found for found in owned if found is not new])
        return await self._report(deployment, new, owned)

    async def _roll(self, deployment: Object, new: Object | None, old: Objects) -> None:
        if new is None:
            try:
                await self._client.create(core.REPLICA_SET, replica_set(deployment, old), _WRITE)
            except AlreadyExists:
                return  # the cache has not seen our own write yet; its event brings us back
            return
        wanted = replicas_by_set(deployment, new, old)
        for found in (new, *old):
            if _replicas(found) != wanted[meta.name(found)]:
                await self._client.patch(
                    core.REPLICA_SET,
                    meta.name(found),
                    {"spec": {"replicas": wanted[meta.name(found)]}},
                    meta.namespace(found),
                    options=_WRITE,
                )
        for found in retired(deployment, old):
            await self._client.delete(core.REPLICA_SET, meta.name(found), meta.namespace(found))

    async def _report(self, deployment: Object, new: Object | None, owned: Objects) -> LookAgain | None:
        now = self._clock.now()
        report = status(deployment, new, owned, now)
        if report != {name: value for name, value in meta.status(deployment).items() if name in report}:
            await self._client.patch_status(core.DEPLOYMENT, meta.name(deployment), report, meta.namespace(deployment))
        remaining = _remaining(deployment, report, now)
        return LookAgain(remaining) if remaining is not None else None


def template_hash(deployment: Object) -> str:
    """Ten characters that change whenever the pod template does."""
    text = json.dumps(meta.spec(deployment).get("template") or {}, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, rest = divmod(number, len(names.SAFE))
        letters.append(names.SAFE[rest])
    return "".join(letters)


def set_name(deployment: Object) -> str:
    return f"{meta.name(deployment)}-{template_hash(deployment)}"


def replica_set(deployment: Object, old: Objects) -> Object:
    """The replica set of the deployment's present template, at zero replicas until the rollout says otherwise."""
    spec = meta.spec(deployment)
    hash_label = {TEMPLATE_HASH: template_hash(deployment)}
    template = spec.get("template") or {}
    template_meta = dict(template.get("metadata") or {})
    template_meta["labels"] = (template_meta.get("labels") or {}) | hash_label
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | hash_label
    revision = 1 + max((int(meta.annotations(found).get(REVISION, "0")) for found in old), default=0)
    alone = not any(_replicas(found) for found in old)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": set_name(deployment),
            "namespace": meta.namespace(deployment),
            "labels": template_meta["labels"],
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [meta.controller_reference(deployment, core.DEPLOYMENT)],
        },
        "spec": {
            "replicas": _desired(deployment) if alone else 0,
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": selector,
            "template": {**template, "metadata": template_meta},
        },
    }


def replicas_by_set(deployment: Object, new: Object, old: Objects) -> dict[str, int]:
    """How many replicas each set should be asked for, by name."""
    strategy = meta.spec(deployment).get("strategy") or {}
    desired = _desired(deployment)
    shares = [_share(found) for found in old]
    if strategy.get("type") == "Recreate":
        pods = sum(int(meta.status(found).get("replicas", 0)) for found in old)
        return rollout.recreate(desired, _share(new), shares, pods)
    return rollout.rolling(desired, _share(new), shares, rollout.bounds(strategy.get("rollingUpdate"), desired))


def retired(deployment: Object, old: Objects) -> Objects:
    """Empty replica sets beyond `revisionHistoryLimit` (10 by default), oldest first."""
    empty = [found for found in old if _replicas(found) == 0 and not meta.status(found).get("replicas")]
    limit = meta.spec(deployment).get("revisionHistoryLimit", 10)
    return empty[: max(0, len(empty) - int(limit))]


def status(deployment: Object, new: Object | None, owned: Objects, now: float) -> Object:
    """The deployment's status; its counts are those of its replica sets."""
    counts = _Counts.of(owned)
    updated = int(meta.status(new).get("replicas", 0)) if new else 0
    desired = _desired(deployment)
    conditions = [_available(deployment, counts, desired), _progressing(deployment, new, counts, updated, now)]
    return {
        "observedGeneration": meta.generation(deployment),
        "replicas": counts.replicas,
        "updatedReplicas": updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": max(0, max(desired, counts.replicas) - counts.available),
        "conditions": [_render(condition, deployment, now) for condition in conditions],
    }


@dataclass(frozen=True, slots=True)
class _Counts:
    replicas: int
    ready: int
    available: int

    @classmethod
    def of(cls, owned: Objects) -> _Counts:
        return cls(
            *(
                sum(int(meta.status(found).get(name, 0)) for found in owned)
                for name in ("replicas", "readyReplicas", "availableReplicas")
            )
        )


def _available(deployment: Object, counts: _Counts, desired: int) -> Condition:
    limits = rollout.bounds((meta.spec(deployment).get("strategy") or {}).get("rollingUpdate"), desired)
    if counts.available >= desired - limits.unavailable:
        return Condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return Condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _progressing(deployment: Object, new: Object | None, counts: _Counts, updated: int, now: float) -> Condition:
    name = meta.name(new) if new else set_name(deployment)
    desired = _desired(deployment)
    if new and updated >= desired and counts.replicas == updated and counts.available >= desired:
        return Condition(
            "Progressing", "True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'
        )
    old = find(deployment, "Progressing")
    if old and old.reason == "ProgressDeadlineExceeded" and _same_generation(deployment):
        return old
    started = _progress_started(deployment)
    if started is not None and now - started >= _deadline(deployment):
        return Condition(
            "Progressing", "False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.'
        )
    return Condition("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')


def _render(condition: Condition, deployment: Object, now: float) -> Object:
    """As `conditions.ConditionSet` renders, plus the `lastUpdateTime` that Deployment conditions carry."""
    old: Object = next(
        (found for found in meta.status(deployment).get("conditions") or [] if found.get("type") == condition.type), {}
    )
    same_status = old.get("status") == condition.status
    same = same_status and old.get("reason") == condition.reason and old.get("message") == condition.message
    stamp = meta.timestamp(now)
    renewed = not same or (condition.type == "Progressing" and not _same_generation(deployment))
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": old["lastTransitionTime"] if same_status else stamp,
        "lastUpdateTime": stamp if renewed else old["lastUpdateTime"],
    }


def _same_generation(deployment: Object) -> bool:
    return bool(meta.status(deployment).get("observedGeneration") == meta.generation(deployment))


def _progress_started(deployment: Object) -> float | None:
    """When the present attempt began: the last update of a Progressing condition that is still at work."""
    if not _same_generation(deployment):
        return None
    for found in meta.status(deployment).get("conditions") or []:
        if found.get("type") == "Progressing" and found.get("reason") == "ReplicaSetUpdated":
            return meta.parse_timestamp(found["lastUpdateTime"])
    return None


def _remaining(deployment: Object, report: Object, now: float) -> float | None:
    """Seconds until the progress deadline, while there is one running."""
    for found in report["conditions"]:
        if found["type"] == "Progressing" and found["reason"] == "ReplicaSetUpdated":
            started = meta.parse_timestamp(found["lastUpdateTime"])
            return max(0.5, started + _deadline(deployment) - now)
    return None


def _deadline(deployment: Object) -> float:
    return float(meta.spec(deployment).get("progressDeadlineSeconds", 600))


def _desired(deployment: Object) -> int:
    return int(meta.spec(deployment).get("replicas", 1))


def _replicas(found: Object) -> int:
    return int(meta.spec(found).get("replicas", 1))


def _share(found: Object) -> Share:
    return Share(meta.name(found), _replicas(found), int(meta.status(found).get("availableReplicas", 0)))
