"""Names and hosts of what Serving makes.

Law: deterministic, and equal to upstream's byte for byte; a host is always `<label>.<namespace>.<…>`. No IO.
"""

from __future__ import annotations

from funcs.api.names import child

from .settings import ServingSettings


def revision(configuration: str, generation: int) -> str:
    """The name of a revision whose author gave none: `hello-00001`."""
    return child(configuration, f"-{generation:05d}")


def deployment(revision_name: str) -> str:
    return child(revision_name, "-deployment")


def private_service(revision_name: str) -> str:
    """The Kubernetes Service whose endpoints are the revision's pods."""
    return child(revision_name, "-private")


def tagged(route: str, tag: str) -> str:
    """The host label of a tag (config-network's tag-template, `{{.Tag}}-{{.Name}}`)."""
    return f"{tag}-{route}" if tag else route


def host(label: str, namespace: str, settings: ServingSettings) -> str:
    return f"{label}.{namespace}.{settings.domain}"


def local_host(label: str, namespace: str, settings: ServingSettings) -> str:
    return f"{label}.{namespace}.svc.{settings.cluster_domain}"


def url(label: str, namespace: str, settings: ServingSettings, *, local: bool) -> str:
    if local:
        return f"http://{local_host(label, namespace, settings)}"
    port = f":{settings.external_port}" if settings.external_port not in (None, 80) else ""
    return f"http://{host(label, namespace, settings)}{port}"
