"""Defaulting and validation of Kubernetes' own kinds, as far as users feel it.

Law: pure; the wording of a refusal is Kubernetes', for people search for it. Metadata is checked elsewhere, for every
kind alike. Source: Kubernetes' defaults, strategies and validation. No IO.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from funcs.errors import FieldError

from . import core, meta, names, pods, selectors
from .admission import Request, Rules
from .kinds import Kind
from .meta import Object

_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_DATA_LIMIT = 1024 * 1024
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FIXED = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds`"
)
_RBAC = "rbac.authorization.k8s.io"


def _section(obj: Object, name: str) -> Object:
    found = obj.get(name)
    if found is None:
        found = obj[name] = {}
    return found if isinstance(found, dict) else {}


NAMESPACE_FINALIZER = "kubernetes"  # dropped by the namespace controller when nothing is left inside


def _default_namespace(request: Request) -> None:
    name = meta.name(request.object)
    labels = _section(_section(request.object, "metadata"), "labels")
    labels["kubernetes.io/metadata.name"] = name
    _section(request.object, "status").setdefault("phase", "Active")
    if not meta.is_deleting(request.object) and NAMESPACE_FINALIZER not in meta.finalizers(request.object):
        request.object["metadata"]["finalizers"] = [*meta.finalizers(request.object), NAMESPACE_FINALIZER]


def _default_pod(request: Request) -> None:
    spec = _section(request.object, "spec")
    pods.default(spec)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("enableServiceLinks", True)
    if request.operation == "CREATE":
        _section(request.object, "status").setdefault("phase", "Pending")


def _check_pod(request: Request) -> list[FieldError]:
    if request.subresource:
        return []
    spec = meta.spec(request.object)
    if request.old is None:
        return pods.problems(spec)
    if not pods.is_same_but_for_images(meta.spec(request.old), spec):
        return [FieldError(_FIXED, "spec")]
    return pods.problems(spec)


def _default_workload(request: Request) -> None:
    spec = _section(request.object, "spec")
    spec.setdefault("replicas", 1)
    if request.kind == core.DEPLOYMENT:
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = _section(spec, "strategy")
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = _section(strategy, "rollingUpdate")
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
    template = spec.get("template")
    if isinstance(template, dict):
        pods.default(_section(template, "spec"))


def _check_workload(request: Request) -> list[FieldError]:
    if request.subresource == "status":
        return []
    spec = meta.spec(request.object)
    found: list[FieldError] = []
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        found.append(FieldError(f"Invalid value: {replicas}: must be greater than or equal to 0", "spec.replicas"))
    template = spec.get("template") or {}
    found += _selector_problems(request, spec.get("selector"), (template.get("metadata") or {}).get("labels") or {})
    inner = template.get("spec") or {}
    found += pods.problems(inner, "spec.template.spec")
    if inner.get("restartPolicy") in ("OnFailure", "Never"):
        found.append(FieldError(f'Unsupported value: "{inner["restartPolicy"]}": supported values: "Always"',
                                "spec.template.spec.restartPolicy"))  # fmt: skip
    return found


def _selector_problems(request: Request, selector: Any, labels: Mapping[str, str]) -> list[FieldError]:
    if not isinstance(selector, dict) or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return [FieldError("Required value", "spec.selector")]
    if request.old is not None and meta.spec(request.old).get("selector") != selector:
        return [FieldError("Invalid value: field is immutable", "spec.selector")]
    if not selectors.from_object(selector).matches(labels):
        return [FieldError("Invalid value: `selector` does not match template `labels`",
                           "spec.template.metadata.labels")]  # fmt: skip
    return []


def _default_service(request: Request) -> None:
    spec = _section(request.object, "spec")
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))


def _check_service(request: Request) -> list[FieldError]:
    spec, name = meta.spec(request.object), meta.name(request.object)
    found: list[FieldError] = []
    if not names.is_dns_1035(name):
        found.append(FieldError(f'Invalid value: "{name[:64]}": a DNS-1035 label must start with a letter',
                                "metadata.name"))  # fmt: skip
    if spec.get("type") not in _SERVICE_TYPES:
        shown = ", ".join(f'"{supported}"' for supported in _SERVICE_TYPES)
        found.append(FieldError(f'Unsupported value: "{spec.get("type")}": supported values: {shown}', "spec.type"))
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            found.append(FieldError("Required value", "spec.externalName"))
    elif not spec.get("ports") and spec.get("clusterIP") != "None":
        found.append(FieldError("Required value", "spec.ports"))
    return found + _service_port_problems(spec.get("ports") or [])


def _service_port_problems(ports: list[Object]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", str(port.get("name") or "")
        if not pods.is_port(port.get("port")):
            found.append(FieldError(f"Invalid value: {port.get('port')}: must be between 1 and 65535, inclusive",
                                    f"{path}.port"))  # fmt: skip
        if not name and len(ports) > 1:
            found.append(FieldError("Required value", f"{path}.name"))
        elif name in seen:
            found.append(FieldError(f'Duplicate value: "{name}"', f"{path}.name"))
        elif name and not names.is_dns_label(name):
            found.append(FieldError(f'Invalid value: "{name[:64]}": {pods.names_rule()}', f"{path}.name"))
        seen.add(name)
    return found


def _default_secret(request: Request) -> None:
    obj = request.object
    obj.setdefault("type", "Opaque")
    folded = obj.pop("stringData", None)
    if isinstance(folded, dict):
        data = _section(obj, "data")
        data.update({key: base64.b64encode(str(value).encode()).decode() for key, value in folded.items()})


def _check_secret(request: Request) -> list[FieldError]:
    data = request.object.get("data") or {}
    found = [*_key_problems(data, "data"), *_immutable_problems(request)]
    size = 0
    for key, value in data.items():
        try:
            size += len(base64.b64decode(str(value or ""), validate=True))
        except binascii.Error:
            found.append(FieldError("Invalid value: must be base64 (or use stringData)", f"data[{key}]"))
    if size > _DATA_LIMIT:
        found.append(FieldError(f"Too long: may not be more than {_DATA_LIMIT} bytes", "data"))
    if request.old is not None and request.old.get("type") != request.object.get("type"):
        found.append(FieldError(f'Invalid value: "{request.object.get("type")}": field is immutable', "type"))
    return found


def _check_config_map(request: Request) -> list[FieldError]:
    data, binary = request.object.get("data") or {}, request.object.get("binaryData") or {}
    found = [*_key_problems(data, "data"), *_key_problems(binary, "binaryData"), *_immutable_problems(request)]
    doubled = "Invalid value: duplicate of key present in binaryData"
    found += [FieldError(doubled, f"data[{key}]") for key in sorted(set(data) & set(binary))]
    if sum(len(str(value)) for value in (*data.values(), *binary.values())) > _DATA_LIMIT:
        found.append(FieldError(f"Too long: may not be more than {_DATA_LIMIT} bytes", "data"))
    return found


def _key_problems(data: Mapping[str, object], field: str) -> list[FieldError]:
    return [
        FieldError(f'Invalid value: "{key[:64]}": a valid config key must consist of alphanumeric characters, '
                   "'-', '_' or '.'", f"{field}[{key[:64]}]")
        for key in data
        if not _DATA_KEY.fullmatch(key) or key in (".", "..")
    ]  # fmt: skip


def _immutable_problems(request: Request) -> list[FieldError]:
    old, new = request.old, request.object
    if old is None or not old.get("immutable"):
        return []
    if any(old.get(field) != new.get(field) for field in ("data", "binaryData", "immutable")):
        return [FieldError("Forbidden: field is immutable when `immutable` is set", "data")]
    return []


def _default_claim(request: Request) -> None:
    _section(request.object, "spec").setdefault("volumeMode", "Filesystem")
    if request.operation == "CREATE":
        _section(request.object, "status").setdefault("phase", "Pending")


def _check_claim(request: Request) -> list[FieldError]:
    spec = meta.spec(request.object)
    found = [] if spec.get("accessModes") else [FieldError("Required value", "spec.accessModes")]
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        found.append(FieldError("Required value", "spec.resources[storage]"))
    return found


def _default_binding(request: Request) -> None:
    _section(request.object, "roleRef").setdefault("apiGroup", _RBAC)
    for subject in request.object.get("subjects") or []:
        if isinstance(subject, dict) and subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


def _check_binding(request: Request) -> list[FieldError]:
    reference = request.object.get("roleRef") or {}
    found: list[FieldError] = []
    if reference.get("kind") not in ("Role", "ClusterRole"):
        supported = '"Role", "ClusterRole"'
        found.append(FieldError(f'Unsupported value: "{reference.get("kind") or ""}": supported values: {supported}',
                                "roleRef.kind"))  # fmt: skip
    if not reference.get("name"):
        found.append(FieldError("Required value", "roleRef.name"))
    if request.old is not None and request.old.get("roleRef") != reference:
        found.append(FieldError("Invalid value: cannot change roleRef", "roleRef"))
    for index, subject in enumerate(request.object.get("subjects") or []):
        if subject.get("kind") not in ("User", "Group", "ServiceAccount"):
            found.append(FieldError(f'Unsupported value: "{subject.get("kind")}"', f"subjects[{index}].kind"))
        if not subject.get("name"):
            found.append(FieldError("Required value", f"subjects[{index}].name"))
    return found


def _check_role(request: Request) -> list[FieldError]:
    found: list[FieldError] = []
    for index, rule in enumerate(request.object.get("rules") or []):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            found.append(FieldError("Required value: verbs must contain at least one value", f"{path}.verbs"))
        if rule.get("nonResourceURLs"):
            continue
        missing = "Required value: resource rules must supply at least one"
        found += [FieldError(missing, f"{path}.{field}") for field in ("apiGroups", "resources") if not rule.get(field)]
    return found


def _rules(
    default: Callable[[Request], None] | None = None, validate: Callable[[Request], list[FieldError]] | None = None
) -> Rules:
    return Rules(default=default or (lambda request: None), validate=validate or (lambda request: []))


_WORKLOAD = _rules(_default_workload, _check_workload)
_BINDING = _rules(_default_binding, _check_binding)
_ROLE = _rules(validate=_check_role)

RULES: Mapping[Kind, Rules] = {
    core.NAMESPACE: _rules(_default_namespace),
    core.POD: _rules(_default_pod, _check_pod),
    core.SERVICE: _rules(_default_service, _check_service),
    core.SECRET: _rules(_default_secret, _check_secret),
    core.CONFIG_MAP: _rules(validate=_check_config_map),
    core.PERSISTENT_VOLUME_CLAIM: _rules(_default_claim, _check_claim),
    core.DEPLOYMENT: _WORKLOAD,
    core.REPLICA_SET: _WORKLOAD,
    core.ROLE: _ROLE,
    core.CLUSTER_ROLE: _ROLE,
    core.ROLE_BINDING: _BINDING,
    core.CLUSTER_ROLE_BINDING: _BINDING,
}
