"""Brokers and triggers: objects in, conditions and a programmed data plane out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from funcs.api import meta, schema
from funcs.api.conditions import find, is_ready
from funcs.api.eventing import BROKER, RULES, TRIGGER, VIEWS
from funcs.api.meta import Key, Object
from funcs.api.serving import SERVICE as KSVC
from funcs.control.controller import Cache, Controller
from funcs.control.memory import MemoryClient
from funcs.control.testing import Chaos, World
from funcs.errors import Unavailable
from runtimes.eventing.controllers import controllers
from runtimes.eventing.delivery import Subscription


class FakePlane:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.open_brokers: set[str] = set()
        self.programmed: dict[Key, Subscription] = {}
        self.suspended: set[Key] = set()
        self.full = False

    def address(self, broker: str) -> str:
        return f"http://broker/{broker}"

    def open(self, broker: str) -> None:
        self.open_brokers.add(broker)

    def close(self, broker: str) -> None:
        self.open_brokers.discard(broker)

    async def program(self, trigger: Key, subscription: Subscription) -> None:
        if self.full:
            raise Unavailable("the log is full")
        self.programmed[trigger] = subscription
        self.suspended.discard(trigger)

    def suspend(self, trigger: Key) -> None:
        self.suspended.add(trigger)

    async def remove(self, trigger: Key) -> None:
        self.programmed.pop(trigger, None)


class Cluster:
    """A world with eventing's controllers over a fake data plane."""

    def __init__(self, chaos: Chaos | None = None) -> None:
        self.plane = FakePlane()
        self.client = MemoryClient(rules=RULES)
        self.world = World(self._controllers, self.client, chaos=chaos)

    def _controllers(self, client: MemoryClient, cache: Cache) -> Sequence[Controller]:
        return controllers(client, cache, client.clock, self.plane)

    async def settle(self, *objects: Object) -> None:
        for obj in objects:
            kind = TRIGGER if obj["kind"] == "Trigger" else BROKER
            await self.client.create(kind, obj)
        await self.world.settle()

    async def get(self, kind: Any, name: str) -> Object:
        return await self.client.get(kind, name, "default")


def broker(name: str = "default", spec: Object | None = None, **annotations: str) -> Object:
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": spec or {},
    }


def trigger(
    name: str = "t", subscriber: Object | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> Object:
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
        "spec": {"broker": "default", "subscriber": subscriber or {"uri": "http://sub/"}, **spec},
    }


def ksvc(name: str, url: str = "") -> Object:
    status = {"address": {"url": url}} if url else {}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "status": status,
    }


def ref(name: str, uri: str | None = None) -> Object:
    found: Object = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name}}
    return {**found, "uri": uri} if uri else found


def condition(obj: Object, type: str) -> tuple[str, str]:
    found = find(obj, type)
    assert found is not None
    return found.status, found.reason


async def test_a_broker_is_opened_and_addressed() -> None:
    cluster = Cluster()
    await cluster.settle(broker())
    found = await cluster.get(BROKER, "default")
    assert is_ready(found)
    assert found["status"]["address"]["url"] == "http://broker/default/default"
    assert condition(found, "DeadLetterSinkResolved") == ("True", "DeadLetterSinkNotConfigured")
    assert cluster.plane.open_brokers == {"default/default"}
    await cluster.client.delete(BROKER, "default", "default")
    await cluster.settle()
    assert cluster.plane.open_brokers == set()


async def test_a_broker_of_another_class_is_left_alone() -> None:
    cluster = Cluster()
    await cluster.settle(broker(**{"eventing.knative.dev/broker.class": "Kafka"}), trigger())
    assert "status" not in await cluster.get(BROKER, "default")
    assert "status" not in await cluster.get(TRIGGER, "t")
    assert cluster.plane.open_brokers == set()


async def test_a_trigger_is_ready_once_programmed() -> None:
    cluster = Cluster()
    await cluster.settle(broker(), trigger(filter={"attributes": {"type": "a"}}))
    found = await cluster.get(TRIGGER, "t")
    assert is_ready(found)
    assert found["status"]["subscriberUri"] == "http://sub/"
    programmed = cluster.plane.programmed[Key("default", "t")]
    assert (programmed.broker, programmed.subscriber, programmed.uid) == (
        "default/default",
        "http://sub/",
        meta.uid(found),
    )
    assert (programmed.policy.retries, programmed.policy.delay) == (10, 0.2), "the default delivery of brokers"
    assert programmed.filter.matches({"type": "a"})
    assert not programmed.filter.matches({"type": "b"})


async def test_a_trigger_may_come_before_its_broker() -> None:
    cluster = Cluster()
    await cluster.settle(trigger())
    found = await cluster.get(TRIGGER, "t")
    assert condition(found, "Ready") == ("False", "BrokerDoesNotExist")
    await cluster.settle(broker())
    assert is_ready(await cluster.get(TRIGGER, "t"))


async def test_a_trigger_of_a_deleted_broker_is_suspended() -> None:
    cluster = Cluster()
    await cluster.settle(broker(), trigger())
    await cluster.client.delete(BROKER, "default", "default")
    await cluster.settle()
    assert condition(await cluster.get(TRIGGER, "t"), "Ready") == ("False", "BrokerDoesNotExist")
    assert cluster.plane.suspended == {Key("default", "t")}


async def test_the_subscriber_is_emptied_when_it_cannot_be_resolved_and_comes_back() -> None:
    cluster = Cluster()
    cluster.client.seed(ksvc("hello", "http://hello.default.svc.cluster.local"))
    await cluster.settle(broker(), trigger(subscriber=ref("hello", "/path")))
    found = await cluster.get(TRIGGER, "t")
    assert found["status"]["subscriberUri"] == "http://hello.default.svc.cluster.local/path"
    await cluster.client.delete(KSVC, "hello", "default")
    await cluster.settle()
    found = await cluster.get(TRIGGER, "t")
    assert "subscriberUri" not in found["status"]
    assert condition(found, "SubscriberResolved") == ("False", "Unable to get the Subscriber's URI")
    assert condition(found, "Ready")[0] == "False"
    assert cluster.plane.suspended == {Key("default", "t")}
    cluster.client.seed(ksvc("hello", "http://elsewhere"))
    await cluster.settle()
    assert (await cluster.get(TRIGGER, "t"))["status"]["subscriberUri"] == "http://elsewhere/path"


async def test_a_kubernetes_service_is_reached_by_its_name() -> None:
    cluster = Cluster()
    cluster.client.seed({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "other"}})
    subscriber = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "s", "namespace": "other"}}
    await cluster.settle(broker(), trigger(subscriber=subscriber))
    assert (await cluster.get(TRIGGER, "t"))["status"]["subscriberUri"] == "http://s.other.svc.cluster.local"


@pytest.mark.parametrize(
    ("subscriber", "message"),
    [
        (ref("absent"), 'services.serving.knative.dev "absent" not found'),
        (ref("early"), "address not set for Service default/early"),
        ({"ref": {"apiVersion": "x/v1", "kind": "Y", "name": "n"}}, "Y in x/v1 has no address that is known here"),
    ],
)
async def test_why_a_subscriber_is_not_resolved(subscriber: Object, message: str) -> None:
    cluster = Cluster()
    cluster.client.seed(ksvc("early"))
    await cluster.settle(broker(), trigger(subscriber=subscriber))
    found = find(await cluster.get(TRIGGER, "t"), "SubscriberResolved")
    assert found is not None
    assert message in found.message


async def test_the_dead_letter_sink_is_resolved_before_ready() -> None:
    cluster = Cluster()
    await cluster.settle(broker(), trigger(delivery={"deadLetterSink": ref("sink")}))
    assert condition(await cluster.get(TRIGGER, "t"), "Ready") == ("False", "Unable to get the dead letter sink's URI")
    assert cluster.plane.programmed == {}
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle()
    found = await cluster.get(TRIGGER, "t")
    assert is_ready(found)
    assert found["status"]["deadLetterSinkUri"] == "http://sink"
    assert cluster.plane.programmed[Key("default", "t")].dead_letter_sink == "http://sink"


async def test_a_trigger_without_a_sink_has_its_brokers() -> None:
    cluster = Cluster()
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle(broker(spec={"delivery": {"deadLetterSink": ref("sink"), "retry": 2}}), trigger())
    assert (await cluster.get(BROKER, "default"))["status"]["deadLetterSinkUri"] == "http://sink"
    programmed = cluster.plane.programmed[Key("default", "t")]
    assert (programmed.dead_letter_sink, programmed.policy.retries) == ("http://sink", 2)


async def test_a_broker_whose_sink_is_missing_is_not_ready_and_recovers() -> None:
    cluster = Cluster()
    await cluster.settle(broker(spec={"delivery": {"deadLetterSink": ref("sink")}}), trigger())
    assert condition(await cluster.get(BROKER, "default"), "Ready")[0] == "False"
    assert condition(await cluster.get(TRIGGER, "t"), "BrokerReady")[0] == "False"
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle()
    assert is_ready(await cluster.get(TRIGGER, "t"))


async def test_a_dependency_holds_ready_back() -> None:
    cluster = Cluster()
    annotation = json.dumps({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "dep"})
    await cluster.settle(broker(), trigger(annotations={"knative.dev/dependency": annotation}))
    assert condition(await cluster.get(TRIGGER, "t"), "Ready") == ("False", "DependencyDoesNotExist")
    dependency = ksvc("dep")
    cluster.client.seed(dependency)
    await cluster.settle()
    assert condition(await cluster.get(TRIGGER, "t"), "DependencyReady")[0] == "Unknown"
    seeded = await cluster.client.get(KSVC, "dep", "default")
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": meta.generation(seeded)}
    await cluster.client.patch_status(KSVC, "dep", ready, "default")
    await cluster.settle()
    assert is_ready(await cluster.get(TRIGGER, "t"))


async def test_a_full_log_is_not_subscribed_and_looked_at_again() -> None:
    cluster = Cluster()
    cluster.plane.full = True
    await cluster.settle(broker(), trigger())
    assert condition(await cluster.get(TRIGGER, "t"), "SubscriptionReady") == ("False", "NotSubscribed")
    cluster.plane.full = False
    await cluster.world.advance(5.0)
    assert is_ready(await cluster.get(TRIGGER, "t"))


async def test_a_deleted_trigger_is_removed() -> None:
    cluster = Cluster()
    await cluster.settle(broker(), trigger())
    await cluster.client.delete(TRIGGER, "t", "default")
    await cluster.settle()
    assert cluster.plane.programmed == {}


async def test_a_settled_world_costs_no_writes() -> None:
    cluster = Cluster()
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle(broker(), trigger(), trigger("u", ref("absent")), trigger("v", ref("sink")))
    again = World(cluster._controllers, cluster.client)
    assert await again.settle() == []


async def test_a_server_keeps_every_field_that_is_written() -> None:
    """Else what is pruned would be written again and again."""
    cluster = Cluster()
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle(broker(spec={"delivery": {"deadLetterSink": ref("sink")}}), trigger())
    for kind, name in ((BROKER, "default"), (TRIGGER, "t")):
        assert schema.unknown_fields(schema.of_kind(kind, VIEWS[kind]), await cluster.get(kind, name)) == []


@pytest.mark.parametrize("seed", range(5))
async def test_news_late_or_twice_or_out_of_order_lead_to_the_same_end(seed: int) -> None:
    cluster = Cluster(Chaos(seed))
    await cluster.settle(
        trigger(), trigger("u", ref("sink")), broker(spec={"delivery": {"deadLetterSink": ref("sink")}})
    )
    cluster.client.seed(ksvc("sink", "http://sink"))
    await cluster.settle()
    assert is_ready(await cluster.get(TRIGGER, "t"))
    assert is_ready(await cluster.get(TRIGGER, "u"))


@pytest.mark.parametrize(
    ("labels", "annotations", "wanted"),
    [
        ({"eventing.knative.dev/injection": "enabled"}, {}, True),
        ({}, {"eventing.knative.dev/injection": "enabled"}, True),
        ({"eventing.knative.dev/injection": "disabled"}, {}, False),
        ({}, {}, False),
    ],
)
async def test_a_default_broker_is_made_where_it_is_asked_for(
    labels: dict[str, str], annotations: dict[str, str], wanted: bool
) -> None:
    cluster = Cluster()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}}
    cluster.client.seed(namespace)
    await cluster.settle(trigger(annotations=annotations))
    assert [meta.name(found) for found in cluster.client.objects(BROKER)] == (["default"] if wanted else [])
    assert is_ready(await cluster.get(TRIGGER, "t")) is wanted
