"""Where variables are replaced: the fields of a Task, a TaskRun and a Pipeline that take them, as data.

Law: a field that is not in a shape is never touched (retries, timeouts, names of tasks). Source: Tekton's
pkg/container (ApplyStepReplacements), pkg/reconciler/*/resources/apply.go, docs/variables.md. No IO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union

from .substitution import Replacements, elements, text, value


class Leaf(Enum):
    """How a leaf is replaced."""

    TEXT = "a string"
    LIST = "a list whose elements may be whole arrays"
    VALUE = "a param's value"
    DEEP = "every string below"


@dataclass(frozen=True, slots=True)
class Each:
    """Every element of a list, or every value of a mapping."""

    shape: Shape


Shape = Union[Leaf, Each, Mapping[str, "Shape"]]  # noqa: UP007 - a recursive alias at run time

TEXT, LIST, VALUE, DEEP = Leaf.TEXT, Leaf.LIST, Leaf.VALUE, Leaf.DEEP
_NAMED: Shape = {"name": TEXT}
_KEYED: Shape = {"name": TEXT, "key": TEXT}
_ITEMS: Shape = Each({"key": TEXT, "path": TEXT})

CONTAINER: Mapping[str, Shape] = {
    "name": TEXT,
    "image": TEXT,
    "imagePullPolicy": TEXT,
    "command": LIST,
    "args": LIST,
    "workingDir": TEXT,
    "script": TEXT,
    "onError": TEXT,
    "env": Each({"value": TEXT, "valueFrom": {"secretKeyRef": _KEYED, "configMapKeyRef": _KEYED}}),
    "envFrom": Each({"prefix": TEXT, "configMapRef": _NAMED, "secretRef": _NAMED}),
    "volumeMounts": Each({"name": TEXT, "mountPath": TEXT, "subPath": TEXT}),
    "stdoutConfig": {"path": TEXT},
    "stderrConfig": {"path": TEXT},
}
_CONFIG_MAP: Shape = {"name": TEXT, "items": _ITEMS}
VOLUME: Shape = {
    "name": TEXT,
    "configMap": _CONFIG_MAP,
    "secret": {"secretName": TEXT, "items": _ITEMS},
    "persistentVolumeClaim": {"claimName": TEXT},
    "projected": {
        "sources": Each(
            {"configMap": _CONFIG_MAP, "secret": _CONFIG_MAP, "serviceAccountToken": {"audience": TEXT}},
        )
    },
    "csi": {"driver": TEXT, "nodePublishSecretRef": _NAMED, "volumeAttributes": Each(TEXT)},
}
TASK_SPEC: Shape = {
    "displayName": TEXT,
    "steps": Each(CONTAINER),
    "stepTemplate": CONTAINER,
    "sidecars": Each(CONTAINER),
    "volumes": Each(VOLUME),
    "workspaces": Each({"mountPath": TEXT}),
}
BINDING: Mapping[str, Shape] = {
    "subPath": TEXT,
    "persistentVolumeClaim": {"claimName": TEXT},
    "configMap": _CONFIG_MAP,
    "secret": {"secretName": TEXT, "items": _ITEMS},
    "projected": {"sources": Each({"configMap": _CONFIG_MAP, "secret": _CONFIG_MAP})},
    "csi": {"driver": TEXT, "nodePublishSecretRef": _NAMED, "volumeAttributes": Each(TEXT)},
}
BINDINGS: Shape = Each(BINDING)
PIPELINE_TASK: Mapping[str, Shape] = {
    "displayName": TEXT,
    "onError": TEXT,
    "params": Each({"value": VALUE}),
    "workspaces": Each({"subPath": TEXT}),
    "taskRef": {"name": TEXT},
}
POD_TEMPLATE: Shape = DEEP


def apply(raw: Any, shape: Shape, known: Replacements) -> Any:
    """`raw` with the variables of `known` replaced wherever `shape` says so; the rest is shared, nothing is changed."""
    if isinstance(shape, Each):
        return _each(raw, shape.shape, known)
    if isinstance(shape, Leaf):
        return _leaf(raw, shape, known)
    if not isinstance(raw, dict):
        return raw
    return {key: apply(found, shape[key], known) if key in shape else found for key, found in raw.items()}


def _each(raw: Any, shape: Shape, known: Replacements) -> Any:
    if isinstance(raw, (list, tuple)):
        return [apply(element, shape, known) for element in raw]
    if isinstance(raw, dict):
        return {key: apply(found, shape, known) for key, found in raw.items()}
    return raw


def _leaf(raw: Any, leaf: Leaf, known: Replacements) -> Any:
    if leaf is Leaf.DEEP:
        return _each(raw, DEEP, known) if isinstance(raw, (dict, list)) else _text(raw, known)
    if leaf is Leaf.LIST and isinstance(raw, list):
        return [part for element in raw for part in elements(element, known)]
    if leaf is Leaf.VALUE:
        return value(raw, known)
    return _text(raw, known)


def _text(raw: Any, known: Replacements) -> Any:
    return text(raw, known) if isinstance(raw, str) else raw


def texts(raw: Any, shape: Shape = DEEP, at: str = "") -> Iterator[tuple[str, Leaf, str]]:
    """Every string that `shape` would replace in `raw`: (path, how, string)."""
    if isinstance(raw, str):
        if isinstance(shape, Leaf):
            yield at, shape, raw
    elif isinstance(raw, dict):
        for key, found in raw.items():
            inner = _inner(shape, key)
            if inner is not None:
                yield from texts(found, inner, f"{at}.{key}" if at else key)
    elif isinstance(raw, (list, tuple)) and not isinstance(shape, Mapping):
        inner = shape.shape if isinstance(shape, Each) else shape
        for index, element in enumerate(raw):
            yield from texts(element, inner, f"{at}[{index}]")


def _inner(shape: Shape, key: str) -> Shape | None:
    if isinstance(shape, Each):
        return shape.shape
    return shape if isinstance(shape, Leaf) else shape.get(key)
