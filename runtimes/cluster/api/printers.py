"""Kubernetes' own columns for Kubernetes' own kinds.

Law: pure; names, order, types, priorities and wording are those of the Kubernetes printers, so that scripts which cut
kubectl's columns go on working. Pods have a module of their own. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from funcs.api import core, meta
from funcs.api.kinds import Column, Kind
from funcs.api.meta import Object

from . import ages, pods
from .tables import Printer, Row, printer_of

_NONE = "<none>"


def printer(kind: Kind) -> Printer:
    """The built-in printer of a kind, else the one its columns make."""
    return PRINTERS.get(kind) or printer_of(kind)


def _printer(columns: str, wide: str, row: Row) -> Printer:
    """Columns by name, `wide` ones with priority 1; a `#` after the name says integer."""
    made = [Column(name.rstrip("#"), "", _type(name), format=_format(name)) for name in columns.split("|")]
    made += [Column(name.rstrip("#"), "", _type(name), priority=1) for name in wide.split("|") if name]
    return Printer(tuple(made), row)


def _type(name: str) -> str:
    return "integer" if name.endswith("#") else "string"


def _format(name: str) -> str:
    return "name" if name == "Name" else ""


def _age(obj: Object, now: float) -> str:
    return ages.since(meta.metadata(obj).get("creationTimestamp"), now)


def _deployment(obj: Object, now: float) -> Sequence[Any]:
    status = meta.status(obj)
    ready = f"{status.get('readyReplicas', 0)}/{meta.spec(obj).get('replicas', 0)}"
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return [meta.name(obj), ready, updated, available, _age(obj, now), *_template(obj)]


def _replica_set(obj: Object, now: float) -> Sequence[Any]:
    status = meta.status(obj)
    desired = meta.spec(obj).get("replicas", 0)
    current, ready = status.get("replicas", 0), status.get("readyReplicas", 0)
    return [meta.name(obj), desired, current, ready, _age(obj, now), *_template(obj)]


def _template(obj: Object) -> tuple[str, str, str]:
    containers = ((meta.spec(obj).get("template") or {}).get("spec") or {}).get("containers") or []
    names = ",".join(str(container.get("name", "")) for container in containers)
    images = ",".join(str(container.get("image", "")) for container in containers)
    return names, images, selector(meta.spec(obj).get("selector"))


def selector(found: Object | None) -> str:
    """A LabelSelector as `metav1.FormatLabelSelector` writes it."""
    if found is None:
        return _NONE
    parts = [f"{key}={value}" for key, value in sorted((found.get("matchLabels") or {}).items())]
    for expression in found.get("matchExpressions") or []:
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or []))
        match expression.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(str(key))
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts) or _NONE


def _service(obj: Object, now: float) -> Sequence[Any]:
    spec = meta.spec(obj)
    kind = spec.get("type") or "ClusterIP"
    address = spec.get("clusterIP") or _NONE
    ports = ",".join(_port(port) for port in spec.get("ports") or []) or _NONE
    chosen = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())) or _NONE
    return [meta.name(obj), kind, address, _external(obj, kind), ports, _age(obj, now), chosen]


def _port(port: Object) -> str:
    text = str(port.get("port", ""))
    if port.get("nodePort"):
        text += f":{port['nodePort']}"
    return f"{text}/{port.get('protocol') or 'TCP'}"


def _external(obj: Object, kind: str) -> str:
    spec = meta.spec(obj)
    if kind == "ExternalName":
        return str(spec.get("externalName") or _NONE)
    given = list(spec.get("externalIPs") or [])
    if kind == "LoadBalancer":
        ingress = (meta.status(obj).get("loadBalancer") or {}).get("ingress") or []
        given = [str(point.get("ip") or point.get("hostname") or "") for point in ingress] + given
        return ",".join(given) or "<pending>"
    return ",".join(given) or _NONE


def _namespace(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), meta.status(obj).get("phase", ""), _age(obj, now)]


def _config_map(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), _age(obj, now)]


def _secret(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), obj.get("type", ""), len(obj.get("data") or {}), _age(obj, now)]


def _service_account(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), len(obj.get("secrets") or []), _age(obj, now)]


def _node(obj: Object, now: float) -> Sequence[Any]:
    status, info = meta.status(obj), meta.status(obj).get("nodeInfo") or {}
    state = [_condition(found) for found in status.get("conditions") or [] if found.get("type") == "Ready"]
    if meta.spec(obj).get("unschedulable"):
        state.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(label.removeprefix(prefix) for label in meta.labels(obj) if label.startswith(prefix))
    addresses = {found.get("type"): found.get("address") for found in status.get("addresses") or []}
    return [
        meta.name(obj), ",".join(state) or "Unknown", ",".join(roles) or _NONE, _age(obj, now),
        info.get("kubeletVersion", ""), addresses.get("InternalIP", _NONE), addresses.get("ExternalIP", _NONE),
        info.get("osImage") or "<unknown>", info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def _condition(condition: Object) -> str:
    return "Ready" if condition.get("status") == "True" else "NotReady"


def _event(obj: Object, now: float) -> Sequence[Any]:
    involved = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    series = obj.get("series") or {}
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = series.get("count") or obj.get("count") or 1
    origin = source.get("component") or obj.get("reportingComponent") or ""
    if source.get("host"):
        origin = f"{origin}, {source['host']}"
    target = f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"
    return [
        ages.since(last, now), obj.get("type", ""), obj.get("reason", ""), target, involved.get("fieldPath", ""),
        origin, str(obj.get("message", "")).strip(), ages.since(first, now), count, meta.name(obj),
    ]  # fmt: skip


def _claim(obj: Object, now: float) -> Sequence[Any]:
    spec, status = meta.spec(obj), meta.status(obj)
    phase = "Terminating" if meta.is_deleting(obj) else status.get("phase", "")
    bound = bool(spec.get("volumeName"))
    capacity = str((status.get("capacity") or {}).get("storage", "")) if bound else ""
    modes = ",".join(_MODES.get(mode, mode) for mode in status.get("accessModes") or []) if bound else ""
    return [
        meta.name(obj), phase, spec.get("volumeName", ""), capacity, modes, spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or "<unset>", _age(obj, now), spec.get("volumeMode") or "Filesystem",
    ]  # fmt: skip


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _lease(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), meta.spec(obj).get("holderIdentity") or "", _age(obj, now)]


def _endpoint_slice(obj: Object, now: float) -> Sequence[Any]:
    ports = [str(port.get("port") or "*") for port in obj.get("ports") or []]
    addresses = [found for endpoint in obj.get("endpoints") or [] for found in endpoint.get("addresses") or []]
    return [
        meta.name(obj), obj.get("addressType", ""), _few(ports, "<unset>"), _few(addresses, "<unset>"), _age(obj, now),
    ]  # fmt: skip


def _few(values: list[str], none: str) -> str:
    if not values:
        return none
    more = f" + {len(values) - 3} more..." if len(values) > 3 else ""
    return ",".join(values[:3]) + more


def _endpoints(obj: Object, now: float) -> Sequence[Any]:
    found = []
    for subset in obj.get("subsets") or []:
        for address in subset.get("addresses") or []:
            ports = subset.get("ports") or []
            found += [f"{address.get('ip')}:{port.get('port')}" for port in ports] or [str(address.get("ip"))]
    return [meta.name(obj), _few(found, _NONE), _age(obj, now)]


def _role(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), meta.metadata(obj).get("creationTimestamp") or "<unknown>"]


def _binding(obj: Object, now: float) -> Sequence[Any]:
    reference = obj.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or []:
        name = str(subject.get("name", ""))
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        subjects.get(str(subject.get("kind")), []).append(name)
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return [meta.name(obj), role, _age(obj, now), *(", ".join(names) for names in subjects.values())]


def _definition(obj: Object, now: float) -> Sequence[Any]:
    return [meta.name(obj), meta.metadata(obj).get("creationTimestamp") or "<unknown>"]


_BINDING = _printer("Name|Role|Age", "Users|Groups|ServiceAccounts", _binding)

PRINTERS: Mapping[Kind, Printer] = {
    core.POD: _printer(
        "Name|Ready|Status|Restarts|Age", "IP|Node|Nominated Node|Readiness Gates", pods.row
    ),
    core.DEPLOYMENT: _printer("Name|Ready|Up-to-date#|Available#|Age", "Containers|Images|Selector", _deployment),
    core.REPLICA_SET: _printer("Name|Desired#|Current#|Ready#|Age", "Containers|Images|Selector", _replica_set),
    core.SERVICE: _printer("Name|Type|Cluster-IP|External-IP|Port(s)|Age", "Selector", _service),
    core.NAMESPACE: _printer("Name|Status|Age", "", _namespace),
    core.NODE: _printer(
        "Name|Status|Roles|Age|Version", "Internal-IP|External-IP|OS-Image|Kernel-Version|Container-Runtime", _node
    ),
    core.CONFIG_MAP: _printer("Name|Data#|Age", "", _config_map),
    core.SECRET: _printer("Name|Type|Data#|Age", "", _secret),
    core.SERVICE_ACCOUNT: _printer("Name|Secrets#|Age", "", _service_account),
    core.EVENT: Printer(
        (
            Column("Last Seen", ""), Column("Type", ""), Column("Reason", ""), Column("Object", ""),
            Column("Subobject", "", priority=1), Column("Source", "", priority=1), Column("Message", ""),
            Column("First Seen", "", priority=1), Column("Count", "", "integer", priority=1),
            Column("Name", "", priority=1, format="name"),
        ),
        _event,
    ),
    core.PERSISTENT_VOLUME_CLAIM: _printer(
        "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age", "VolumeMode", _claim
    ),
    core.LEASE: _printer("Name|Holder|Age", "", _lease),
    core.ENDPOINT_SLICE: _printer("Name|AddressType|Ports|Endpoints|Age", "", _endpoint_slice),
    core.ENDPOINTS: _printer("Name|Endpoints|Age", "", _endpoints),
    core.ROLE: _printer("Name|Created At", "", _role),
    core.CLUSTER_ROLE: _printer("Name|Created At", "", _role),
    core.ROLE_BINDING: _BINDING,
    core.CLUSTER_ROLE_BINDING: _BINDING,
    core.CUSTOM_RESOURCE_DEFINITION: _printer("Name|Created At", "", _definition),
}  # fmt: skip
