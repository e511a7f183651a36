"""Kubernetes' own kinds: defaults and refusals that users feel."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from funcs.api import admission, core, pods
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.api.rules import RULES
from funcs.errors import Invalid


def admitted(kind: Kind, obj: Object, old: Object | None = None) -> Object:
    obj = copy.deepcopy({"metadata": {"name": "x"}, **obj})
    operation: admission.Operation = "CREATE" if old is None else "UPDATE"
    admission.admit(admission.Request(kind=kind, operation=operation, object=obj, old=old), RULES)
    return obj


def pod(**spec: Any) -> Object:
    return {"spec": {"containers": [{"name": "c", "image": "nginx:1"}], **spec}}


def deployment(labels: Any, **template: Any) -> Object:
    inner = {"metadata": {"labels": {"app": "web"}}, "spec": pod()["spec"] | template}
    return {"spec": {"selector": {"matchLabels": labels}, "template": inner}}


@pytest.mark.parametrize(
    ("image", "policy"),
    [("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1", "IfNotPresent"), ("a/b@sha256:0", "IfNotPresent"),
     ("localhost:5000/a", "Always"), ("localhost:5000/a:2", "IfNotPresent")],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pods.default_pull_policy(image) == policy


def test_a_pod_gets_its_defaults() -> None:
    made = admitted(core.POD, pod())
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["status"] == {"phase": "Pending"}


def test_a_deployment_gets_its_defaults() -> None:
    spec = admitted(core.DEPLOYMENT, deployment({"app": "web"}))["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxSurge"]) == (1, "25%")


def test_admission_twice_is_admission_once() -> None:
    once = admitted(core.DEPLOYMENT, deployment({"app": "web"}))
    assert admitted(core.DEPLOYMENT, once, once) == once


def test_string_data_is_folded_into_data() -> None:
    made = admitted(core.SECRET, {"data": {"a": "MQ=="}, "stringData": {"b": "2"}})
    assert (made["data"], "stringData" in made, made["type"]) == ({"a": "MQ==", "b": "Mg=="}, False, "Opaque")


@pytest.mark.parametrize(
    ("kind", "obj", "path"),
    [
        pytest.param(core.POD, {"spec": {}}, "spec.containers", id="no containers"),
        pytest.param(core.POD, pod(containers=[{"name": "c"}]), "spec.containers[0].image", id="no image"),
        pytest.param(core.POD, pod(restartPolicy="No"), "spec.restartPolicy", id="restart policy"),
        pytest.param(core.POD, pod(volumes=[{"name": "v"}, {"name": "v"}]), "spec.volumes[1].name", id="two volumes"),
        pytest.param(
            core.POD, pod(containers=[{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
            "spec.containers[0].volumeMounts[0].name", id="a mount of no volume",
        ),
        pytest.param(
            core.POD, pod(containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 0}]}]),
            "spec.containers[0].ports[0].containerPort", id="port",
        ),
        pytest.param(core.DEPLOYMENT, deployment({"app": "other"}), "spec.template.metadata.labels", id="selector"),
        pytest.param(core.DEPLOYMENT, deployment(None), "spec.selector", id="no selector"),
        pytest.param(
            core.DEPLOYMENT, deployment({"app": "web"}, restartPolicy="Never"), "spec.template.spec.restartPolicy",
            id="a deployment restarts",
        ),
        pytest.param(core.SERVICE, {"spec": {}}, "spec.ports", id="no ports"),
        pytest.param(core.SERVICE, {"spec": {"ports": [{"port": 70000}]}}, "spec.ports[0].port", id="service port"),
        pytest.param(core.SERVICE, {"spec": {"type": "ExternalName"}}, "spec.externalName", id="external name"),
        pytest.param(core.SECRET, {"data": {"a": "?"}}, "data[a]", id="no base64"),
        pytest.param(core.CONFIG_MAP, {"data": {"a/b": ""}}, "data[a/b]", id="key"),
        pytest.param(core.PERSISTENT_VOLUME_CLAIM, {"spec": {"accessModes": ["x"]}}, "spec.resources[storage]",
                     id="no size"),
        pytest.param(core.ROLE_BINDING, {"roleRef": {"kind": "Role"}}, "roleRef.name", id="no role"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place(kind: Kind, obj: Object, path: str) -> None:
    with pytest.raises(Invalid) as raised:
        admitted(kind, obj)
    assert [cause.path for cause in raised.value.causes] == [path]


@pytest.mark.parametrize(
    ("kind", "old", "new", "path"),
    [
        (core.POD, pod(), pod(restartPolicy="Never"), "spec"),
        (core.DEPLOYMENT, deployment({"app": "web", "a": "b"}), deployment({"app": "web"}), "spec.selector"),
        (core.CONFIG_MAP, {"immutable": True, "data": {"a": "1"}}, {"immutable": True, "data": {"a": "2"}}, "data"),
        (core.ROLE_BINDING, {"roleRef": {"kind": "Role", "name": "a"}}, {"roleRef": {"kind": "Role", "name": "b"}},
         "roleRef"),
    ],
)  # fmt: skip
def test_what_is_immutable_stays(kind: Kind, old: Object, new: Object, path: str) -> None:
    with pytest.raises(Invalid) as raised:
        admitted(kind, new, {"metadata": {"name": "x"}, **old})
    assert [cause.path for cause in raised.value.causes] == [path]


def test_the_image_of_a_pod_may_change() -> None:
    old = admitted(core.POD, pod())
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "nginx:2"
    assert admitted(core.POD, new, old)["spec"]["containers"][0]["image"] == "nginx:2"
