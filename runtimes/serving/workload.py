"""The children of a Revision: its Deployment, its PodAutoscaler and the Service that gathers its pods.

Law: pure and deterministic. There is no sidecar: probes stay on the container and the gateway does the rest. The
Deployment's replicas belong to the autoscaler from the moment it is created. Source: rules S12 to S14 of Knative's
object tree. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.core import DEPLOYMENT
from funcs.api.meta import Object
from funcs.api.serving import POD_AUTOSCALER, REVISION
from funcs.api.serving_defaults import SERVING_PORT, serving_container

from . import names
from .settings import ServingSettings, progress_deadline

PORT_NAME = "user-port"
_SERVING_FIELDS = frozenset({
    "containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds",
})  # fmt: skip
_NOT_FOR_PODS = (keys.LAST_PINNED, keys.NO_GC, keys.ROUTING_STATE_MODIFIED, keys.ROUTES)


def deployment_for(revision: Object, digests: Mapping[str, str], replicas: int, settings: ServingSettings) -> Object:
    """`digests` are images by digest, by container name; `replicas` is what it starts with."""
    selector = {keys.REVISION_UID: meta.uid(revision)}
    labels, annotations = _labels(revision), _annotations(revision)
    serving = serving_container(meta.spec(revision)) or {}
    deadline = int(progress_deadline(meta.annotations(revision), settings))
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": _metadata(revision, names.deployment(meta.name(revision)), labels, annotations),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "progressDeadlineSeconds": deadline,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        **annotations,
                        "kubectl.kubernetes.io/default-container": str(serving.get("name") or ""),
                    },
                },
                "spec": _pod_spec(revision, digests),
            },
        },
    }


def autoscaler_for(revision: Object) -> Object:
    spec = meta.spec(revision)
    reachability = {"active": "Reachable", "reserve": "Unreachable"}.get(
        meta.labels(revision).get(keys.ROUTING_STATE, "")
    )
    annotations = {
        **_annotations(revision),
        **{key: value for key, value in meta.annotations(revision).items() if key.startswith(keys.AUTOSCALING)},
    }
    return {
        "apiVersion": POD_AUTOSCALER.api_version,
        "kind": POD_AUTOSCALER.kind,
        "metadata": _metadata(revision, meta.name(revision), _labels(revision), annotations),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": DEPLOYMENT.api_version,
                "kind": DEPLOYMENT.kind,
                "name": names.deployment(meta.name(revision)),
            },
            "containerConcurrency": int(spec.get("containerConcurrency") or 0),
            "protocolType": "h2c" if port_of(spec).get("name") == "h2c" else "http1",
            "reachability": reachability or "",
        },
    }


def service_for(revision: Object) -> Object:
    """Selects the revision's pods; its EndpointSlices are what gateways dial."""
    protocol = "h2c" if port_of(meta.spec(revision)).get("name") == "h2c" else "http"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(
            revision, names.private_service(meta.name(revision)), _labels(revision), _annotations(revision)
        ),
        "spec": {
            "selector": {keys.REVISION_UID: meta.uid(revision)},
            "ports": [{"name": protocol, "port": 80, "protocol": "TCP", "targetPort": PORT_NAME}],
        },
    }


def port_of(spec: Object) -> Object:
    """The one declared port of a revision, or the default one."""
    ports = (serving_container(spec) or {}).get("ports") or [{}]
    return {**ports[0], "containerPort": ports[0].get("containerPort") or SERVING_PORT}


def _pod_spec(revision: Object, digests: Mapping[str, str]) -> Object:
    spec = meta.spec(revision)
    serving = serving_container(spec)
    pod = {key: value for key, value in spec.items() if key not in _SERVING_FIELDS}
    pod["containers"] = [
        _container(revision, one, digests, serves=one is serving) for one in spec.get("containers") or []
    ]
    inits = spec.get("initContainers")
    if inits:
        pod["initContainers"] = [{**one, "image": digests.get(one.get("name", ""), one.get("image"))} for one in inits]
    pod["terminationGracePeriodSeconds"] = int(spec.get("timeoutSeconds") or 300)
    pod.setdefault("enableServiceLinks", False)
    pod.setdefault("affinity", _spread(revision))
    return pod


def _container(revision: Object, container: Object, digests: Mapping[str, str], *, serves: bool) -> Object:
    made = {**container, "image": digests.get(container.get("name", ""), container.get("image"))}
    made["terminationMessagePolicy"] = container.get("terminationMessagePolicy") or "FallbackToLogsOnError"
    labels = meta.labels(revision)
    known = [
        {"name": "K_REVISION", "value": meta.name(revision)},
        {"name": "K_CONFIGURATION", "value": labels.get(keys.CONFIGURATION, "")},
        {"name": "K_SERVICE", "value": labels.get(keys.SERVICE, "")},
    ]
    if serves:
        number = port_of(meta.spec(revision))["containerPort"]
        known.insert(0, {"name": "PORT", "value": str(number)})
        made["ports"] = [{"name": PORT_NAME, "containerPort": number, "protocol": "TCP"}]
        for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
            if container.get(kind):
                made[kind] = _probe(container[kind], number)
    made["env"] = [*(container.get("env") or []), *known]
    return made


def _probe(probe: Object, port: int) -> Object:
    """Port 0 is the serving port; Serving's period 0 (as often as can be) is Kubernetes' smallest, one second."""
    made: dict[str, Any] = dict(probe)
    for handler in ("tcpSocket", "httpGet", "grpc"):
        if made.get(handler) is not None:
            made[handler] = {**made[handler], "port": made[handler].get("port") or port}
    if not made.get("periodSeconds"):
        made["periodSeconds"] = 1
    return made


def _spread(revision: Object) -> Object:
    """config-deployment's default-affinity-type, prefer-spread-revision-over-nodes."""
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {keys.REVISION: meta.name(revision)}},
    }
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }


def _labels(revision: Object) -> dict[str, str]:
    labels = {key: value for key, value in meta.labels(revision).items() if key not in (keys.ROUTE, keys.ROUTING_STATE)}
    labels[keys.REVISION] = meta.name(revision)
    labels[keys.REVISION_UID] = meta.uid(revision)
    labels.setdefault("app", meta.name(revision))
    return labels


def _annotations(revision: Object) -> dict[str, str]:
    return {
        key: value
        for key, value in meta.annotations(revision).items()
        if key not in _NOT_FOR_PODS and not key.startswith(keys.AUTOSCALING)
    }


def _metadata(revision: Object, name: str, labels: dict[str, str], annotations: dict[str, str]) -> Object:
    return {
        "name": name,
        "namespace": meta.namespace(revision),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [meta.controller_reference(revision, REVISION)],
    }
