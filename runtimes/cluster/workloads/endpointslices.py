"""EndpointSlices: where the pods behind a Service really are.

Law: one slice per distinct set of port numbers, named by it; a pod's port is the one its node gave it (annotation
`node.funcs.dev/ports`), else the declared one. IO: through the Client port.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict

from funcs.api import core, meta, names
from funcs.api.conditions import is_true
from funcs.api.meta import Key, Object, Objects
from funcs.control.client import Client, WriteOptions
from funcs.control.controller import Cache, Controller, Watch
from funcs.errors import AlreadyExists, NotFound

from ..node.ports import ANNOTATION

SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
_WRITE = WriteOptions(manager="endpointslice-controller")
Ports = tuple[tuple[str, int, str], ...]


class EndpointSlices:
    """Reconciles the slices of every Service that has a selector."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def controller(self) -> Controller:
        return Controller(
            "endpointslices",
            self.reconcile,
            (
                Watch(core.SERVICE),
                Watch(core.POD, self._services_of_pod),
                Watch(core.ENDPOINT_SLICE, _service_of_slice),
            ),
        )

    async def reconcile(self, key: Key) -> None:
        service = self._cache.get(core.SERVICE, key.name, key.namespace)
        if service is None or meta.is_deleting(service):
            return
        selector = meta.spec(service).get("selector")
        if not selector:
            return
        pods = self._cache.list(core.POD, key.namespace, selector)
        wanted = {meta.name(made): made for made in slices(service, pods)}
        present = {meta.name(seen): seen for seen in self._cache.owned_by(core.ENDPOINT_SLICE, meta.uid(service))}
        for name, found in wanted.items():
            await self._write(found, present.get(name))
        for name in present.keys() - wanted.keys():
            try:
                await self._client.delete(core.ENDPOINT_SLICE, name, key.namespace)
            except NotFound:
                continue

    async def _write(self, wanted: Object, present: Object | None) -> None:
        if present is None:
            try:
                await self._client.create(core.ENDPOINT_SLICE, wanted, _WRITE)
            except AlreadyExists:
                return  # our own, not yet in the cache; its event brings us back
        elif any(present.get(field) != wanted[field] for field in ("endpoints", "ports")) or meta.labels(
            present
        ) != meta.labels(wanted):
            changed = {
                "endpoints": wanted["endpoints"],
                "ports": wanted["ports"],
                "metadata": {"labels": meta.labels(wanted)},
            }
            await self._client.patch(
                core.ENDPOINT_SLICE, meta.name(wanted), changed, meta.namespace(wanted), options=_WRITE
            )

    def _services_of_pod(self, pod: Object) -> list[Key]:
        labels = meta.labels(pod).items()
        return [
            meta.key(service)
            for service in self._cache.list(core.SERVICE, meta.namespace(pod))
            if (selector := meta.spec(service).get("selector")) and selector.items() <= labels
        ]


def slices(service: Object, pods: Objects) -> Objects:
    """The slices that a service should have for these pods; one, empty, when there are none."""
    grouped: dict[Ports, Objects] = defaultdict(list)
    for pod in sorted(pods, key=meta.name):
        if meta.status(pod).get("podIP") and meta.status(pod).get("phase") not in ("Succeeded", "Failed"):
            grouped[real_ports(service, pod)].append(endpoint(pod))
    if not grouped:
        grouped[()] = []
    return [_slice(service, ports, endpoints) for ports, endpoints in grouped.items()]


def real_ports(service: Object, pod: Object) -> Ports:
    """(name, number, protocol) of each service port on this pod; ports the pod does not have are left out."""
    given = json.loads(meta.annotations(pod).get(ANNOTATION) or "{}")
    found = []
    for port in meta.spec(service).get("ports") or []:
        declared = _declared(pod, port.get("targetPort", port.get("port")))
        if declared is not None:
            found.append((port.get("name", ""), int(given.get(str(declared), declared)), port.get("protocol", "TCP")))
    return tuple(found)


def endpoint(pod: Object) -> Object:
    ready, leaving = is_true(pod), meta.is_deleting(pod)
    return {
        "addresses": [meta.status(pod)["podIP"]],
        "conditions": {"ready": ready and not leaving, "serving": ready, "terminating": leaving},
        "nodeName": meta.spec(pod).get("nodeName", ""),
        "targetRef": {"kind": "Pod", "name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)},
    }


def _slice(service: Object, ports: Ports, endpoints: Objects) -> Object:
    suffix = hashlib.sha256(json.dumps(ports).encode()).hexdigest()[:5]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": names.child(meta.name(service), f"-{suffix}"),
            "namespace": meta.namespace(service),
            "labels": meta.labels(service) | {SERVICE_NAME: meta.name(service)} | _MANAGED_BY,
            "ownerReferences": [meta.controller_reference(service, core.SERVICE)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": name, "port": number, "protocol": protocol} for name, number, protocol in ports],
    }


def _declared(pod: Object, target: object) -> int | None:
    """A numeric target port as it is; a named one as some container declares it."""
    if isinstance(target, int):
        return target
    if isinstance(target, str) and target.isdigit():
        return int(target)
    for container in meta.spec(pod).get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _service_of_slice(found: Object) -> list[Key]:
    name = meta.labels(found).get(SERVICE_NAME)
    return [Key(meta.namespace(found), name)] if name else []
