"""The scale subresource: an autoscaling/v1 Scale read from and written into an object by its kind's paths.

Law: pure; the paths are data of the kind (`Kind.scale`), simple field paths as in a CRD. No IO.
"""

from __future__ import annotations

import copy

from funcs.api import meta
from funcs.api.kinds import Kind, Scale
from funcs.api.meta import Object
from funcs.errors import FieldError, Invalid, NotFound


def read(kind: Kind, obj: Object) -> Object:
    """Raises NotFound if the kind cannot be scaled."""
    paths = paths_of(kind)
    metadata = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    found: Object = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": int(_at(obj, paths.spec) or 0)},
        "status": {"replicas": int(_at(obj, paths.status) or 0)},
    }
    selector = _at(obj, paths.selector) or _match_labels(obj)
    if selector:
        found["status"]["selector"] = selector
    return found


def written(kind: Kind, obj: Object, scale: Object) -> Object:
    """A copy of the object with the wanted number of replicas. Raises Invalid, NotFound."""
    replicas = meta.spec(scale).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        problem = FieldError(f"Invalid value: {replicas!r}: must be a whole number, 0 or more", "spec.replicas")
        raise Invalid(f'Scale "{meta.name(obj)}" is invalid: {problem}', causes=[problem])
    steps = _steps(paths_of(kind).spec)
    changed = copy.deepcopy(obj)
    parent = changed
    for step in steps[:-1]:
        parent = parent.setdefault(step, {})
    parent[steps[-1]] = replicas
    _carry_preconditions(changed, scale)
    return changed


def paths_of(kind: Kind) -> Scale:
    if kind.scale is None:
        raise NotFound(f"{kind.resource} has no scale subresource")
    return kind.scale


def _carry_preconditions(changed: Object, scale: Object) -> None:
    for name in ("uid", "resourceVersion"):
        wanted = meta.metadata(scale).get(name)
        if wanted:
            changed["metadata"][name] = wanted


def _match_labels(obj: Object) -> str:
    wanted = (meta.spec(obj).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(wanted.items()))


def _at(obj: Object, path: str) -> int | str | None:
    found: object = obj
    for step in _steps(path):
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, int | str) else None


def _steps(path: str) -> list[str]:
    return path.removeprefix(".").split(".")
