"""The roles that every cluster is born with: Kubernetes' own, and narrow ones for the platform's parts.

Law: data; made anew from this module whenever the cluster starts, by server-side apply. Components get what they do and
nothing more. Source: Kubernetes' bootstrap policy. No IO.
"""

from __future__ import annotations

from collections.abc import Iterable

from funcs.api.meta import Object, Objects

from .users import AUTHENTICATED, MASTERS, UNAUTHENTICATED

NODE_USER, GATEWAY_USER, BROKER_USER = "funcs:node", "funcs:gateway", "funcs:broker"

_GROUP = "rbac.authorization.k8s.io"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}

_OURS: dict[str, tuple[str, ...]] = {
    "serving.knative.dev": ("services", "configurations", "revisions", "routes"),
    "autoscaling.internal.knative.dev": ("podautoscalers",),
    "eventing.knative.dev": ("brokers", "triggers"),
    "tekton.dev": ("tasks", "pipelines", "taskruns", "pipelineruns"),
    "triggers.tekton.dev": ("eventlisteners", "triggerbindings", "triggertemplates"),
}


def bootstrap() -> Objects:
    """Every ClusterRole and ClusterRoleBinding of a new cluster."""
    return [
        _role("cluster-admin", [_rule("*", "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        _role("admin", _admin_rules()),
        _role("edit", _edit_rules()),
        _role("view", _view_rules()),
        _role("system:discovery", [_urls("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi",
                                         "/openapi/*", "/readyz", "/version", "/version/")]),
        _role("system:public-info-viewer", [_urls("/healthz", "/livez", "/readyz", "/version", "/version/")]),
        _role("system:basic-user", [
            _rule("authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
            _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
        ]),
        _role("system:service-account-issuer-discovery",
              [_urls("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks",
                     "/openid/v1/jwks/")]),
        _role("system:auth-delegator", _delegator_rules()),
        _role("system:node", _node_rules()),
        _role(NODE_USER, _node_rules()),
        _role(GATEWAY_USER, _gateway_rules()),
        _role(BROKER_USER, _broker_rules()),
        _binding("cluster-admin", "cluster-admin", [("Group", MASTERS)]),
        _binding("system:discovery", "system:discovery", [("Group", AUTHENTICATED)]),
        _binding("system:basic-user", "system:basic-user", [("Group", AUTHENTICATED)]),
        _binding("system:public-info-viewer", "system:public-info-viewer",
                 [("Group", AUTHENTICATED), ("Group", UNAUTHENTICATED)]),
        _binding("system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
                 [("Group", "system:serviceaccounts")]),
        *(_binding(name, name, [("User", name)]) for name in (NODE_USER, GATEWAY_USER, BROKER_USER)),
    ]  # fmt: skip


def _view_rules() -> Objects:
    return [
        _rule("", ["configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
                   "pods/log", "pods/status", "serviceaccounts", "services", "services/status", "events",
                   "namespaces", "namespaces/status"], _READ),
        _rule("discovery.k8s.io", ["endpointslices"], _READ),
        _rule("apps", ["deployments", "deployments/scale", "deployments/status", "replicasets", "replicasets/scale",
                       "replicasets/status"], _READ),
        *(_rule(group, (*plurals, *(f"{plural}/status" for plural in plurals)), _READ)
          for group, plurals in _OURS.items()),
    ]  # fmt: skip


def _edit_rules() -> Objects:
    return [
        *_view_rules(),
        _rule("", ["secrets"], _READ),
        _rule("", ["configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "secrets", "serviceaccounts",
                   "services"], _WRITE),
        _rule("", ["serviceaccounts/token", "pods/eviction"], ["create"]),
        _rule("", ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"],
              ("get", *_WRITE)),
        _rule("", ["serviceaccounts"], ["impersonate"]),
        _rule("apps", ["deployments", "deployments/scale", "replicasets", "replicasets/scale"], _WRITE),
        _rule("coordination.k8s.io", ["leases"], (*_READ, *_WRITE)),
        *(_rule(group, plurals, _WRITE) for group, plurals in _OURS.items()),
    ]  # fmt: skip


def _admin_rules() -> Objects:
    return [
        *_edit_rules(),
        _rule(_GROUP, ["roles", "rolebindings"], (*_READ, *_WRITE)),
        _rule("authorization.k8s.io", ["localsubjectaccessreviews"], ["create"]),
    ]


def _delegator_rules() -> Objects:
    return [
        _rule("authentication.k8s.io", ["tokenreviews"], ["create"]),
        _rule("authorization.k8s.io", ["subjectaccessreviews"], ["create"]),
    ]


def _node_rules() -> Objects:
    """The node runs pods: it reads what pods mount, writes their status, and keeps its own Node and Lease."""
    return [
        *_delegator_rules(),
        _rule("", ["services", "endpoints", "namespaces", "configmaps", "secrets", "serviceaccounts",
                   "persistentvolumeclaims"], _READ),
        _rule("", ["persistentvolumeclaims/status"], ["get", "patch", "update"]),
        _rule("", ["pods"], (*_READ, "delete", "patch")),
        _rule("", ["pods/status"], ["get", "patch", "update"]),
        _rule("", ["nodes"], (*_READ, "create", "patch", "update")),
        _rule("", ["nodes/status"], ["get", "patch", "update"]),
        _rule("", ["events"], ["create", "patch", "update"]),
        _rule("", ["serviceaccounts/token"], ["create"]),
        _rule("coordination.k8s.io", ["leases"], (*_READ, "create", "patch", "update", "delete")),
    ]  # fmt: skip


def _gateway_rules() -> Objects:
    """The gateway only watches: routes, revisions and their endpoints."""
    return [
        _rule("", ["services", "endpoints", "pods", "namespaces", "configmaps"], _READ),
        _rule("discovery.k8s.io", ["endpointslices"], _READ),
        _rule("serving.knative.dev", ["*"], _READ),
        _rule("autoscaling.internal.knative.dev", ["*"], _READ),
    ]


def _broker_rules() -> Objects:
    """The broker runs eventing's controllers: status of Brokers and Triggers, subscribers, injected Brokers."""
    return [
        _rule("eventing.knative.dev", ["*"], (*_READ, "create", "patch", "update")),
        _rule("", ["services", "configmaps", "namespaces"], _READ),
        _rule("serving.knative.dev", ["services", "routes"], _READ),
        _rule("", ["events"], ["create", "patch", "update"]),
        _rule("coordination.k8s.io", ["leases"], (*_READ, "create", "patch", "update")),
    ]


def _rule(group: str, resources: Iterable[str] | str, verbs: Iterable[str] | str) -> Object:
    return {
        "verbs": [verbs] if isinstance(verbs, str) else list(verbs),
        "apiGroups": [group],
        "resources": [resources] if isinstance(resources, str) else list(resources),
    }


def _urls(*urls: str) -> Object:
    return {"verbs": ["get"], "nonResourceURLs": list(urls)}


def _role(name: str, rules: Objects) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": dict(_LABELS)},
        "rules": rules,
    }


def _binding(name: str, role: str, subjects: Iterable[tuple[str, str]]) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": dict(_LABELS)},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _GROUP, "kind": kind, "name": subject} for kind, subject in subjects],
    }
