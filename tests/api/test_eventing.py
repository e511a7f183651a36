"""Brokers and Triggers are defaulted and validated as Knative's webhooks do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from funcs.api.admission import Request, admit
from funcs.api.eventing import BROKER, RULES, TRIGGER
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.errors import Invalid


def obj(spec: Object, annotations: dict[str, str] | None = None) -> Object:
    return {"metadata": {"name": "x", "namespace": "ns", "annotations": annotations or {}}, "spec": spec}


def admitted(kind: Kind, new: Object, old: Object | None = None) -> Object:
    admit(Request(kind=kind, operation="UPDATE" if old else "CREATE", object=new, old=old), RULES)
    return new


def trigger(**spec: Any) -> Object:
    return obj({"broker": "b", "subscriber": {"uri": "http://x"}, **spec})


def test_a_broker_is_given_its_class_and_delivery() -> None:
    found = admitted(BROKER, obj({}))
    assert found["metadata"]["annotations"] == {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}
    assert found["spec"]["delivery"] == {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}


def test_a_broker_of_another_class_keeps_its_delivery() -> None:
    assert admitted(BROKER, obj({}, {"eventing.knative.dev/broker.class": "Kafka"}))["spec"] == {}


def test_a_trigger_is_given_its_broker_and_label() -> None:
    found = admitted(TRIGGER, obj({"subscriber": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}}}))
    assert found["spec"]["broker"] == "default"
    assert found["metadata"]["labels"] == {"eventing.knative.dev/broker": "default"}
    assert found["spec"]["subscriber"]["ref"]["namespace"] == "ns"


def test_defaulting_twice_changes_nothing() -> None:
    for kind, given in ((BROKER, obj({})), (TRIGGER, trigger())):
        once = admitted(kind, given)
        assert admitted(kind, copy.deepcopy(once), once) == once


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"subscriber": {}}, "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri"),
        ({"subscriber": {"uri": "/path"}}, "Relative URI is not allowed when Ref"),
        ({"subscriber": {"uri": "ftp://x"}}, "events are delivered over http or https: spec.subscriber.uri"),
        ({"subscriber": {"uri": "http://[x"}}, "spec.subscriber.uri"),
        ({"subscriber": {"ref": {"kind": "S", "apiVersion": "v1"}}}, "missing field(s): spec.subscriber.ref.name"),
        ({"subscriber": {"ref": {"kind": "S", "name": "s"}}}, "missing field(s): spec.subscriber.ref.apiVersion"),
        (
            {"subscriber": {"ref": {"kind": "S", "name": "s", "apiVersion": "v1"}, "uri": "http://x"}},
            "Absolute URI is not allowed when Ref",
        ),
        ({"filter": {"attributes": {"Type": "x"}}}, 'invalid key name "Type": spec.filter.attributes[Type]'),
        (
            {"filters": [{"exact": {"a": "b"}, "prefix": {"a": "b"}}]},
            "multiple dialects found, filters can have only one",
        ),
        ({"filters": [{}]}, "no dialect found"),
        ({"filters": [{"exact": {"a_b": "b"}}]}, 'invalid key name "a_b": spec.filters[0].exact[a_b]'),
        ({"filters": [{"exact": {"a": ""}}]}, "must be a non-empty string: spec.filters[0].exact[a]"),
        ({"filters": [{"any": [{"not": {"suffix": {"A": "b"}}}]}]}, "spec.filters[0].any[0].not.suffix[A]"),
        ({"filters": [{"cesql": "x = 1"}]}, "the cesql dialect is not supported: spec.filters[0].cesql"),
        ({"filters": [{"regex": {"a": "b"}}]}, "unknown filter dialect(s) regex: spec.filters[0]"),
        ({"filters": [{"all": "x"}]}, "expected a list of filters: spec.filters[0].all"),
        ({"filters": "x"}, "Expected `array`, got `str`: spec.filters"),
        ({"delivery": {"retry": -1}}, 'invalid value "-1": spec.delivery.retry'),
        ({"delivery": {"backoffPolicy": "random"}}, 'invalid value "random": spec.delivery.backoffPolicy'),
        ({"delivery": {"backoffDelay": "5s"}}, 'invalid value "5s": spec.delivery.backoffDelay'),
        ({"delivery": {"timeout": "PT0S"}}, 'invalid value "PT0S": spec.delivery.timeout'),
        ({"delivery": {"retryAfterMax": "-PT1S"}}, 'invalid value "-PT1S": spec.delivery.retryAfterMax'),
        ({"delivery": {"format": "xml"}}, 'invalid value "xml": spec.delivery.format'),
        ({"delivery": {"deadLetterSink": {}}}, "expected at least one, got none: spec.delivery.deadLetterSink.ref"),
    ],
)
def test_what_is_wrong_is_named(spec: Object, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        admitted(TRIGGER, trigger(**spec))
    assert message in str(caught.value)


def test_filters_may_not_nest_without_end() -> None:
    nested: Object = {"exact": {"a": "b"}}
    for _ in range(20):
        nested = {"not": nested}
    with pytest.raises(Invalid, match="filters may nest 16 deep at most"):
        admitted(TRIGGER, trigger(filters=[nested]))


@pytest.mark.parametrize(
    ("kind", "old", "new", "path"),
    [
        (TRIGGER, trigger(), trigger(broker="other"), "spec.broker"),
        (BROKER, obj({}), obj({}, {"eventing.knative.dev/broker.class": "Kafka"}), "annotations"),
        (BROKER, obj({}), obj({"config": {"kind": "ConfigMap", "name": "c", "apiVersion": "v1"}}), "spec.config"),
    ],
)
def test_what_may_not_change(kind: Kind, old: Object, new: Object, path: str) -> None:
    with pytest.raises(Invalid, match=r"Immutable fields changed \(-old \+new\): " + path):
        admitted(kind, copy.deepcopy(new), admitted(kind, copy.deepcopy(old)))


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"eventing.knative.dev/injection": "yes"}, 'can only be "enabled" or "disabled", not "yes"'),
        ({"eventing.knative.dev/injection": "enabled"}, "only used for default broker"),
        ({"knative.dev/dependency": "{"}, "was not a corev1.ObjectReference"),
        ({"knative.dev/dependency": '{"kind": "K", "name": "n"}'}, "missing field(s)"),
        (
            {"knative.dev/dependency": '{"kind":"K","name":"n","apiVersion":"v1","namespace":"o"}'},
            "Namespace must be empty",
        ),
    ],
)
def test_annotations_are_validated(annotations: dict[str, str], message: str) -> None:
    given = trigger()
    given["metadata"]["annotations"] = annotations
    with pytest.raises(Invalid) as caught:
        admitted(TRIGGER, given)
    assert message in str(caught.value)
