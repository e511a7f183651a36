"""A `default` Broker where one is asked for: by the namespace's label, or by a Trigger's annotation.

Law: only ever creates; a Broker that is there is nobody's business here. Source: Knative's sugar controllers.
"""

from __future__ import annotations

from dataclasses import dataclass

from funcs.api import core, meta
from funcs.api.eventing import BROKER, DEFAULT_BROKER, INJECTION, TRIGGER
from funcs.api.meta import Key
from funcs.control.client import Client
from funcs.control.controller import Cache
from funcs.errors import AlreadyExists


@dataclass(frozen=True, slots=True)
class Injection:
    """Keys are namespaces."""

    client: Client
    cache: Cache

    async def reconcile(self, key: Key) -> None:
        if self.cache.get(BROKER, DEFAULT_BROKER, key.name) is not None or not self._is_wanted(key.name):
            return
        broker = {
            "apiVersion": BROKER.api_version,
            "kind": BROKER.kind,
            "metadata": {
                "name": DEFAULT_BROKER,
                "namespace": key.name,
                "labels": {"eventing.knative.dev/injected": "true"},
            },
        }
        try:
            await self.client.create(BROKER, broker)
        except AlreadyExists:
            return

    def _is_wanted(self, name: str) -> bool:
        namespace = self.cache.get(core.NAMESPACE, name)
        if namespace is None or meta.is_deleting(namespace):
            return False
        asked = (meta.annotations(trigger).get(INJECTION) for trigger in self.cache.list(TRIGGER, name))
        return meta.labels(namespace).get(INJECTION) == "enabled" or "enabled" in asked
