"""Namespaces: what each is born with, and how one ends.

Law: every live namespace has a `default` ServiceAccount and the cluster's root certificate; a deleted one stays
Terminating until nothing is left in it. IO: through the Client port.
"""

from __future__ import annotations

from functools import partial

from funcs.api import core, meta
from funcs.api.catalog import KINDS
from funcs.api.core_rules import NAMESPACE_FINALIZER
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.client import Client, Selection, WriteOptions
from funcs.control.controller import Cache, Controller, LookAgain, Watch
from funcs.errors import AlreadyExists, NotFound

ROOT_CA = "kube-root-ca.crt"
_WRITE = WriteOptions(manager="namespace-controller")
_NAMESPACED = tuple(kind for kind in KINDS if kind.namespaced)


class Namespaces:
    """Reconciles core/v1 Namespaces."""

    def __init__(self, client: Client, cache: Cache, *, root_ca: str) -> None:
        self._client = client
        self._cache = cache
        self._root_ca = root_ca

    def controller(self) -> Controller:
        inside = tuple(Watch(kind, partial(self._namespace_of, kind)) for kind in _NAMESPACED)
        return Controller("namespaces", self.reconcile, (Watch(core.NAMESPACE), *inside))

    async def reconcile(self, key: Key) -> LookAgain | None:
        namespace = self._cache.get(core.NAMESPACE, key.name)
        if namespace is None:
            return None
        if meta.is_deleting(namespace):
            return await self._empty(namespace)
        if meta.status(namespace).get("phase") != "Active":
            await self._client.patch_status(core.NAMESPACE, key.name, {"phase": "Active"})
        for kind, obj in births(key.name, self._root_ca):
            if self._cache.get(kind, meta.name(obj), key.name) is None:
                try:
                    await self._client.create(kind, obj, _WRITE)
                except AlreadyExists:
                    continue
        return None

    async def _empty(self, namespace: Object) -> LookAgain | None:
        """Delete what is inside; drop our finalizer once a fresh list of every kind is empty."""
        name = meta.name(namespace)
        if meta.status(namespace).get("phase") != "Terminating":
            await self._client.patch_status(core.NAMESPACE, name, {"phase": "Terminating"})
        left = 0
        for kind in _NAMESPACED:
            for obj in (await self._client.list(kind, Selection(namespace=name))).items:
                left += 1
                if not meta.is_deleting(obj):
                    await self._delete(kind, obj)
        if left:
            return LookAgain(1.0)  # objects with finalizers end in their own time; their events come sooner
        remaining = [found for found in meta.finalizers(namespace) if found != NAMESPACE_FINALIZER]
        if remaining != meta.finalizers(namespace):
            await self._client.patch(core.NAMESPACE, name, {"metadata": {"finalizers": remaining}}, options=_WRITE)
        return None

    async def _delete(self, kind: Kind, obj: Object) -> None:
        try:
            await self._client.delete(kind, meta.name(obj), meta.namespace(obj))
        except NotFound:
            return

    def _namespace_of(self, kind: Kind, obj: Object) -> list[Key]:
        """Only what can matter: anything in a terminating namespace, and the two births."""
        name = meta.namespace(obj)
        namespace = self._cache.get(core.NAMESPACE, name)
        if namespace is None:
            return []
        born = (kind, meta.name(obj)) in ((core.SERVICE_ACCOUNT, "default"), (core.CONFIG_MAP, ROOT_CA))
        return [Key("", name)] if born or meta.is_deleting(namespace) else []


def births(namespace: str, root_ca: str) -> tuple[tuple[Kind, Object], ...]:
    """What every namespace has from the start (Kubernetes: serviceaccount and root-ca-cert-publisher controllers)."""
    return (
        (
            core.SERVICE_ACCOUNT,
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}},
        ),
        (
            core.CONFIG_MAP,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": ROOT_CA, "namespace": namespace},
                "data": {"ca.crt": root_ca},
            },
        ),
    )
