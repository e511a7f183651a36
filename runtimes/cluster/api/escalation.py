"""Nobody hands out what they do not hold: roles and bindings are checked against their author's own permissions.

Law: pure over the reader's roles; the verbs `escalate` (on roles) and `bind` (on the role bound) lift the check, as on
Kubernetes. No IO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from funcs.api import meta
from funcs.api.core import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.errors import Forbidden

from . import rbac
from .rbac import Attributes, Reader
from .users import MASTERS, User


@dataclass(frozen=True, slots=True)
class Escalation:
    reader: Reader
    guarded: ClassVar[frozenset[Kind]] = frozenset((ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING))

    def check(self, kind: Kind, obj: Object, user: User) -> None:
        """Raises Forbidden."""
        if kind not in self.guarded or MASTERS in user.groups:
            return
        wanted = self._granted(kind, obj, user)
        held = list(rbac.rules_for(user, meta.namespace(obj), self.reader))
        missing = [rule for rule in wanted if not rbac.covers(held, rule)]
        if missing:
            raise Forbidden(
                f'{kind.resource} "{meta.name(obj)}" is forbidden: user "{user.name}" (groups={list(user.groups)}) is '
                f"attempting to grant RBAC permissions not currently held: {missing}"
            )

    def _granted(self, kind: Kind, obj: Object, user: User) -> Objects:
        """The rules that the object would hand out, as far as they need to be held."""
        namespace = meta.namespace(obj)
        if kind in (ROLE, CLUSTER_ROLE):
            lifted = self._may(user, "escalate", kind, meta.name(obj), namespace)
            if obj.get("aggregationRule") and not lifted:
                return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            return [] if lifted else obj.get("rules") or []
        reference = obj.get("roleRef") or {}
        bound = CLUSTER_ROLE if reference.get("kind") == "ClusterRole" else ROLE
        if self._may(user, "bind", bound, str(reference.get("name", "")), namespace):
            return []
        return rbac.bound_rules(obj, self.reader)

    def _may(self, user: User, verb: str, kind: Kind, name: str, namespace: str) -> bool:
        wanted = Attributes(verb=verb, group=kind.group, resource=kind.plural, name=name, namespace=namespace)
        return rbac.is_allowed(user, wanted, self.reader)
