"""What a function is on the platform: a Knative Service pinned by digest, and a Trigger for each subscription.

Law: pure; the same function, image and environment give the same resources, so that a deploy without a change is no
write. A Trigger's name is made from its content: editing a subscription makes another Trigger, and what is no longer
planned is what must go. No IO.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from funcs.api import names
from funcs.api.function import Function, Limits, Pair, Requests, Subscription, Volume, value_of
from funcs.api.meta import Object, Objects
from funcs.errors import Invalid

NAME_LABEL = "function.knative.dev/name"
RUNTIME_LABEL = "function.knative.dev/runtime"
# A function's scaling is said on the Revision; Knative refuses it on the Service itself.
_OF_THE_REVISION = ("autoscaling.knative.dev/",)
_PORT = 8080


@dataclass(frozen=True, slots=True)
class Target:
    """Where a function goes: its namespace, its image by digest, and the environment that `{{ env:X }}` reads."""

    namespace: str
    image: str
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The resources that a function should have, and nothing else carrying its name label."""

    service: Object
    triggers: Objects


def plan(function: Function, target: Target) -> Plan:
    """Raises Invalid for a deployer that is not here, or an environment variable that is named and not set."""
    _check_deployer(function)
    return Plan(
        _service(function, target),
        [_trigger(function, subscription, target.namespace) for subscription in function.subscriptions],
    )


def labels_of(function: Function, environ: Mapping[str, str]) -> dict[str, str]:
    given = {str(pair.key): _text(pair, "deploy.labels", environ) for pair in function.deploy.labels or []}
    return given | {NAME_LABEL: function.name, RUNTIME_LABEL: function.runtime}


def _check_deployer(function: Function) -> None:
    for name in (function.deployer, function.deploy.deployer):
        if name not in (None, "", "knative"):
            hint = "Set `deployer: knative`, or leave it out."
            raise Invalid(f"the deployer {name!r} is not here, only knative", hint=hint)


def _service(function: Function, target: Target) -> Object:
    labels = labels_of(function, target.environ)
    annotations = dict(function.deploy.annotations or {})
    scaling = {key: annotations.pop(key) for key in list(annotations) if key.startswith(_OF_THE_REVISION)}
    template: Object = {
        "metadata": {"labels": labels, "annotations": _scale(function) | scaling},
        "spec": _pod(function, target),
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": function.name,
            "namespace": target.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {"template": template},
    }


def _pod(function: Function, target: Target) -> Object:
    health = function.deploy.health_endpoints
    container: Object = {
        "name": "user-container",
        "image": target.image,
        "ports": [{"name": "http1", "containerPort": _PORT}],
        "env": [_env(pair, target.environ) for pair in function.envs if pair.name is not None],
        "envFrom": [_env_from(pair) for pair in function.envs if pair.name is None],
        "resources": _resources(function),
        "readinessProbe": {"httpGet": {"path": (health and health.readiness) or "/health/readiness", "port": _PORT}},
        "livenessProbe": {"httpGet": {"path": (health and health.liveness) or "/health/liveness", "port": _PORT}},
        "volumeMounts": [
            {"name": f"volume-{index}", "mountPath": str(volume.path), "readOnly": _is_read_only(volume)}
            for index, volume in enumerate(function.run.volumes or [])
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod: Object = {
        "containers": [{name: value for name, value in container.items() if value not in ([], {})}],
        "volumes": [_volume(index, volume) for index, volume in enumerate(function.run.volumes or [])],
    }
    limits = function.resources.limits
    if limits and limits.concurrency is not None:
        pod["containerConcurrency"] = limits.concurrency
    if function.deploy.service_account_name:
        pod["serviceAccountName"] = function.deploy.service_account_name
    if function.deploy.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": function.deploy.image_pull_secret}]
    return {name: value for name, value in pod.items() if value != []}


def _scale(function: Function) -> dict[str, str]:
    scale = function.scale
    given = {
        "min-scale": scale.min,
        "max-scale": scale.max,
        "metric": scale.metric,
        "target": scale.target,
        "target-utilization-percentage": scale.utilization,
    }
    return {
        f"autoscaling.knative.dev/{name}": f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in given.items()
        if value is not None
    }


def _resources(function: Function) -> Object:
    requests = function.resources.requests or Requests()
    limits = function.resources.limits or Limits()
    given: dict[str, dict[str, str | None]] = {
        "requests": {"cpu": requests.cpu, "memory": requests.memory},
        "limits": {"cpu": limits.cpu, "memory": limits.memory},
    }
    kept = {part: {name: value for name, value in found.items() if value} for part, found in given.items()}
    return {part: found for part, found in kept.items() if found}


def _env(pair: Pair, environ: Mapping[str, str]) -> Object:
    value = value_of(pair.value or "")
    if value is not None and value.source in ("secret", "configMap"):
        reference = "secretKeyRef" if value.source == "secret" else "configMapKeyRef"
        return {"name": pair.name, "valueFrom": {reference: {"name": value.name, "key": value.key}}}
    return {"name": pair.name, "value": _text(pair, "run.envs", environ)}


def _env_from(pair: Pair) -> Object:
    value = value_of(pair.value or "")
    if value is None or value.source not in ("secret", "configMap"):
        raise Invalid(f"run.envs: {pair.value!r} names neither a secret nor a config map")
    return {f"{value.source}Ref": {"name": value.name}}


def _text(pair: Pair, path: str, environ: Mapping[str, str]) -> str:
    """The literal text, or the variable that `{{ env:X }}` names, read here and now."""
    value = value_of(pair.value or "")
    if value is None or value.source not in ("text", "env"):
        raise Invalid(f"{path}: {pair.value!r} is not text or {{{{ env:NAME }}}}")
    if value.source == "text":
        return value.name
    if value.name not in environ:
        raise Invalid(
            f"{path} reads the environment variable {value.name}, which is not set", hint=f"Set {value.name}."
        )
    return environ[value.name]


def _volume(index: int, volume: Volume) -> Object:
    name = {"name": f"volume-{index}"}
    if volume.secret is not None:
        return name | {"secret": {"secretName": volume.secret}}
    if volume.config_map is not None:
        return name | {"configMap": {"name": volume.config_map}}
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim
        return name | {"persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": bool(claim.read_only)}}
    given = volume.empty_dir
    empty = {"medium": given and given.medium, "sizeLimit": given and given.size_limit}
    return name | {"emptyDir": {key: value for key, value in empty.items() if value}}


def _is_read_only(volume: Volume) -> bool:
    if volume.persistent_volume_claim is not None:
        return bool(volume.persistent_volume_claim.read_only)
    return volume.secret is not None or volume.config_map is not None


def _trigger(function: Function, subscription: Subscription, namespace: str) -> Object:
    filters = dict(subscription.filters or {})
    content = json.dumps([subscription.source, filters], sort_keys=True)
    suffix = hashlib.sha256(content.encode()).hexdigest()[:8]
    spec: Object = {
        "broker": subscription.source,
        "subscriber": {
            "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": function.name},
        },
    }
    if filters:
        spec["filter"] = {"attributes": filters}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {
            "name": names.child(function.name, f"-trigger-{suffix}"),
            "namespace": namespace,
            "labels": {NAME_LABEL: function.name},
        },
        "spec": spec,
    }
