"""Brokers: opened in the data plane, addressed, and told where their dead letters go.

Law: `decide` is pure. Conditions and reasons are those of Knative's MTChannelBasedBroker, whose channel, ingress and
filter are one here: the data plane. Brokers of another class are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from funcs.api import eventing, meta
from funcs.api.conditions import Condition, ConditionSet
from funcs.api.eventing import BROKER
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache
from funcs.errors import NotFound, Unavailable

from .plane import DataPlane, write_status
from .resolver import Resolver, Tracker

CONDITIONS = ConditionSet(
    (
        "Addressable",
        "DeadLetterSinkResolved",
        "EventPoliciesReady",
        "FilterReady",
        "IngressReady",
        "TriggerChannelReady",
    )
)
NO_SINK = Condition(
    "DeadLetterSinkResolved", "True", "DeadLetterSinkNotConfigured", "No dead letter sink is configured."
)
SINK_RESOLVED = Condition("DeadLetterSinkResolved", "True")
_ALWAYS = (
    Condition("IngressReady", "True"),
    Condition("TriggerChannelReady", "True"),
    Condition("FilterReady", "True"),
    Condition("Addressable", "True"),
    Condition("EventPoliciesReady", "True", "OIDCDisabled", "Event policies take effect with authentication only."),
)


def sink_failed(why: str) -> Condition:
    return Condition("DeadLetterSinkResolved", "False", "Unable to get the dead letter sink's URI", why)


def decide(broker: Object, address: str, sink: str | None, mark: Condition, now: float) -> Object:
    """The status of a broker that is open at `address`; `mark` says how its dead letter sink was resolved."""
    return {
        "observedGeneration": meta.generation(broker),
        "conditions": CONDITIONS.compute((*_ALWAYS, mark), broker, now),
        "address": {"name": "http", "url": address},
        "deadLetterSinkUri": sink,
    }


@dataclass(frozen=True, slots=True)
class Brokers:
    client: Client
    cache: Cache
    clock: Clock
    plane: DataPlane
    resolver: Resolver
    tracker: Tracker

    async def reconcile(self, key: Key) -> None:
        self.tracker.begin(key)
        broker = self.cache.get(BROKER, key.name, key.namespace)
        if broker is None or meta.is_deleting(broker) or not is_ours(broker):
            self.plane.close(str(key))
            return
        sink, mark = self._sink(broker, key)
        self.plane.open(str(key))
        wanted = decide(broker, self.plane.address(str(key)), sink, mark, self.clock.now())
        await write_status(self.client, BROKER, broker, wanted)

    def _sink(self, broker: Object, key: Key) -> tuple[str | None, Condition]:
        delivery = msgspec.convert(broker, eventing.Broker).spec.delivery
        if delivery is None or delivery.dead_letter_sink is None:
            return None, NO_SINK
        try:
            return self.resolver.url(delivery.dead_letter_sink, key), SINK_RESOLVED
        except (NotFound, Unavailable) as error:
            return None, sink_failed(error.message)


def is_ours(broker: Object) -> bool:
    return meta.annotations(broker).get(eventing.CLASS_ANNOTATION) == eventing.CLASS
