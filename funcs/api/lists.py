"""Which lists are really maps: the keys by which Kubernetes' own kinds merge the items of a list.

Law: a list is atomic unless the table says otherwise; in custom resources only `metadata.ownerReferences` and
`metadata.finalizers` are merged. An item that lacks its key, or a key that occurs twice, makes the whole list atomic.
Source: the `patchMergeKey` and `listMapKey` marks in k8s.io/api. No IO.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .kinds import Kind

MergeKey = tuple[str, ...]
SET: MergeKey = ()  # a list of scalars without order

_METADATA: Mapping[str, tuple[MergeKey, ...]] = {"ownerReferences": (("uid",),), "finalizers": (SET,)}
_NATIVE: Mapping[str, tuple[MergeKey, ...]] = {
    **_METADATA,
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "imagePullSecrets": (("name",),),
    "secrets": (("name",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "resourceClaims": (("name",),),
    "conditions": (("type",),),
    "podIPs": (("ip",),),
}
_DEFAULTS: Mapping[str, str] = {"protocol": "TCP"}
_NATIVE_GROUPS = frozenset(
    ("", "apps", "batch", "autoscaling", "policy", "discovery.k8s.io", "coordination.k8s.io", "networking.k8s.io")
)


def is_native(kind: Kind) -> bool:
    """Kubernetes' own: strategic merge patches are allowed, and pod specs merge by name."""
    return kind.group in _NATIVE_GROUPS or kind.group.endswith(".k8s.io")


def merge_key(field: str, items: list[Any], native: bool) -> MergeKey | None:
    """How the items of the list in `field` are told apart; None if the list is one value."""
    for key in (_NATIVE if native else _METADATA).get(field, ()):
        if _fits(key, items) and len({identity(key, item) for item in items}) == len(items):
            return key
    return None


def identity(key: MergeKey, item: Any) -> str:
    """The item's name as a path element of fieldsV1: `k:{"name":"a"}`, or `v:"a"` in a set."""
    if key is SET:
        return "v:" + json.dumps(item, separators=(",", ":"))
    named = {part: item.get(part, _DEFAULTS.get(part)) for part in sorted(key)}
    return "k:" + json.dumps({part: value for part, value in named.items() if value is not None}, separators=(",", ":"))


def _fits(key: MergeKey, items: list[Any]) -> bool:
    if key is SET:
        return all(isinstance(item, str) for item in items)
    return all(isinstance(item, dict) and isinstance(item.get(key[0]), str | int) for item in items)
