"""Defaulting of Serving's resources, and who created and last changed them.

Law: changes the object under review in place, only where the author said nothing; a revision's defaults are not taken
again on update, nor a template's whose author named it and left the name, so that a new default is not a change.
Sources: knative.dev/serving, package apis/serving/v1; ConfigMap config-defaults. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import meta
from .admission import Request
from .meta import Object
from .serving_keys import CREATOR, LAST_MODIFIER

Config = Mapping[str, str]

TIMEOUT_SECONDS = 300
MAX_TIMEOUT_SECONDS = 600
MAX_CONTAINER_CONCURRENCY = 1000
SERVING_PORT = 8080
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


def default_service(request: Request) -> None:
    _default_template(request)
    traffic = _spec(request).setdefault("traffic", [])
    if traffic == []:
        traffic.append({"latestRevision": True, "percent": 100})
    _default_traffic(traffic)
    _record_user(request)


def default_configuration(request: Request) -> None:
    _default_template(request)
    _record_user_unless_owned(request)


def default_route(request: Request) -> None:
    _default_traffic(_spec(request).get("traffic"))
    _record_user_unless_owned(request)


def default_revision(request: Request) -> None:
    if request.operation == "CREATE":
        default_revision_spec(_spec(request), request.config.get("config-defaults", {}))


def default_revision_spec(spec: Object, config: Config) -> None:
    """`config` is the data of config-defaults."""
    timeout = _whole(config, "revision-timeout-seconds", TIMEOUT_SECONDS)
    if not spec.get("timeoutSeconds"):
        spec["timeoutSeconds"] = timeout
    _default_if_shorter(
        spec, "responseStartTimeoutSeconds", _whole(config, "revision-response-start-timeout-seconds", timeout)
    )
    _default_if_shorter(spec, "idleTimeoutSeconds", _whole(config, "revision-idle-timeout-seconds", 0))
    if spec.get("containerConcurrency") is None:
        spec["containerConcurrency"] = _whole(config, "container-concurrency", 0)
    if spec.get("enableServiceLinks") is None and config.get("enable-service-links", "false") != "default":
        spec["enableServiceLinks"] = config.get("enable-service-links", "false") == "true"
    _default_containers(spec, config)


def serving_container(spec: Object) -> Object | None:
    """The container that takes requests: the only one, or the one that declares a port."""
    containers = [one for one in spec.get("containers") or [] if isinstance(one, dict)]
    if len(containers) == 1:
        return containers[0]
    return next((one for one in containers if one.get("ports")), None)


def _default_template(request: Request) -> None:
    template = _child(_spec(request), "template")
    if template is None or _keeps_its_own_name(request, template):
        return
    spec = template.setdefault("spec", {})
    if isinstance(spec, dict):
        default_revision_spec(spec, request.config.get("config-defaults", {}))


def _keeps_its_own_name(request: Request, template: Object) -> bool:
    if request.operation != "UPDATE" or request.old is None:
        return False
    name = meta.name(template)
    return bool(name) and name == meta.name(meta.spec(request.old).get("template") or {})


def _default_traffic(traffic: Any) -> None:
    for target in traffic if isinstance(traffic, list) else []:
        if isinstance(target, dict) and target.get("latestRevision") is None:
            target["latestRevision"] = not target.get("revisionName")


def _default_if_shorter(spec: Object, field: str, value: int) -> None:
    timeout = spec["timeoutSeconds"]
    if spec.get(field) is None and isinstance(timeout, int) and 0 < value < timeout:
        spec[field] = value


def _default_containers(spec: Object, config: Config) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list):
        return
    serving = serving_container(spec)
    stem = config.get("container-name-template") or "user-container"
    for index, container in enumerate(containers):
        if not isinstance(container, dict):
            continue
        if not container.get("name"):
            container["name"] = stem if len(containers) == 1 else f"{stem}-{index}"
        _default_container(container, config, serves=container is serving)
    for index, container in enumerate(spec.get("initContainers") or []):
        if isinstance(container, dict) and not container.get("name"):
            container["name"] = "init-container" if len(spec["initContainers"]) == 1 else f"init-container-{index}"
    _default_mounts(spec)


def _default_container(container: Object, config: Config, *, serves: bool) -> None:
    _default_resources(container, config)
    for port in container.get("ports") or []:
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")
            port.setdefault("name", "")
    if serves:
        _default_readiness(container)
    for probe in ("livenessProbe", "startupProbe"):
        found = container.get(probe)
        if isinstance(found, dict):
            for field, value in (("periodSeconds", 10), ("timeoutSeconds", 1), ("failureThreshold", 3)):
                if not found.get(field):
                    found[field] = value


def _default_readiness(container: Object) -> None:
    probe = container.setdefault("readinessProbe", {})
    if not isinstance(probe, dict):
        return
    if not any(probe.get(handler) is not None for handler in ("tcpSocket", "httpGet", "exec", "grpc")):
        probe["tcpSocket"] = {"port": 0}
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if probe.get("periodSeconds"):
        probe["timeoutSeconds"] = probe.get("timeoutSeconds") or 1
        probe["failureThreshold"] = probe.get("failureThreshold") or 3


def _default_resources(container: Object, config: Config) -> None:
    for field, suffix in (("requests", "request"), ("limits", "limit")):
        for resource in _RESOURCES:
            value = config.get(f"revision-{resource}-{suffix}")
            if value:
                container.setdefault("resources", {}).setdefault(field, {}).setdefault(resource, value)


def _default_mounts(spec: Object) -> None:
    """Volumes whose content is not the container's own are mounted read-only."""
    volumes = {one.get("name"): one for one in spec.get("volumes") or [] if isinstance(one, dict)}
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        for mount in (container.get("volumeMounts") or []) if isinstance(container, dict) else []:
            volume = volumes.get(mount.get("name")) if isinstance(mount, dict) else None
            if volume and any(volume.get(kind) is not None for kind in ("secret", "configMap", "projected")):
                mount.setdefault("readOnly", True)


def _record_user_unless_owned(request: Request) -> None:
    if not meta.metadata(request.object).get("ownerReferences"):
        _record_user(request)


def _record_user(request: Request) -> None:
    """S10: creator once, lastModifier whenever the spec changes."""
    if not request.user:
        return
    annotations = request.object.setdefault("metadata", {}).setdefault("annotations", {})
    if request.operation == "CREATE" or request.old is None:
        annotations[CREATOR] = annotations[LAST_MODIFIER] = request.user
    elif meta.spec(request.old) != meta.spec(request.object):
        annotations[LAST_MODIFIER] = request.user


def _spec(request: Request) -> Object:
    return _child(request.object, "spec") or {}


def _child(obj: Object, field: str) -> Object | None:
    found = obj.setdefault(field, {})
    return found if isinstance(found, dict) else None


def _whole(config: Config, key: str, default: int) -> int:
    try:
        return int(config.get(key) or default)
    except ValueError:
        return default
