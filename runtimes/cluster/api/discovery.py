"""Discovery: which groups, versions and resources there are, in the plain and in the aggregated form.

Law: pure, made once from the list of kinds; `kubectl api-resources`, client-go's mappers and the Python client read it.
Sources: apidiscovery.k8s.io/v2 and metav1.APIResourceList. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from funcs.api.core import POD, SERVICE_ACCOUNT
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects

AGGREGATED = ("APIGroupDiscoveryList;v2", "APIGroupDiscoveryList;v2beta1")
_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CREATE_ONLY = ("create",)


@dataclass(frozen=True, slots=True)
class Subresource:
    """What discovery tells of a subresource; `kind` is (group, version, kind) of what it takes and gives."""

    name: str
    kind: tuple[str, str, str]
    verbs: tuple[str, ...]


def subresources(kind: Kind) -> list[Subresource]:
    found: list[Subresource] = []
    if kind.status:
        found.append(Subresource("status", kind.identity, ("get", "patch", "update")))
    if kind.scale is not None:
        found.append(Subresource("scale", ("autoscaling", "v1", "Scale"), ("get", "patch", "update")))
    if kind == POD:
        found.append(Subresource("log", kind.identity, ("get",)))
    if kind == SERVICE_ACCOUNT:
        found.append(Subresource("token", ("authentication.k8s.io", "v1", "TokenRequest"), _CREATE_ONLY))
    return found


class Discovery:
    """`reviews` are kinds that are only ever created and never stored."""

    def __init__(self, kinds: Sequence[Kind], reviews: Sequence[Kind] = ()) -> None:
        self._kinds = tuple(kinds)
        self._reviews = tuple(reviews)
        self._versions: dict[str, list[str]] = {}
        for kind in (*self._kinds, *self._reviews):
            versions = self._versions.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)

    def core(self, host: str) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
        return {"kind": "APIVersions", "versions": self._versions.get("", []), "serverAddressByClientCIDRs": addresses}

    def groups(self) -> Object:
        groups = [self._group(name) for name in self._versions if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, name: str) -> Object | None:
        if not name or name not in self._versions:
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)}

    def resources(self, group: str, version: str) -> Object | None:
        """The APIResourceList of a group's version."""
        found: Objects = []
        for kind in self._of(group, version):
            found.append(_resource(kind, self._verbs(kind)))
            found.extend(_subresource(kind, subresource) for subresource in self._parts(kind))
        if not found:
            return None
        group_version = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}

    def aggregated(self, version: str, *, core: bool) -> Object:
        """The one document that tells all: of the core group under /api, of all others under /apis."""
        items = [self._aggregated_group(name) for name in self._versions if (name == "") is core]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }

    def _of(self, group: str, version: str) -> Iterable[Kind]:
        return (kind for kind in (*self._kinds, *self._reviews) if (kind.group, kind.version) == (group, version))

    def _verbs(self, kind: Kind) -> tuple[str, ...]:
        return _CREATE_ONLY if kind in self._reviews else _ALL_VERBS

    def _parts(self, kind: Kind) -> list[Subresource]:
        return [] if kind in self._reviews else subresources(kind)

    def _group(self, name: str) -> Object:
        versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in self._versions[name]]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _aggregated_group(self, name: str) -> Object:
        versions = [
            {
                "version": version,
                "resources": [self._aggregated_resource(kind) for kind in self._of(name, version)],
                "freshness": "Current",
            }
            for version in self._versions[name]
        ]
        return {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}

    def _aggregated_resource(self, kind: Kind) -> Object:
        resource: Object = {
            "resource": kind.plural,
            "responseKind": _response_kind(kind.identity),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(self._verbs(kind)),
        }
        if kind.short_names:
            resource["shortNames"] = list(kind.short_names)
        if kind.categories:
            resource["categories"] = list(kind.categories)
        parts = self._parts(kind)
        if parts:
            resource["subresources"] = [
                {"subresource": part.name, "responseKind": _response_kind(part.kind), "verbs": list(part.verbs)}
                for part in parts
            ]
        return resource


def _response_kind(identity: tuple[str, str, str]) -> Object:
    group, version, kind = identity
    return {"group": group, "version": version, "kind": kind}


def _resource(kind: Kind, verbs: Sequence[str]) -> Object:
    resource: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    return resource


def _subresource(kind: Kind, part: Subresource) -> Object:
    group, version, name = part.kind
    resource: Object = {
        "name": f"{kind.plural}/{part.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": name,
        "verbs": list(part.verbs),
    }
    if part.kind != kind.identity:
        resource |= {"group": group, "version": version}
    return resource
