"""The built-in Tasks, the Pipeline of them, and what turns a git push into its run.

Law: plain YAML beside this module; `<name>` in it is the installation's, `$(name)` is Tekton's. IO: reads its own
package's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from funcs.api.meta import Object

LABEL_REPOSITORY, LABEL_REVISION = "funcs.dev/git-repository", "funcs.dev/git-revision"
"""On a PipelineRun that a push began: the repository's name and the commit."""

TASKS = ("git-clone", "build", "push", "deploy")
PIPELINE = "build-and-deploy"
LISTENER = "git-push"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings:
    """`registry` is a host with its port; `webhook_secret` the Secret with the key that signs pushes ("" for none)."""

    tools_image: str
    namespace: str = "default"
    registry: str = "localhost:5000"
    service_account: str = "default"
    storage: str = "1Gi"
    webhook_secret: str = ""
    webhook_key: str = "token"


def builtin(settings: CatalogSettings) -> list[Object]:
    """All of it, in an order in which it can be applied."""
    places = {
        "<tools-image>": settings.tools_image,
        "<namespace>": settings.namespace,
        "<registry>": settings.registry,
        "<service-account>": settings.service_account,
        "<storage>": settings.storage,
    }
    objects: list[Object] = []
    for name in (*TASKS, PIPELINE, LISTENER):
        text = resources.files(__package__).joinpath("builtin", f"{name}.yaml").read_text(encoding="utf-8")
        objects += [_filled(document, places) for document in yaml.safe_load_all(text)]
    for obj in objects:
        obj["metadata"]["namespace"] = settings.namespace
        if obj["kind"] == "EventListener" and settings.webhook_secret:
            obj["spec"]["triggers"][0]["interceptors"] = [_signed(settings)]
    return objects


def _signed(settings: CatalogSettings) -> Object:
    """Only pushes, and only those signed with the key."""
    secret = {"secretName": settings.webhook_secret, "secretKey": settings.webhook_key}
    return {
        "ref": {"name": "github", "kind": "ClusterInterceptor"},
        "params": [{"name": "secretRef", "value": secret}, {"name": "eventTypes", "value": ["push"]}],
    }


def _filled(found: Any, places: Mapping[str, str]) -> Any:
    if isinstance(found, dict):
        return {key: _filled(value, places) for key, value in found.items()}
    if isinstance(found, list):
        return [_filled(value, places) for value in found]
    if isinstance(found, str):
        for place, value in places.items():
            found = found.replace(place, value)
    return found
