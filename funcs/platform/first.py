"""What a cluster of ours holds from its first start, beyond what every Kubernetes does.

Law: applied at every start under one field manager; what a person changed since stays theirs where they own it. No IO.
"""

from __future__ import annotations

from funcs.api.meta import Object, Objects
from funcs.control.client import WriteOptions

from .builtins import LABEL, deployer_role

SYSTEM_NAMESPACES = ("knative-serving", "knative-eventing", "tekton-pipelines")
OPTIONS = WriteOptions(manager="funcs-first", user="system:funcs")

# Upstream waits 30 s between the last request and zero, for its activator to get into the path. Our gateway always is.
_AUTOSCALER = {"scale-to-zero-grace-period": "6s"}


def first_objects() -> Objects:
    return [
        *(_named("Namespace", name) for name in SYSTEM_NAMESPACES),
        _named("Namespace", "default") | {"metadata": {"name": "default", "labels": {LABEL: "enabled"}}},
        deployer_role(),
        _named("ConfigMap", "config-autoscaler", "knative-serving") | {"data": _AUTOSCALER},
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Broker",
            "metadata": {"name": "default", "namespace": "default"},
        },
    ]


def _named(kind: str, name: str, namespace: str = "") -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}
