"""What the gateway knows of the cluster: Routes, Revisions and EndpointSlices, kept by informers.

Law: only what routing needs is held of each object, so a revision at zero costs little; while the API is away, the last
known state serves on. The IO is the Client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.core import ENDPOINT_SLICE
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.api.serving import REVISION, ROUTE
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.control.informer import Informer, Mirror

from .. import names
from ..workload import port_of
from .backend import Address, Limits
from .gateway import Gateway
from .table import slim

SERVICE_NAME = "kubernetes.io/service-name"


class SlimMirror(Mirror):
    """Keeps of each object what `slim` leaves of it."""

    def __init__(self, slim: Callable[[Object], Object]) -> None:
        super().__init__()
        self._slim = slim

    def put(self, new: Object) -> None:
        super().put(self._slim(new))


class Watches:
    """The gateway's World. `run` keeps it and tells `gateway` what changed; `synced` is once all was listed."""

    def __init__(self, client: Client, clock: Clock, random: Callable[[], float]) -> None:
        self._revisions = SlimMirror(slim_revision)
        self._routes = SlimMirror(slim)
        self._slices = SlimMirror(slim_slice)
        self._addresses: dict[Key, dict[str, tuple[Address, ...]]] = {}
        mirrors: dict[Kind, Mirror] = {ROUTE: self._routes, REVISION: self._revisions, ENDPOINT_SLICE: self._slices}
        self._informers = [Informer(kind, mirror, client, clock, random) for kind, mirror in mirrors.items()]

    def limits(self, key: Key) -> Limits:
        found = self._revisions.get(key)
        return limits_of(meta.spec(found)) if found is not None else Limits()

    def addresses(self, key: Key) -> Iterable[Address]:
        slices = self._addresses.get(Key(key.namespace, names.private_service(key.name)), {})
        return [address for _, addresses in sorted(slices.items()) for address in addresses]

    def feed(self, gateway: Gateway) -> None:
        """Tell `gateway` of every change from now on; before `run`."""

        def route_changed(old: Object | None, new: Object | None) -> None:
            gateway.table.set(meta.key(new or old or {}), new)

        def revision_changed(old: Object | None, new: Object | None) -> None:
            gateway.changed(meta.key(new or old or {}))

        def slice_changed(old: Object | None, new: Object | None) -> None:
            revision = self._index(old, new)
            if revision is not None:
                gateway.changed(revision)

        self._routes.listeners.append(route_changed)
        self._revisions.listeners.append(revision_changed)
        self._slices.listeners.append(slice_changed)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())

    async def synced(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()

    def _index(self, old: Object | None, new: Object | None) -> Key | None:
        """Keep `_addresses`; the revision concerned, if any."""
        if old is not None:
            service = Key(meta.namespace(old), meta.labels(old).get(SERVICE_NAME, ""))
            slices = self._addresses.get(service, {})
            slices.pop(meta.name(old), None)
            if not slices:
                self._addresses.pop(service, None)
        if new is not None and new["addresses"]:
            service = Key(meta.namespace(new), meta.labels(new).get(SERVICE_NAME, ""))
            self._addresses.setdefault(service, {})[meta.name(new)] = new["addresses"]
        seen = new or old or {}
        revision = meta.labels(seen).get(keys.REVISION)
        return Key(meta.namespace(seen), revision) if revision else None


def slim_revision(revision: Object) -> Object:
    """The limits only: see `limits_of`."""
    spec = meta.spec(revision)
    fields = ("containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds")
    kept = {field: spec[field] for field in fields if spec.get(field)}
    protocol = port_of(spec).get("name")
    if protocol:
        kept["protocol"] = protocol
    return {"metadata": _identity(revision), "spec": kept}


def limits_of(spec: Object) -> Limits:
    return Limits(
        concurrency=int(spec.get("containerConcurrency") or 0),
        timeout=float(spec.get("timeoutSeconds") or 300),
        response_start=float(spec.get("responseStartTimeoutSeconds") or 0),
        idle=float(spec.get("idleTimeoutSeconds") or 0),
        protocol=spec.get("protocol") or "http1",
    )


def slim_slice(found: Object) -> Object:
    """Whose it is, and the ready addresses with the slice's port."""
    labels = meta.labels(found)
    kept = {key: labels[key] for key in (SERVICE_NAME, keys.REVISION) if key in labels}
    ports = [port["port"] for port in found.get("ports") or [] if port.get("port")]
    addresses = tuple(
        (str(endpoint["addresses"][0]), int(ports[0]))
        for endpoint in found.get("endpoints") or []
        if ports and endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False
    )
    return {"metadata": {**_identity(found), "labels": kept}, "addresses": addresses}


def _identity(obj: Object) -> Object:
    return {field: meta.metadata(obj).get(field) for field in ("name", "namespace", "resourceVersion")}
