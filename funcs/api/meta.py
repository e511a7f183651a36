"""A resource is a raw JSON mapping; these are the readers of its metadata, and the makers of references.

Law: readers never raise on a well-formed object and never copy; nothing here knows a particular kind. No IO.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from .kinds import Kind

Object = dict[str, Any]
Objects = list[Object]


class Key(NamedTuple):
    """What a work queue holds: the name of an object, nothing of its content."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def metadata(obj: Object) -> Object:
    found: Object = obj.get("metadata") or {}
    return found


def name(obj: Object) -> str:
    return str(metadata(obj).get("name") or "")


def namespace(obj: Object) -> str:
    return str(metadata(obj).get("namespace") or "")


def key(obj: Object) -> Key:
    return Key(namespace(obj), name(obj))


def uid(obj: Object) -> str:
    return str(metadata(obj).get("uid") or "")


def resource_version(obj: Object) -> str:
    return str(metadata(obj).get("resourceVersion") or "")


def generation(obj: Object) -> int:
    return int(metadata(obj).get("generation") or 0)


def labels(obj: Object) -> dict[str, str]:
    return metadata(obj).get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    return metadata(obj).get("annotations") or {}


def finalizers(obj: Object) -> list[str]:
    return metadata(obj).get("finalizers") or []


def is_deleting(obj: Object) -> bool:
    return bool(metadata(obj).get("deletionTimestamp"))


def spec(obj: Object) -> Object:
    found: Object = obj.get("spec") or {}
    return found


def status(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def controller(obj: Object) -> Object | None:
    """The owner reference whose `controller` is true, if any."""
    for reference in metadata(obj).get("ownerReferences") or []:
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller(obj)
    return reference is not None and reference.get("uid") == uid(owner)


def controller_reference(owner: Object, kind: Kind) -> Object:
    """The ownerReference that a controller puts on its children."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def timestamp(now: float) -> str:
    """Unix seconds as Kubernetes' metav1.Time: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: float) -> str:
    """Unix seconds as metav1.MicroTime (Leases, Events)."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str) -> float:
    """RFC 3339 to Unix seconds. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
