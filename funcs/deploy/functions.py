"""Functions as the platform shows them: a summary of each Service with what stands behind it.

Law: read-only; what is listed is what the cluster says now. IO: through the Client port.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from funcs.api import conditions, core, eventing, meta, serving
from funcs.api.meta import Object
from funcs.control.client import Client, Selection
from funcs.errors import NotFound

from .plan import NAME_LABEL, RUNTIME_LABEL

_SERVICE_LABEL = "serving.knative.dev/service"


async def summaries(client: Client, namespace: str | None) -> list[dict[str, Any]]:
    """One mapping per function: name, namespace, runtime, url, ready, reason, replicas; `namespace=None` is all."""
    services = (await client.list(serving.SERVICE, Selection(namespace=namespace))).items
    pods = (await client.list(core.POD, Selection(namespace=namespace, labels=_SERVICE_LABEL))).items
    alive = Counter((meta.namespace(pod), meta.labels(pod)[_SERVICE_LABEL]) for pod in pods)
    return [_summary(found, alive[meta.namespace(found), meta.name(found)]) for found in services]


async def description(client: Client, name: str, namespace: str) -> dict[str, Any]:
    """A summary with image, revision, traffic, subscriptions and conditions. Raises NotFound."""
    service = await service_of(client, name, namespace)
    inside = Selection(namespace=namespace, labels=f"{_SERVICE_LABEL}={name}")
    pods = (await client.list(core.POD, inside)).items
    triggers = (await client.list(eventing.TRIGGER, Selection(namespace=namespace))).items
    status = meta.status(service)
    container = meta.spec(service)["template"]["spec"]["containers"][0]
    return _summary(service, len(pods)) | {
        "image": container["image"],
        "generation": meta.generation(service),
        "revision": status.get("latestReadyRevisionName", ""),
        "traffic": status.get("traffic") or [],
        "subscriptions": [_subscription(found) for found in triggers if _sends_to(found, name)],
        "conditions": status.get("conditions") or [],
        "pods": [meta.name(pod) for pod in pods],
    }


async def service_of(client: Client, name: str, namespace: str) -> Object:
    """A function's Service. Raises NotFound."""
    try:
        return await client.get(serving.SERVICE, name, namespace)
    except NotFound:
        raise NotFound(f'there is no function "{name}" in "{namespace}"', hint="See `funcs list -A`.") from None


def _summary(service: Object, replicas: int) -> dict[str, Any]:
    ready = conditions.find(service, "Ready")
    labels = meta.labels(service)
    return {
        "name": labels.get(NAME_LABEL, meta.name(service)),
        "namespace": meta.namespace(service),
        "runtime": labels.get(RUNTIME_LABEL, ""),
        "url": meta.status(service).get("url", ""),
        "ready": ready.status if ready else "Unknown",
        "reason": ready.reason if ready else "",
        "replicas": replicas,
    }


def _sends_to(trigger: Object, name: str) -> bool:
    reference = (meta.spec(trigger).get("subscriber") or {}).get("ref") or {}
    return bool(reference.get("kind") == "Service" and reference.get("name") == name)


def _subscription(trigger: Object) -> dict[str, Any]:
    spec = meta.spec(trigger)
    ready = conditions.find(trigger, "Ready")
    return {
        "trigger": meta.name(trigger),
        "broker": spec.get("broker", ""),
        "filters": (spec.get("filter") or {}).get("attributes") or {},
        "ready": ready.status if ready else "Unknown",
    }
