"""Namespaces: what each is born with, and how one ends.

Law: every live namespace has a `default` ServiceAccount and the cluster's root certificate; a deleted one stays
Terminating until nothing is left in it. IO: through the Client port.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from funcs.api import core, meta
from funcs.api.admission import Request, Rules
from funcs.api.catalog import KINDS
from funcs.api.core_rules import NAMESPACE_FINALIZER
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.client import Client, Selection, WriteOptions
from funcs.control.controller import Cache, Controller, LookAgain, Watch
from funcs.errors import AlreadyExists, Forbidden, NotFound

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
        left = [
            (kind, obj)
            for kind in _NAMESPACED
            for obj in (await self._client.list(kind, Selection(namespace=name))).items
        ]
        for kind, obj in next_to_go(left):
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


def next_to_go(left: Sequence[tuple[Kind, Object]]) -> list[tuple[Kind, Object]]:
    """What nobody controls goes first and takes with it what it controls, so that no controller replaces what goes."""
    staying = [(kind, obj) for kind, obj in left if not meta.is_deleting(obj)]
    return [(kind, obj) for kind, obj in staying if meta.controller(obj) is None] or staying


def lasting(rules: Rules, cache: Cache) -> Rules:
    """The rules of a namespaced kind, and that nothing new comes into a namespace that is ending.

    In Kubernetes' words (the NamespaceLifecycle admission plug-in); our own controllers pass it too, so that a
    replica set does not refill what is being emptied.
    """

    def default(request: Request) -> None:
        name = meta.namespace(request.object)
        namespace = cache.get(core.NAMESPACE, name) if request.operation == "CREATE" else None
        if namespace is not None and meta.is_deleting(namespace):
            raise Forbidden(
                f'{request.kind.plural} "{meta.name(request.object)}" is forbidden: unable to create new content in '
                f"namespace {name} because it is being terminated"
            )
        rules.default(request)

    return Rules(default=default, validate=rules.validate, warn=rules.warn)


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
