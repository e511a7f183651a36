"""Admission of Serving's resources: defaults, and refusals in upstream's words."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from funcs.api import serving, serving_views
from funcs.api.admission import Request, admit
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.errors import Invalid

IMAGE = "localhost:5000/hello@sha256:" + "a" * 64


def service(**changes: Any) -> Object:
    spec: Object = {"template": {"spec": {"containers": [{"image": IMAGE}]}}}
    obj: Object = {"metadata": {"name": "hello", "namespace": "default"}, "spec": spec}
    for path, value in changes.items():
        *parents, last = path.split("__")
        at: Any = obj
        for parent in parents:
            at = at[int(parent)] if parent.isdigit() else at.setdefault(parent, {})
        at[last] = value
    return obj


def admitted(obj: Object, old: Object | None = None, kind: Kind = serving.SERVICE, **request: Any) -> Object:
    obj = copy.deepcopy(obj)
    operation = "UPDATE" if old else "CREATE"
    admit(Request(kind=kind, operation=operation, object=obj, old=old, **request), serving.RULES)  # type: ignore[arg-type]
    return obj


def refusal(obj: Object, old: Object | None = None, **request: Any) -> list[str]:
    with pytest.raises(Invalid) as caught:
        admitted(obj, old, **request)
    return [str(cause) for cause in caught.value.causes]


CONTAINER = "spec__template__spec__containers__0__"


def test_a_bare_service_is_given_its_defaults() -> None:
    found = admitted(service(), user="ada")
    assert found["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    spec = found["spec"]["template"]["spec"]
    assert spec["timeoutSeconds"] == 300
    assert spec["containerConcurrency"] == 0
    assert spec["enableServiceLinks"] is False
    container = spec["containers"][0]
    assert container["name"] == "user-container"
    assert container["readinessProbe"] == {"tcpSocket": {"port": 0}, "successThreshold": 1}
    annotations = found["metadata"]["annotations"]
    assert annotations == {"serving.knative.dev/creator": "ada", "serving.knative.dev/lastModifier": "ada"}


def test_defaulting_twice_changes_nothing() -> None:
    once = admitted(service(), user="ada")
    assert admitted(once, once, user="bob") == once


def test_the_last_modifier_changes_with_the_spec_only() -> None:
    old = admitted(service(), user="ada")
    labelled = copy.deepcopy(old)
    labelled["metadata"]["labels"] = {"a": "b"}
    assert admitted(labelled, old, user="bob")["metadata"]["annotations"]["serving.knative.dev/lastModifier"] == "ada"
    changed = copy.deepcopy(old)
    changed["spec"]["template"]["spec"]["timeoutSeconds"] = 10
    assert admitted(changed, old, user="bob")["metadata"]["annotations"]["serving.knative.dev/lastModifier"] == "bob"


def test_defaults_come_from_the_config_map() -> None:
    config = {"config-defaults": {"revision-timeout-seconds": "60", "container-concurrency": "5"}}
    spec = admitted(service(), config=config)["spec"]["template"]["spec"]
    assert (spec["timeoutSeconds"], spec["containerConcurrency"]) == (60, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata__name": "1hello"}, "not a DNS 1035 label"),
        ({"spec__template": {}}, "missing field(s): @S.containers"),
        ({"spec__template__spec__containers": []}, "missing field(s): @S.containers"),
        ({CONTAINER + "image": ""}, "missing field(s): @C.image"),
        ({CONTAINER + "name": "queue-proxy"}, '"queue-proxy" is a reserved container name: @C.name'),
        (
            {CONTAINER + "env": [{"name": "PORT", "value": "1"}]},
            '"PORT" is a reserved environment variable: @C.env[0].name',
        ),
        ({CONTAINER + "ports": [{"containerPort": 8012}]}, "8012 is a reserved port: @C.ports[0].containerPort"),
        ({CONTAINER + "ports": [{"containerPort": 70000}]}, "expected 1 <= 70000 <= 65535"),
        (
            {CONTAINER + "ports": [{"containerPort": 1, "hostPort": 1}]},
            "must not set the field(s): @C.ports[0].hostPort",
        ),
        ({CONTAINER + "ports": [{"containerPort": 1}, {"containerPort": 2}]}, "more than one container port is set"),
        ({CONTAINER + "ports": [{"containerPort": 1, "name": "grpc"}]}, "Port name grpc is not allowed"),
        ({CONTAINER + "lifecycle": {"preStop": {}}}, "must not set the field(s): @C.lifecycle"),
        (
            {CONTAINER + "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            "volumeMount has no matching volume: @C.volumeMounts[0].name",
        ),
        (
            {"spec__template__spec__volumes": [{"name": "v", "emptyDir": {}}]},
            'volume with name "v" not mounted: @S.volumes[0].name',
        ),
        (
            {"spec__template__spec__volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            "must not set the field(s): @S.volumes[0].hostPath",
        ),
        ({"spec__template__spec__hostNetwork": True}, "must not set the field(s): @S.hostNetwork"),
        ({"spec__template__spec__timeoutSeconds": 601}, "expected 0 <= 601 <= 600: @S.timeoutSeconds"),
        ({"spec__template__spec__containerConcurrency": 1001}, "expected 0 <= 1001 <= 1000: @S.containerConcurrency"),
        ({"spec__template__spec__containerConcurrency": "many"}, "invalid value: many: @S.containerConcurrency"),
        (
            {CONTAINER + "readinessProbe": {"httpGet": {}, "exec": {}}},
            "expected exactly one, got both: @C.readinessProbe.exec, @C.readinessProbe.httpGet",
        ),
        (
            {"spec__template__metadata": {"name": "other-1"}},
            'invalid value: "other-1" must have prefix "hello-": spec.template.metadata.name',
        ),
        (
            {"spec__traffic": [{"percent": 90, "latestRevision": True}]},
            "Traffic targets sum to 90, want 100: spec.traffic",
        ),
        (
            {"spec__traffic": [{"percent": 100, "revisionName": "r", "latestRevision": True}]},
            'may not set revisionName "r" when latestRevision is true: spec.traffic[0].latestRevision',
        ),
        (
            {"spec__traffic": [{"percent": 100, "configurationName": "c"}]},
            "must not set the field(s): spec.traffic[0].configurationName",
        ),
        (
            {"spec__traffic": [{"percent": 50, "tag": "a"}, {"percent": 50, "tag": "a"}]},
            'Multiple definitions for "a": spec.traffic[1].tag, spec.traffic[0].tag',
        ),
        ({"spec__traffic": [{"percent": 100, "tag": "A"}]}, "not a DNS 1035 label"),
        ({"spec__traffic": [{"percent": 101}, {"percent": -1}]}, "expected 0 <= 101 <= 100: spec.traffic[0].percent"),
        ({"spec__traffic": [{"percent": 100, "url": "http://x"}]}, "must not set the field(s): spec.traffic[0].url"),
        ({"spec__traffic": "all"}, "invalid value: expected a list of objects: spec.traffic"),
        (
            {"metadata__annotations": {"autoscaling.knative.dev/min-scale": "1"}},
            'invalid key name "autoscaling.knative.dev/min-scale": metadata.annotations',
        ),
        (
            {"metadata__annotations": {"serving.knative.dev/nonsense": "1"}},
            'invalid key name "serving.knative.dev/nonsense"',
        ),
        (
            {"metadata__annotations": {"serving.knative.dev/rollout-duration": "1.5s"}},
            "rollout-duration=1.5s is not at second precision",
        ),
    ],
)
def test_what_is_wrong_is_named_in_upstreams_words(changes: dict[str, Any], message: str) -> None:
    message = message.replace("@C", "@S.containers[0]").replace("@S", "spec.template.spec")
    assert any(message in cause for cause in refusal(service(**changes)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("min-scale", "-1", "expected 0 <= -1 <= 2147483647: "),
        ("minScale", "two", "invalid value: two: "),
        ("window", "5s", "expected 6s <= 5s <= 1h0m0s: "),
        ("window", "6500ms", "must be specified with at most second precision: "),
        ("target", "0", "target 0 should be at least 0.01: "),
        ("target-utilization-percentage", "101", "expected 1 <= 101 <= 100: "),
        ("metric", "memory", "invalid value: memory: "),
        ("class", "x.autoscaling.knative.dev", "invalid value: x.autoscaling.knative.dev: "),
        ("initial-scale", "0", "initial-scale=0 not allowed by cluster"),
        ("activation-scale", "1", "min-activate-scale=1 must be greater than 1: "),
        ("panic-threshold-percentage", "100", "expected 110 <= 100 <= 1000: "),
        ("scale-down-delay", "2h", "expected 0s <= 2h <= 1h0m0s: "),
        ("target", "nan", "invalid value: nan: "),
    ],
)
def test_autoscaling_annotations_are_checked(key: str, value: str, message: str) -> None:
    annotations = {f"autoscaling.knative.dev/{key}": value}
    found = refusal(service(spec__template__metadata={"annotations": annotations}))
    assert any(message in cause and "spec.template.metadata.annotations" in cause for cause in found)


def test_max_below_min_is_refused() -> None:
    annotations = {"autoscaling.knative.dev/min-scale": "3", "autoscaling.knative.dev/max-scale": "2"}
    assert (
        "max-scale=2 is less than min-scale=3"
        in refusal(service(spec__template__metadata={"annotations": annotations}))[0]
    )


def test_a_named_template_that_changes_keeps_its_name_in_vain() -> None:
    old = admitted(service(spec__template__metadata={"name": "hello-one"}))
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE.replace("hello@", "other@")
    found = refusal(new, old)
    assert found[0].startswith(
        "Saw the following changes without a name change (-old +new): spec.template.metadata.name"
    )
    assert "-{spec.containers[0].image}" in found[0]


def test_a_new_default_is_no_change_of_a_named_template() -> None:
    old = service(spec__template__metadata={"name": "hello-one"})
    old["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}]
    assert admitted(old, old)["spec"] == old["spec"]


def test_a_revision_never_changes() -> None:
    old: Object = {"metadata": {"name": "hello-00001"}, "spec": {"containers": [{"image": IMAGE}]}}
    old = admitted(old, kind=serving.REVISION)
    new = copy.deepcopy(old)
    new["spec"]["timeoutSeconds"] = 7
    assert refusal(new, old, kind=serving.REVISION)[0].startswith("Immutable fields changed (-old +new): spec\n")
    labelled = copy.deepcopy(old)
    labelled["metadata"]["labels"] = {"a": "b"}
    assert admitted(labelled, old, kind=serving.REVISION) == labelled


def test_the_creator_cannot_be_changed() -> None:
    old = admitted(service(), user="ada")
    new = copy.deepcopy(old)
    new["metadata"]["annotations"]["serving.knative.dev/creator"] = "eve"
    assert refusal(new, old)[0] == "annotation value is immutable: metadata.annotations.serving.knative.dev/creator"


def test_a_route_names_a_revision_or_a_configuration() -> None:
    route: Object = {"metadata": {"name": "hello"}, "spec": {"traffic": [{"percent": 100}]}}
    assert refusal(route, kind=serving.ROUTE) == [
        "expected exactly one, got neither: spec.traffic[0].configurationName, spec.traffic[0].revisionName"
    ]


def test_views_read_what_is_there_and_ignore_the_rest() -> None:
    found = msgspec.convert(admitted(service()), serving_views.Service)
    assert found.spec.traffic[0].percent == 100
    assert found.spec.template.spec["containers"][0]["image"] == IMAGE
    assert found.status.url == ""
