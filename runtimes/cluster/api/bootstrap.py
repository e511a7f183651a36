"""What a cluster holds before anybody uses it: namespaces, roles and the definitions of our kinds.

Law: applied at every start under one field manager, so that a new release brings its new roles, and nothing is
written when nothing changed. IO: the Client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from funcs.api import catalog, core, meta, schema
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.control.client import Client, WriteOptions

from . import roles

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_OPTIONS = WriteOptions(manager="funcs-bootstrap", user="system:apiserver")


async def bootstrap(
    client: Client, kinds: Sequence[Kind], views: Mapping[Kind, type[msgspec.Struct]], now: float
) -> None:
    """Idempotent; a settled cluster costs no writes."""
    for obj in objects(kinds, views):
        await client.apply(catalog.kind_of(obj), obj, _OPTIONS)
    for definition in definitions(kinds, views):
        await _establish(client, meta.name(definition), now)


def objects(kinds: Sequence[Kind], views: Mapping[Kind, type[msgspec.Struct]]) -> Objects:
    namespaces = [_namespace(name) for name in NAMESPACES]
    return [*namespaces, *roles.bootstrap(), *definitions(kinds, views)]


def definitions(kinds: Sequence[Kind], views: Mapping[Kind, type[msgspec.Struct]]) -> Objects:
    """CustomResourceDefinitions of every kind that is not Kubernetes' own."""
    return [schema.crd(kind, views.get(kind)) for kind in kinds if kind not in core.KINDS]


def _namespace(name: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


async def _establish(client: Client, name: str, now: float) -> None:
    """Say that a definition is served, once, so that `kubectl wait --for=condition=Established` ends."""
    found = await client.get(core.CUSTOM_RESOURCE_DEFINITION, name)
    if meta.status(found).get("conditions"):
        return
    spec = meta.spec(found)
    at = meta.timestamp(now)
    conditions = [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found",
         "lastTransitionTime": at},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
         "message": "the initial names have been accepted", "lastTransitionTime": at},
    ]  # fmt: skip
    stored = [version["name"] for version in spec["versions"]]
    status = {"acceptedNames": spec["names"], "conditions": conditions, "storedVersions": stored}
    await client.patch_status(core.CUSTOM_RESOURCE_DEFINITION, name, status)
