"""What a container's process is told: environment, command and arguments, as the kubelet makes them.

Law: pure; ConfigMaps and Secrets come in as data. `$(NAME)` is replaced by what was defined before, `$$` is a dollar,
an unknown name stays as it is (k8s.io/kubernetes third_party/forked/golang/expansion).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from funcs.api import meta
from funcs.api.meta import Object

from .quantity import in_units
from .runtime import CannotRun

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_ANNOTATION = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the environment may draw on. `sources`: ConfigMaps and Secrets by (kind, name), None if not there."""

    pod: Object
    pod_ip: str = "127.0.0.1"
    host_ip: str = "127.0.0.1"
    node_capacity: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[tuple[str, str], Object | None] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    service: Mapping[str, str] = field(default_factory=dict)


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return values.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def environment(container: Object, facts: Facts) -> dict[str, str]:
    """Raises CannotRun for a ConfigMap, Secret or field that is not there."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        env |= _env_from(source, facts)
    known = dict(facts.service) | env
    for entry in container.get("env") or []:
        value = expand(entry["value"], known) if entry.get("value") else _value_from(entry, container, facts)
        if value is not None:
            env[entry["name"]] = known[entry["name"]] = value
    return dict(facts.service) | env | _port(container, env, facts)


def _port(container: Object, env: Mapping[str, str], facts: Facts) -> dict[str, str]:
    """Pods share the host's network: PORT is the node's choice, unless the pod means another thing by it."""
    declared = [int(port["containerPort"]) for port in container.get("ports") or []]
    if not declared:
        return {}
    literal = env.get("PORT", str(declared[0]))
    wanted = int(literal) if literal.isdecimal() else 0
    return {"PORT": str(facts.ports[wanted])} if wanted in declared and wanted in facts.ports else {}


def command(
    container: Object, entrypoint: Sequence[str], arguments: Sequence[str], env: Mapping[str, str]
) -> list[str]:
    """The process's argv: command replaces the image's ENTRYPOINT and CMD, args only CMD. Raises CannotRun if empty."""
    given = [expand(part, env) for part in container.get("command") or []]
    args = [expand(part, env) for part in container.get("args") or []]
    argv = [*given, *args] if given else [*entrypoint, *(args or arguments)]
    if not argv:
        raise CannotRun(
            f"no command specified for container {container['name']}: the image has none", reason="CreateContainerError"
        )
    return argv


def sources_of(container: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that the environment draws on, by (kind, name)."""
    found = set()
    for source in container.get("envFrom") or []:
        for field_name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field_name in source:
                found.add((kind, source[field_name]["name"]))
    for entry in container.get("env") or []:
        origin = entry.get("valueFrom") or {}
        for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field_name in origin:
                found.add((kind, origin[field_name]["name"]))
    return found


def data_of(kind: str, obj: Object) -> dict[str, bytes]:
    """The content of a ConfigMap or Secret, by key."""
    try:
        if kind == "Secret":
            return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
        binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    except (binascii.Error, TypeError) as error:
        raise CannotRun(f"{kind} {meta.name(obj)} holds bad base64: {error}") from error
    return {key: value.encode() for key, value in (obj.get("data") or {}).items()} | binary


def pod_field(path: str, facts: Facts) -> str:
    """A `fieldRef` path of the downward API. Raises CannotRun."""
    pod = facts.pod
    if found := _ANNOTATION.fullmatch(path):
        held: Mapping[str, str] = meta.metadata(pod).get(found[1]) or {}
        return held.get(found[2], "")
    known = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "spec.nodeName": meta.spec(pod).get("nodeName", ""),
        "spec.serviceAccountName": meta.spec(pod).get("serviceAccountName") or "default",
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path in ("metadata.labels", "metadata.annotations"):
        held = meta.metadata(pod).get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(held.items()))
    if path not in known:
        raise CannotRun(f"fieldRef {path!r} is not supported")
    return str(known[path])


def resource_field(reference: Object, containers: Sequence[Object], own: Object, facts: Facts) -> str:
    """A `resourceFieldRef`; a limit that is not set is the node's capacity. Raises CannotRun."""
    name = reference.get("containerName")
    container = next((each for each in containers if each.get("name") == name), None) if name else own
    group, _, resource = str(reference.get("resource", "")).partition(".")
    if container is None or group not in ("limits", "requests"):
        raise CannotRun(f"resourceFieldRef {reference} names nothing")
    resources = container.get("resources") or {}
    value = (resources.get(group) or {}).get(resource) or (resources.get("limits") or {}).get(resource)
    return str(in_units(str(value or facts.node_capacity.get(resource, "0")), str(reference.get("divisor") or "1")))


def _env_from(source: Object, facts: Facts) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field_name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(field_name)
        if reference is None:
            continue
        found = facts.sources.get((kind, reference["name"]))
        if found is None:
            if reference.get("optional"):
                return {}
            raise CannotRun(f'{kind.lower()} "{reference["name"]}" not found')
        return {prefix + key: value.decode(errors="replace") for key, value in data_of(kind, found).items()}
    return {}


def _value_from(entry: Object, container: Object, facts: Facts) -> str | None:
    origin = entry.get("valueFrom")
    if not origin:
        return ""
    if "fieldRef" in origin:
        return pod_field(origin["fieldRef"]["fieldPath"], facts)
    if "resourceFieldRef" in origin:
        return resource_field(origin["resourceFieldRef"], meta.spec(facts.pod)["containers"], container, facts)
    for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field_name in origin:
            return _key_of(kind, origin[field_name], facts)
    raise CannotRun(f"env {entry['name']}: valueFrom {sorted(origin)} is not supported")


def _key_of(kind: str, reference: Object, facts: Facts) -> str | None:
    found = facts.sources.get((kind, reference["name"]))
    data = data_of(kind, found) if found is not None else None
    if data is not None and reference["key"] in data:
        return data[reference["key"]].decode(errors="replace")
    if reference.get("optional"):
        return None
    if data is None:
        raise CannotRun(f'{kind.lower()} "{reference["name"]}" not found')
    raise CannotRun(f"couldn't find key {reference['key']} in {kind} {meta.namespace(facts.pod)}/{reference['name']}")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
