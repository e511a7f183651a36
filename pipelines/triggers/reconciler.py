"""EventListeners: addressed and Ready as soon as they exist, since one door serves them all.

Law: `decide` is pure. Conditions are Tekton's; the Service and the Deployment that it makes for each listener are here
the one listening process. No IO but the client's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from funcs.api import meta, names
from funcs.api.conditions import Condition, ConditionSet
from funcs.api.meta import Key, Object
from funcs.api.triggers import EVENT_LISTENER
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, Watch

CONDITIONS = ConditionSet(("Available", "Deployment", "Service"))
_MARKS = (
    Condition("Available", "True", "MinimumReplicasAvailable", "The listener is being served."),
    Condition("Deployment", "True"),
    Condition("Progressing", "True", "NewReplicaSetAvailable"),
    Condition("Service", "True"),
)


def decide(listener: Object, url: str, now: float) -> Object:
    return {
        "observedGeneration": meta.generation(listener),
        "conditions": CONDITIONS.compute(_MARKS, listener, now),
        "address": {"url": url},
        "configuration": {"generatedName": names.child("el-", meta.name(listener))},
    }


@dataclass(frozen=True, slots=True)
class EventListeners:
    client: Client
    cache: Cache
    clock: Clock
    url: Callable[[Key], str]

    async def reconcile(self, key: Key) -> None:
        listener = self.cache.get(EVENT_LISTENER, key.name, key.namespace)
        if listener is None or meta.is_deleting(listener):
            return
        wanted = decide(listener, self.url(key), self.clock.now())
        present = meta.status(listener)
        changed = {name: value for name, value in wanted.items() if present.get(name) != value}
        if changed:
            await self.client.patch_status(EVENT_LISTENER, key.name, changed, key.namespace)


def controllers(client: Client, cache: Cache, clock: Clock, url: Callable[[Key], str]) -> list[Controller]:
    """`url` gives the address of a listener's door."""
    reconcile = EventListeners(client, cache, clock, url).reconcile
    return [Controller("event-listeners", reconcile, (Watch(EVENT_LISTENER),))]
