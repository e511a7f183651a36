"""Eventing's controllers: brokers, triggers, injection. They live beside the data plane that they program."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from funcs.api import core, meta
from funcs.api.eventing import BROKER, BROKER_LABEL, DEFAULT_BROKER, TRIGGER
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, Controller, Watch

from .brokers import Brokers
from .injection import Injection
from .plane import DataPlane
from .resolver import ADDRESSABLE, Resolver, Tracker
from .triggers import Triggers

__all__ = ["ADDRESSABLE", "DataPlane", "controllers"]


def controllers(
    client: Client, cache: Cache, clock: Clock, plane: DataPlane, *, cluster_domain: str = "cluster.local"
) -> list[Controller]:
    of_brokers, of_triggers = Tracker(), Tracker()
    brokers = Brokers(client, cache, clock, plane, Resolver(cache, of_brokers, cluster_domain), of_brokers)
    triggers = Triggers(client, cache, clock, plane, Resolver(cache, of_triggers, cluster_domain), of_triggers)

    def of_broker(broker: Object) -> Iterable[Key]:
        """The triggers that name it, and those that deliver to it."""
        named = cache.list(TRIGGER, meta.namespace(broker), {BROKER_LABEL: meta.name(broker)})
        return {*(meta.key(trigger) for trigger in named), *of_triggers.interested_in(BROKER, broker)}

    addressed = [Watch(kind, _interested(of_triggers, kind)) for kind in ADDRESSABLE if kind != BROKER]
    return [
        Controller(
            "brokers",
            brokers.reconcile,
            (
                Watch(BROKER),
                *(Watch(kind, _interested(of_brokers, kind)) for kind in ADDRESSABLE),
            ),
        ),
        Controller("triggers", triggers.reconcile, (Watch(TRIGGER), Watch(BROKER, of_broker), *addressed)),
        Controller(
            "broker-injection",
            Injection(client, cache).reconcile,
            (
                Watch(core.NAMESPACE, lambda namespace: (Key("", meta.name(namespace)),)),
                Watch(TRIGGER, lambda trigger: (Key("", meta.namespace(trigger)),)),
                Watch(BROKER, _default_broker),
            ),
            concurrency=1,
        ),
    ]


def _interested(tracker: Tracker, kind: Kind) -> Callable[[Object], Iterable[Key]]:
    return lambda obj: tracker.interested_in(kind, obj)


def _default_broker(broker: Object) -> Iterable[Key]:
    return (Key("", meta.namespace(broker)),) if meta.name(broker) == DEFAULT_BROKER else ()
