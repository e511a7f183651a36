"""The built-in Tasks, Pipeline and git listener, in every namespace that asks for them.

Law: a namespace asks by the label `funcs.dev/builds: enabled`; what its builds may do is said here, by role, and is no
more than a deploy needs. They come once the tools image is there (ConfigMap `funcs-tools` in `kube-system`). IO:
through the Client port.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from funcs.api import core, meta
from funcs.api.catalog import kind_of
from funcs.api.meta import Key, Object, Objects
from funcs.control.client import Client, WriteOptions
from funcs.control.controller import Cache, Controller, Watch
from pipelines.tasks.catalog import CatalogSettings, builtin

from .places import Record

LABEL = "funcs.dev/builds"
TOOLS = Key("kube-system", "funcs-tools")
ACCOUNT = "builder"
DEPLOYER = "funcs:deployer"
WEBHOOK = "git-webhook"
_OPTIONS = WriteOptions(manager="funcs-builtins", user="system:funcs")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSecrets:
    """What builds get: a token that writes to registry and git, and the key that signs pushes."""

    token: str
    webhook: str


class Builtins:
    """Reconciles namespaces."""

    def __init__(self, client: Client, cache: Cache, record: Record, secrets: BuildSecrets) -> None:
        self._client, self._cache, self._record, self._secrets = client, cache, record, secrets

    def controller(self) -> Controller:
        return Controller(
            "builtins", self.reconcile, (Watch(core.NAMESPACE), Watch(core.CONFIG_MAP, self._all_that_ask))
        )

    async def reconcile(self, key: Key) -> None:
        namespace = self._cache.get(core.NAMESPACE, key.name)
        tools = self._cache.get(core.CONFIG_MAP, TOOLS.name, TOOLS.namespace)
        if namespace is None or tools is None or meta.is_deleting(namespace) or not _asks(namespace):
            return
        for obj in objects(key.name, tools["data"]["image"], self._record, self._secrets):
            await self._client.apply(kind_of(obj), obj, _OPTIONS)

    def _all_that_ask(self, found: Object) -> list[Key]:
        if meta.key(found) != TOOLS:
            return []
        return [meta.key(namespace) for namespace in self._cache.list(core.NAMESPACE) if _asks(namespace)]


def objects(namespace: str, tools_image: str, record: Record, secrets: BuildSecrets) -> Objects:
    """All that a namespace gets, in an order in which it can be applied."""
    settings = CatalogSettings(
        tools_image=tools_image,
        namespace=namespace,
        registry=record.registry,
        service_account=ACCOUNT,
        webhook_secret=WEBHOOK,
    )
    return [*_identity(namespace, record, secrets), *builtin(settings)]


def tools_config(image: str) -> Object:
    """Says that the tools image is there; this is what namespaces wait for."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": TOOLS.name, "namespace": TOOLS.namespace},
        "data": {"image": image},
    }


def deployer_role() -> Object:
    """What a deploy step does, and nothing else."""
    everything = ["get", "list", "watch", "create", "update", "patch", "delete"]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": DEPLOYER},
        "rules": [
            {"apiGroups": ["serving.knative.dev"], "resources": ["services"], "verbs": everything},
            {"apiGroups": ["eventing.knative.dev"], "resources": ["triggers"], "verbs": everything},
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        ],
    }


def _identity(namespace: str, record: Record, secrets: BuildSecrets) -> Objects:
    """The builds' service account, its role, and its credentials in Tekton's form."""
    hub = f"127.0.0.1:{record.ports.hub}"
    basic = base64.b64encode(f"funcs:{secrets.token}".encode()).decode()
    docker = json.dumps({"auths": {record.registry: {"auth": basic}}})
    return [
        _secret(namespace, WEBHOOK, "Opaque", {"token": secrets.webhook}),
        _secret(namespace, "builder-registry", "kubernetes.io/dockerconfigjson", {".dockerconfigjson": docker}),
        _secret(namespace, "builder-git", "kubernetes.io/basic-auth", {"username": "funcs", "password": secrets.token})
        | {"metadata": {
            "name": "builder-git", "namespace": namespace, "annotations": {"tekton.dev/git-0": f"http://{hub}"},
        }},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": namespace},
            "secrets": [{"name": "builder-registry"}, {"name": "builder-git"}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "funcs-builder", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": DEPLOYER},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        },
    ]  # fmt: skip


def _secret(namespace: str, name: str, type: str, data: dict[str, str]) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": type,
        "metadata": {"name": name, "namespace": namespace},
        "data": encoded,
    }


def _asks(namespace: Object) -> bool:
    return meta.labels(namespace).get(LABEL) == "enabled"
