"""What a revision's pod may say: containers, ports, environment, probes, volumes.

Law: names everything that is wrong, in upstream's words, with the path of the field; nothing foreign is silently
dropped: a field that Serving does not carry is refused. Source: knative.dev/serving, apis/serving/k8s_validation.go.
No IO.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from funcs.errors import FieldError

from .meta import Object
from .names import is_dns_label, is_dns_subdomain
from .serving_defaults import serving_container

POD_FIELDS = frozenset({
    "containers", "initContainers", "volumes", "serviceAccountName", "imagePullSecrets", "enableServiceLinks",
    "automountServiceAccountToken", "containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds",
    "idleTimeoutSeconds",
})  # fmt: skip
GATED_FIELDS: Mapping[str, str] = {
    "affinity": "affinity", "topologySpreadConstraints": "topologyspreadconstraints", "hostAliases": "hostaliases",
    "nodeSelector": "nodeselector", "tolerations": "tolerations", "runtimeClassName": "runtimeclassname",
    "dnsPolicy": "dnspolicy", "dnsConfig": "dnsconfig", "securityContext": "securitycontext",
    "shareProcessNamespace": "shareprocessnamespace", "hostIPC": "hostipc", "hostPID": "hostpid",
    "hostNetwork": "hostnetwork", "priorityClassName": "priorityclassname", "schedulerName": "schedulername",
}  # fmt: skip
CONTAINER_FIELDS = frozenset({
    "name", "args", "command", "env", "envFrom", "image", "imagePullPolicy", "livenessProbe", "ports", "readinessProbe",
    "startupProbe", "resources", "securityContext", "terminationMessagePath", "terminationMessagePolicy", "workingDir",
    "volumeMounts",
})  # fmt: skip
VOLUME_KINDS: Mapping[str, str] = {
    "secret": "", "configMap": "", "projected": "", "emptyDir": "kubernetes.podspec-volumes-emptydir",
    "persistentVolumeClaim": "kubernetes.podspec-persistent-volume-claim",
    "hostPath": "kubernetes.podspec-volumes-hostpath", "csi": "kubernetes.podspec-volumes-csi",
    "ephemeral": "kubernetes.podspec-volumes-ephemeral", "image": "kubernetes.podspec-volumes-image",
}  # fmt: skip
RESERVED_ENV = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
RESERVED_PORTS = frozenset({8012, 8013, 8022, 9090, 9091, 8008})
_ENABLED_BY_DEFAULT = frozenset({"kubernetes.podspec-volumes-emptydir", "multi-container"})
_WRITABLE = ("emptyDir", "persistentVolumeClaim", "ephemeral")
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")

Features = Mapping[str, str]


def validate_pod(spec: Object, features: Features) -> list[FieldError]:
    """`features` is the data of config-features. Paths are relative to the spec."""
    problems = _shape(spec)
    if problems:
        return problems
    containers: list[Object] = spec.get("containers") or []
    inits: list[Object] = spec.get("initContainers") or []
    problems += _fields(
        spec, POD_FIELDS | {name for name, flag in GATED_FIELDS.items() if _on(features, f"kubernetes.podspec-{flag}")}
    )
    problems += _volumes(spec, containers + inits, features)
    if inits and not _on(features, "kubernetes.podspec-init-containers"):
        problems.append(
            FieldError(f"pod spec support for init-containers is off, but found {len(inits)} init containers")
        )
    if not containers:
        problems.append(_missing("containers"))
    problems += _ports_together(containers) + _unique_names(inits + containers)
    serving = serving_container(spec)
    volumes = {one["name"]: one for one in spec.get("volumes") or [] if one.get("name")}
    for index, container in enumerate(containers):
        problems += under(f"containers[{index}]", _container(container, volumes, serves=container is serving))
    for index, container in enumerate(inits):
        problems += under(f"initContainers[{index}]", _container(container, volumes, serves=False))
    account = spec.get("serviceAccountName") or ""
    if account and not is_dns_subdomain(str(account)):
        problems.append(FieldError(f"invalid value: {account}", "serviceAccountName"))
    return problems


def _shape(spec: Object) -> list[FieldError]:
    """Lists are lists and their items mappings: everything below relies on it."""
    problems = []
    for field in ("containers", "initContainers", "volumes"):
        value = spec.get(field)
        if value is not None and not _mappings(value):
            problems.append(FieldError("invalid value: expected a list of objects", field))
            continue
        problems += [
            FieldError("invalid value: expected a list of objects", f"{field}[{index}].{inner}")
            for index, item in enumerate(value or [])
            for inner in ("ports", "env", "envFrom", "volumeMounts")
            if item.get(inner) is not None and not _mappings(item[inner])
        ]
    return problems


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _container(container: Object, volumes: Mapping[str, Object], *, serves: bool) -> list[FieldError]:
    problems = _fields(container, CONTAINER_FIELDS)
    name = str(container.get("name") or "")
    if name == "queue-proxy":
        problems.append(FieldError('"queue-proxy" is a reserved container name', "name"))
    elif name and not is_dns_label(name):
        problems.append(FieldError(f"invalid value: {name}", "name"))
    problems += _env(container, serves=serves) + _image(container) + _ports(container)
    problems += _mounts(container.get("volumeMounts") or [], volumes)
    policy = container.get("terminationMessagePolicy") or ""
    if policy not in ("", "File", "FallbackToLogsOnError"):
        problems.append(FieldError(f"invalid value: {policy}", "terminationMessagePolicy"))
    if serves:
        problems += _probes(container)
    else:
        problems += [_disallowed(probe) for probe in ("livenessProbe", "readinessProbe") if container.get(probe)]
    return problems


def _image(container: Object) -> list[FieldError]:
    image = container.get("image") or ""
    if not image:
        return [_missing("image")]
    if not isinstance(image, str) or image != image.strip() or any(letter.isspace() for letter in image):
        return [
            FieldError(
                "Failed to parse image reference", "image", f'image: "{image}", error: could not parse reference'
            )
        ]
    return []


def _env(container: Object, *, serves: bool) -> list[FieldError]:
    reserved = RESERVED_ENV if serves else RESERVED_ENV - {"PORT"}
    problems = []
    for index, variable in enumerate(container.get("env") or []):
        name = variable.get("name") or ""
        if not name:
            problems.append(_missing(f"env[{index}].name"))
        elif name in reserved:
            problems.append(FieldError(f'"{name}" is a reserved environment variable', f"env[{index}].name"))
        source = variable.get("valueFrom") or {}
        foreign = sorted(set(source) - {"secretKeyRef", "configMapKeyRef"})
        problems += [_disallowed(f"env[{index}].valueFrom.{field}") for field in foreign]
    for index, source in enumerate(container.get("envFrom") or []):
        problems += under(f"envFrom[{index}]", _exactly_one(source, ("configMapRef", "secretRef")))
    return problems


def _ports(container: Object) -> list[FieldError]:
    problems = []
    for index, port in enumerate(container.get("ports") or []):
        problems += under(f"ports[{index}]", _port(port))
    return problems


def _port(port: Object) -> list[FieldError]:
    problems = _fields(port, frozenset({"containerPort", "name", "protocol"}))
    number = port.get("containerPort", 0)
    if number in RESERVED_PORTS:
        problems.append(FieldError(f"{number} is a reserved port", "containerPort"))
    elif not isinstance(number, int) or not 0 <= number <= 65535:
        problems.append(FieldError(f"expected 1 <= {number} <= 65535", "containerPort"))
    if (port.get("protocol") or "TCP") != "TCP":
        problems.append(FieldError(f"invalid value: {port['protocol']}", "protocol"))
    if (port.get("name") or "") not in ("", "http1", "h2c"):
        problems.append(
            FieldError(
                f"Port name {port['name']} is not allowed", "name", 'Name must be empty, or one of: "h2c", "http1"'
            )
        )
    return problems


def _ports_together(containers: list[Object]) -> list[FieldError]:
    count = sum(len(container.get("ports") or []) for container in containers)
    if count == 0 and len(containers) > 1:
        return [_missing("containers[*].ports")]
    if count > 1:
        details = "Only a single port is allowed across all containers"
        return [FieldError("more than one container port is set", "containers[*].ports", details)]
    return []


def _unique_names(containers: list[Object]) -> list[FieldError]:
    names = [container.get("name") for container in containers if container.get("name")]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    return [FieldError(f'duplicate container name "{name}"', "containers[*].name") for name in twice]


def _probes(container: Object) -> list[FieldError]:
    problems = []
    for kind in ("livenessProbe", "readinessProbe"):
        probe = container.get(kind)
        if isinstance(probe, dict):
            problems += under(
                kind, _exactly_one(probe, _HANDLERS) + _probe_numbers(probe, readiness=kind == "readinessProbe")
            )
    return problems


def _probe_numbers(probe: Object, *, readiness: bool) -> list[FieldError]:
    problems = []
    aggressive = readiness and not probe.get("periodSeconds")
    for field, least in (("periodSeconds", 0), ("timeoutSeconds", 1), ("failureThreshold", 1), ("successThreshold", 1)):
        value = probe.get(field)
        if aggressive and field in ("timeoutSeconds", "failureThreshold"):
            if value:
                problems.append(FieldError(f"{field} must not be set when periodSeconds is 0", field))
        elif value is not None and (not isinstance(value, int) or not least <= value <= 2**31 - 1):
            problems.append(FieldError(f"expected {least} <= {value} <= {2**31 - 1}", field))
    return problems


def _volumes(spec: Object, containers: list[Object], features: Features) -> list[FieldError]:
    mounted = {mount.get("name") for container in containers for mount in container.get("volumeMounts") or []}
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or []):
        problems += under(f"volumes[{index}]", _volume(volume, features))
        name = str(volume.get("name") or "")
        if name in seen:
            problems.append(FieldError(f'duplicate volume name "{name}"', f"volumes[{index}].name"))
        if name and name not in mounted:
            problems.append(FieldError(f'volume with name "{name}" not mounted', f"volumes[{index}].name"))
        seen.add(name)
    return problems


def _volume(volume: Object, features: Features) -> list[FieldError]:
    problems = []
    for field in sorted(set(volume) - {"name"}):
        flag = VOLUME_KINDS.get(field)
        if flag is None or (flag and not _on(features, flag)):
            problems.append(_disallowed(field))
    name = str(volume.get("name") or "")
    if not name:
        problems.append(_missing("name"))
    elif not is_dns_label(name):
        problems.append(FieldError(f"invalid value: {name}", "name"))
    return problems + _exactly_one(volume, tuple(VOLUME_KINDS), shown=("secret", "configMap", "projected", "emptyDir"))


def _mounts(mounts: list[Object], volumes: Mapping[str, Object]) -> list[FieldError]:
    problems: list[FieldError] = []
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        problems += under(f"volumeMounts[{index}]", _mount(mount, volumes, taken))
    return problems


def _mount(mount: Object, volumes: Mapping[str, Object], taken: set[str]) -> list[FieldError]:
    problems = _fields(mount, frozenset({"name", "readOnly", "mountPath", "subPath"}))
    volume = volumes.get(str(mount.get("name")))
    if volume is None:
        problems.append(FieldError("volumeMount has no matching volume", "name"))
    path = str(mount.get("mountPath") or "")
    clean = posixpath.normpath(path) if path else ""
    if not path:
        problems.append(_missing("mountPath"))
    elif clean in ("/", "/dev", "/dev/log", "//"):
        problems.append(FieldError(f'mountPath "{clean}" is a reserved path', "mountPath"))
    elif not path.startswith("/"):
        problems.append(FieldError(f"invalid value: {path}", "mountPath"))
    elif clean in taken:
        problems.append(FieldError(f"invalid value: {path}", "mountPath", "must be unique"))
    taken.add(clean)
    if volume is not None and not mount.get("readOnly") and not any(volume.get(kind) is not None for kind in _WRITABLE):
        problems.append(FieldError("volume mount should be readOnly for this type of volume", "readOnly"))
    return problems


def _fields(found: Object, allowed: frozenset[str]) -> list[FieldError]:
    return [
        _disallowed(field) for field in sorted(set(found) - allowed) if found[field] not in (None, "", False, [], {})
    ]


def _exactly_one(found: Object, fields: tuple[str, ...], shown: tuple[str, ...] = ()) -> list[FieldError]:
    present = [field for field in fields if found.get(field) is not None]
    if len(present) > 1:
        return [FieldError("expected exactly one, got both", ", ".join(sorted(present)))]
    return [] if present else [FieldError("expected exactly one, got neither", ", ".join(sorted(shown or fields)))]


def _on(features: Features, flag: str) -> bool:
    value = features.get(flag) or ("enabled" if flag in _ENABLED_BY_DEFAULT else "disabled")
    return value.lower() in ("enabled", "allowed")


def under(prefix: str, problems: list[FieldError]) -> list[FieldError]:
    """The same problems, with `prefix` before each of their paths."""

    def place(path: str) -> str:
        return ", ".join(f"{prefix}.{one}" for one in path.split(", ")) if path else prefix

    return [FieldError(problem.message, place(problem.path), problem.details) for problem in problems]


def _missing(path: str) -> FieldError:
    return FieldError("missing field(s)", path)


def _disallowed(path: str) -> FieldError:
    return FieldError("must not set the field(s)", path)
