"""Role-based access control: may this user do this, and what may this user do at all.

Law: pure over the roles and bindings that a reader holds; nothing is ever denied by a rule, only not allowed. The
wording of a refusal is Kubernetes', because clients and people search for it. Source: Kubernetes' RBAC. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from funcs.api import meta
from funcs.api.core import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects

from .users import MASTERS, User


class Reader(Protocol):
    """The part of `funcs.control.controller.Cache` that authorization reads."""

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None: ...

    def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Objects: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One action. `path` is set, and the rest of no meaning, for a request that is not for a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def resource_path(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def is_allowed(user: User, attributes: Attributes, reader: Reader) -> bool:
    if MASTERS in user.groups:
        return True
    return any(_rule_allows(rule, attributes) for rule in rules_for(user, attributes.namespace, reader))


def refusal(user: User, attributes: Attributes) -> str:
    """The message of a 403, without its `<resource> is forbidden: ` opening."""
    if attributes.path:
        return f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {attributes.verb} resource "{attributes.resource_path}" '
        f'in API group "{attributes.group}" {scope}'
    )


def rules_for(user: User, namespace: str, reader: Reader) -> Iterator[Object]:
    """Every rule that holds for the user: cluster-wide ones, then those of the namespace."""
    for binding in reader.list(CLUSTER_ROLE_BINDING):
        if _binds(binding, user, ""):
            yield from bound_rules(binding, reader)
    if namespace:
        for binding in reader.list(ROLE_BINDING, namespace):
            if _binds(binding, user, namespace):
                yield from bound_rules(binding, reader)


def bound_rules(binding: Object, reader: Reader) -> Objects:
    """The rules of the role that a binding refers to; none while the role does not exist."""
    reference = binding.get("roleRef") or {}
    if reference.get("kind") == "ClusterRole":
        role = reader.get(CLUSTER_ROLE, reference.get("name", ""))
    else:
        role = reader.get(ROLE, reference.get("name", ""), meta.namespace(binding))
    return role_rules(role, reader) if role is not None else []


def role_rules(role: Object, reader: Reader) -> Objects:
    """A role's own rules and, for an aggregated ClusterRole, those of every role that its selectors choose."""
    rules: Objects = list(role.get("rules") or [])
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []:
        for chosen in reader.list(CLUSTER_ROLE, None, selector.get("matchLabels") or {}):
            if meta.name(chosen) != meta.name(role):
                rules.extend(chosen.get("rules") or [])
    return rules


def covers(owned: Iterable[Object], wanted: Object) -> bool:
    """Whether one who holds `owned` rules may hand out `wanted`: every single permission in it is already owned."""
    rules = list(owned)
    verbs = wanted.get("verbs") or []
    for path in wanted.get("nonResourceURLs") or []:
        if not all(any(_path_allows(rule, verb, path) for rule in rules) for verb in verbs):
            return False
    for verb in verbs:
        for group in wanted.get("apiGroups") or []:
            for resource in wanted.get("resources") or []:
                names = wanted.get("resourceNames") or [""]
                if not all(any(_covers_one(rule, verb, group, resource, name) for rule in rules) for name in names):
                    return False
    return True


def _covers_one(rule: Object, verb: str, group: str, resource: str, name: str) -> bool:
    resource, _, subresource = resource.partition("/")
    wanted = Attributes(verb=verb, group=group, resource=resource, subresource=subresource, name=name)
    return _rule_allows(rule, wanted)


def _binds(binding: Object, user: User, namespace: str) -> bool:
    return any(_is_subject(subject, user, namespace) for subject in binding.get("subjects") or [])


def _is_subject(subject: Object, user: User, namespace: str) -> bool:
    name = subject.get("name", "")
    match subject.get("kind"):
        case "User":
            return name in (user.name, "*")
        case "Group":
            return name in user.groups
        case "ServiceAccount":
            home = subject.get("namespace") or namespace
            return bool(home) and user.name == f"system:serviceaccount:{home}:{name}"
        case _:
            return False


def _rule_allows(rule: Object, wanted: Attributes) -> bool:
    if wanted.path:
        return _path_allows(rule, wanted.verb, wanted.path)
    names = rule.get("resourceNames") or []
    return (
        _matches(rule.get("verbs"), wanted.verb)
        and _matches(rule.get("apiGroups"), wanted.group)
        and _names_resource(rule.get("resources") or [], wanted)
        and (not names or wanted.name in names)
    )


def _path_allows(rule: Object, verb: str, path: str) -> bool:
    if not _matches(rule.get("verbs"), verb):
        return False
    return any(
        url == path or (url.endswith("*") and path.startswith(url[:-1])) for url in rule.get("nonResourceURLs") or []
    )


def _names_resource(resources: list[str], wanted: Attributes) -> bool:
    if "*" in resources or wanted.resource_path in resources:
        return True
    return bool(wanted.subresource) and f"*/{wanted.subresource}" in resources


def _matches(values: list[str] | None, wanted: str) -> bool:
    return "*" in (values or ()) or wanted in (values or ())
