"""Configuration: stamps out a Revision for each generation of its template, and knows the latest ready one.

Law: creates Revisions, never changes one; latestReady never moves back.
"""

from __future__ import annotations

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.conditions import Condition, ConditionSet, find
from funcs.api.meta import Key, Object
from funcs.api.serving import CONFIGURATION, REVISION
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, LookAgain, Watch, owner_key

from ..children import claims, revision_for, revision_name
from ..latest import latest_ready
from .writing import say

CONDITIONS = ConditionSet(())


class ConfigurationReconciler:
    """Keys are Configurations."""

    def __init__(self, client: Client, cache: Cache, clock: Clock) -> None:
        self._client, self._cache, self._clock = client, cache, clock

    def controller(self) -> Controller:
        watches = (Watch(CONFIGURATION), Watch(REVISION, owner_key(CONFIGURATION)))
        return Controller("configuration", self.reconcile, watches)

    async def reconcile(self, key: Key) -> LookAgain | None:
        configuration = self._cache.get(CONFIGURATION, key.name, key.namespace)
        if configuration is None or meta.is_deleting(configuration):
            return None
        created = self._cache.get(REVISION, revision_name(configuration), key.namespace)
        if created is None:
            now = meta.timestamp(self._clock.now())
            created = await self._client.create(REVISION, revision_for(configuration, now))
        await self._say(configuration, created)
        return None

    async def _say(self, configuration: Object, created: Object) -> None:
        own = self._cache.list(REVISION, meta.namespace(configuration), {keys.CONFIGURATION: meta.name(configuration)})
        status: Object = {"observedGeneration": meta.generation(configuration)}
        before = str(meta.status(configuration).get("latestReadyRevisionName") or "")
        if claims(configuration, created):
            status["latestCreatedRevisionName"] = meta.name(created)
            latest = latest_ready(own, before, meta.name(created))
            mark = _of_revision(created)
        else:
            latest = latest_ready(own, before, "")
            mark = _taken(meta.name(created))
        if latest:
            status["latestReadyRevisionName"] = latest
        status["conditions"] = CONDITIONS.compute([mark], configuration, self._clock.now())
        await say(self._client, CONFIGURATION, configuration, status)


def _of_revision(created: Object) -> Condition:
    ready = find(created, "Ready")
    if ready is None or ready.status == "Unknown":
        return Condition("Ready")
    if ready.status == "True":
        return Condition("Ready", "True")
    text = f'Revision "{meta.name(created)}" failed with message: {ready.message.rstrip(".")}.'
    return Condition("Ready", "False", "RevisionFailed", text)


def _taken(name: str) -> Condition:
    text = f'Revision creation failed with message: revisions.serving.knative.dev "{name}" already exists.'
    return Condition("Ready", "False", "RevisionFailed", text)
