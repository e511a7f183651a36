"""What a function is on the platform."""

from typing import Any

import msgspec
import pytest

from funcs.api.function import Function
from funcs.deploy.plan import Target, plan
from funcs.errors import Invalid

IMAGE = "localhost:7500/default/hello@sha256:" + "a" * 64


def function(**fields: Any) -> Function:
    return msgspec.convert({"name": "hello", "runtime": "python", **fields}, Function)


def container(made: Any) -> dict[str, Any]:
    found: dict[str, Any] = made.service["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_service_is_pinned_by_digest() -> None:
    assert container(plan(function(), Target("default", IMAGE)))["image"] == IMAGE


def test_the_same_function_gives_the_same_resources() -> None:
    given = function(deploy={"subscriptions": [{"source": "default", "filters": {"type": "a"}}]})
    assert plan(given, Target("default", IMAGE)) == plan(given, Target("default", IMAGE))


def test_scaling_is_said_on_the_revision_and_other_annotations_on_the_service() -> None:
    deploy = {
        "annotations": {"autoscaling.knative.dev/window": "6s", "team": "blue"},
        "options": {"scale": {"min": 1, "target": 0.5}},
    }
    made = plan(function(deploy=deploy), Target("default", IMAGE)).service
    assert made["metadata"]["annotations"] == {"team": "blue"}
    assert made["spec"]["template"]["metadata"]["annotations"] == {
        "autoscaling.knative.dev/min-scale": "1",
        "autoscaling.knative.dev/target": "0.5",
        "autoscaling.knative.dev/window": "6s",
    }


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param({"name": "A", "value": "x"}, {"name": "A", "value": "x"}, id="text"),
        pytest.param({"name": "A", "value": "{{ env:HERE }}"}, {"name": "A", "value": "now"}, id="read by the client"),
        pytest.param(
            {"name": "A", "value": "{{ secret:s:k }}"},
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            id="read by the cluster",
        ),
    ],
)
def test_environment_variables(env: dict[str, str], expected: dict[str, Any]) -> None:
    made = plan(function(run={"envs": [env]}), Target("default", IMAGE, {"HERE": "now"}))
    assert container(made)["env"] == [expected]


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(Invalid, match="TOKEN, which is not set"):
        plan(function(run={"envs": [{"name": "A", "value": "{{ env:TOKEN }}"}]}), Target("default", IMAGE))


def test_all_keys_of_a_secret() -> None:
    made = plan(function(run={"envs": [{"value": "{{ secret:s }}"}]}), Target("default", IMAGE))
    assert container(made)["envFrom"] == [{"secretRef": {"name": "s"}}]


def test_editing_a_subscription_makes_another_trigger() -> None:
    def triggers(type: str) -> list[str]:
        given = function(deploy={"subscriptions": [{"source": "default", "filters": {"type": type}}]})
        return [found["metadata"]["name"] for found in plan(given, Target("default", IMAGE)).triggers]

    assert triggers("a") == triggers("a")
    assert triggers("a") != triggers("b")


def test_a_trigger_sends_its_brokers_events_to_the_function() -> None:
    given = function(deploy={"subscriptions": [{"source": "default", "filters": {"type": "a"}}]})
    (trigger,) = plan(given, Target("default", IMAGE)).triggers
    assert trigger["spec"] == {
        "broker": "default",
        "filter": {"attributes": {"type": "a"}},
        "subscriber": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}},
    }
