"""Triggers: resolved, programmed into the data plane, and only then Ready.

Law: `subscriberUri` is set before Ready and emptied when it cannot be resolved; a trigger may come before its broker
and recovers by itself. Phases run in order and each may end the pass; what is not marked stays Unknown. Conditions and
reasons are those of Knative's trigger reconciler.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from funcs.api import eventing, meta
from funcs.api.conditions import Condition, ConditionSet, find, is_ready
from funcs.api.eventing import BROKER, DEPENDENCY_ANNOTATION, TRIGGER
from funcs.api.meta import Key, Object
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.controller import Cache, LookAgain
from funcs.errors import Invalid, NotFound, Unavailable

from ..delivery import Subscription
from ..filters import compile_filter
from ..retry import policy_for
from .brokers import NO_SINK, SINK_RESOLVED, is_ours, sink_failed
from .plane import DataPlane, write_status
from .resolver import Resolver, Tracker

CONDITIONS = ConditionSet(
    (
        "BrokerReady",
        "DeadLetterSinkResolved",
        "DependencyReady",
        "OIDCIdentityCreated",
        "SubscriberResolved",
        "SubscriptionReady",
    )
)
_NO_OIDC = Condition("OIDCIdentityCreated", "True", "authentication-oidc feature disabled")
_AGAIN = LookAgain(5.0)


@dataclass(slots=True)
class Pass:
    """One look at one trigger: what was found out so far."""

    key: Key
    trigger: Object
    view: eventing.Trigger
    marks: list[Condition] = field(default_factory=lambda: [_NO_OIDC])
    subscriber: str | None = None
    sink: str | None = None

    def status(self, now: float) -> Object:
        return {
            "observedGeneration": meta.generation(self.trigger),
            "conditions": CONDITIONS.compute(self.marks, self.trigger, now),
            "subscriberUri": self.subscriber,
            "deadLetterSinkUri": self.sink,
        }


@dataclass(frozen=True, slots=True)
class Triggers:
    client: Client
    cache: Cache
    clock: Clock
    plane: DataPlane
    resolver: Resolver
    tracker: Tracker

    async def reconcile(self, key: Key) -> LookAgain | None:
        self.tracker.begin(key)
        trigger = self.cache.get(TRIGGER, key.name, key.namespace)
        if trigger is None or meta.is_deleting(trigger):
            await self.plane.remove(key)
            return None
        view = msgspec.convert(trigger, eventing.Trigger)
        broker = self.cache.get(BROKER, view.spec.broker, key.namespace)
        if broker is not None and not is_ours(broker):
            await self.plane.remove(key)
            return None
        found = Pass(key, trigger, view)
        again = await self._phases(found, broker)
        await write_status(self.client, TRIGGER, trigger, found.status(self.clock.now()))
        return again

    async def _phases(self, found: Pass, broker: Object | None) -> LookAgain | None:
        if broker is None:
            found.marks.append(_no_broker(found.view.spec.broker))
            self.plane.suspend(found.key)
            return None
        found.marks.append(broker_mark(broker))
        if not is_ready(broker) or not self._resolve(found) or not self._resolve_sink(found, broker):
            return None
        if not await self._program(found, broker):
            return _AGAIN
        found.marks.append(self._dependency_mark(found))
        return None

    def _resolve(self, found: Pass) -> bool:
        try:
            found.subscriber = self.resolver.url(found.view.spec.subscriber, found.key)
        except (NotFound, Unavailable) as error:
            reason = "Unable to get the Subscriber's URI"
            found.marks.append(Condition("SubscriberResolved", "False", reason, error.message))
            self.plane.suspend(found.key)
            return False
        found.marks.append(Condition("SubscriberResolved", "True"))
        return True

    def _resolve_sink(self, found: Pass, broker: Object) -> bool:
        """The trigger's own, or else the broker's. Without one, deliveries programmed before go on as they were."""
        own, theirs = found.view.spec.delivery, msgspec.convert(broker, eventing.Broker)
        mark = SINK_RESOLVED
        if own is not None and own.dead_letter_sink is not None:
            try:
                found.sink = self.resolver.url(own.dead_letter_sink, found.key)
            except (NotFound, Unavailable) as error:
                mark = sink_failed(error.message)
        elif theirs.spec.delivery is not None and theirs.spec.delivery.dead_letter_sink is not None:
            found.sink = theirs.status.dead_letter_sink_uri
            if not found.sink:
                reason = f"Broker {meta.name(broker)} didn't set status.deadLetterSinkURI"
                mark = Condition("DeadLetterSinkResolved", "False", reason)
        else:
            mark = NO_SINK
        found.marks.append(mark)
        return mark.status == "True"

    async def _program(self, found: Pass, broker: Object) -> bool:
        try:
            await self.plane.program(found.key, subscription_for(found, broker))
        except Unavailable as error:
            found.marks.append(Condition("SubscriptionReady", "False", "NotSubscribed", error.message))
            return False
        found.marks.append(Condition("SubscriptionReady", "True"))
        return True

    def _dependency_mark(self, found: Pass) -> Condition:
        annotation = meta.annotations(found.trigger).get(DEPENDENCY_ANNOTATION)
        if annotation is None:
            return Condition("DependencyReady", "True")
        try:
            return dependency_mark(self.resolver.referent(eventing.dependency(annotation), found.key))
        except Invalid as error:
            return Condition("DependencyReady", "False", "ReferenceError", error.message)
        except NotFound as error:
            message = f"Dependency does not exist: {error.message}"
            return Condition("DependencyReady", "False", "DependencyDoesNotExist", message)


def subscription_for(found: Pass, broker: Object) -> Subscription:
    """What the data plane is to do for a trigger that is resolved."""
    spec = found.view.spec
    legacy = spec.filter.attributes if spec.filter is not None else None
    return Subscription(
        uid=meta.uid(found.trigger),
        namespace=found.key.namespace,
        name=found.key.name,
        broker=f"{found.key.namespace}/{spec.broker}",
        subscriber=found.subscriber,
        dead_letter_sink=found.sink,
        policy=policy_for(spec.delivery, msgspec.convert(broker, eventing.Broker).spec.delivery),
        wants=(legacy, spec.filters),
        filter=compile_filter(legacy, spec.filters),
    )


def broker_mark(broker: Object) -> Condition:
    """The broker's Ready, as the trigger's BrokerReady."""
    ready = find(broker, "Ready")
    if ready is None or (ready.status == "True" and not is_ready(broker)):
        return Condition("BrokerReady", "Unknown", "BrokerNotConfigured", "Broker has not yet been reconciled.")
    if ready.status == "True":
        return Condition("BrokerReady", "True")
    return Condition("BrokerReady", ready.status, ready.reason, ready.message)


def dependency_mark(dependency: Object) -> Condition:
    """A dependency's Ready, once it is of the dependency's present generation."""
    generation, observed = meta.generation(dependency), meta.status(dependency).get("observedGeneration", 0)
    if generation != observed:
        message = (
            f"The dependency's metadata.generation, {generation}, is not equal to its "
            f"status.observedGeneration, {observed}."
        )
        return Condition("DependencyReady", "Unknown", "GenerationNotEqual", message)
    ready = find(dependency, "Ready")
    if ready is None:
        message = "Dependency has not yet been reconciled."
        return Condition("DependencyReady", "Unknown", "DependencyNotConfigured", message)
    if ready.status == "True":
        return Condition("DependencyReady", "True")
    return Condition("DependencyReady", ready.status, ready.reason, ready.message)


def _no_broker(name: str) -> Condition:
    return Condition("BrokerReady", "False", "BrokerDoesNotExist", f'Broker "{name}" does not exist')
