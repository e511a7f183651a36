"""What every object must be before anything else is asked of it: apiVersion, kind and a well-formed metadata.

Law: pure; problems come back as field errors with their paths, only what cannot be an object at all raises. Source:
apimachinery's `ValidateObjectMeta`. No IO.
"""

from __future__ import annotations

import re
from typing import Any

from funcs.api import names, selectors
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.errors import BadRequest, FieldError

DEFAULT_NAMESPACE = "default"
_ANNOTATIONS_LIMIT = 256 * 1024
_PATH_SEGMENT = re.compile(r"[^/%\x00-\x1f]{1,253}")
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")


def locate(kind: Kind, name: str, namespace: str | None) -> Key:
    """Where an object of a kind lies: in "default" unless said otherwise; cluster-wide kinds lie nowhere."""
    return Key((namespace or DEFAULT_NAMESPACE) if kind.namespaced else "", name)


def key_of(kind: Kind, obj: Any) -> Key:
    """Where an object given by a client lies. Raises BadRequest."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise BadRequest(f"metadata.name: a {kind.kind} to be written must say its name")
    return locate(kind, metadata["name"], metadata.get("namespace"))


def enveloped(kind: Kind, obj: Any) -> Object:
    """The object with apiVersion, kind, metadata and namespace filled in. Raises BadRequest."""
    if not isinstance(obj, dict):
        raise BadRequest(f"a {kind.kind} is a mapping, not {type(obj).__name__}")
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if obj.setdefault(field, wanted) != wanted:
            raise BadRequest(f'{field}: expected "{wanted}", found "{obj[field]}"')
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata: must be a mapping")
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or DEFAULT_NAMESPACE
    elif metadata.get("namespace"):
        raise BadRequest(f"metadata.namespace: a {kind.kind} lies in no namespace")
    else:
        metadata.pop("namespace", None)
    return obj


def problems(kind: Kind, obj: Object) -> list[FieldError]:
    """What is wrong with the metadata."""
    metadata = obj["metadata"]
    found = [*_name_problems(kind, metadata), *_map_problems(metadata), *_owner_problems(metadata)]
    finalizers = metadata.get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(name, str) and name for name in finalizers):
        found.append(FieldError("must be a list of names", "metadata.finalizers"))
    found.extend(
        FieldError("must be a mapping", part)
        for part in ("spec", "status")
        if not isinstance(obj.get(part), dict | None)
    )
    return found


def _name_problems(kind: Kind, metadata: Object) -> list[FieldError]:
    found = []
    name, namespace = metadata.get("name"), metadata.get("namespace", DEFAULT_NAMESPACE)
    if not isinstance(name, str) or not _is_name(kind, name):
        found.append(
            FieldError(
                f"Invalid value: {name!r}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                "characters, '-' or '.', and must start and end with an alphanumeric character",
                "metadata.name",
            )
        )
    if not isinstance(namespace, str) or not names.is_dns_label(namespace):
        found.append(FieldError(f"Invalid value: {namespace!r}: must be an RFC 1123 label", "metadata.namespace"))
    return found


def _is_name(kind: Kind, name: str) -> bool:
    if kind.group == "rbac.authorization.k8s.io":  # "system:node" is a name there
        return _PATH_SEGMENT.fullmatch(name) is not None and name not in (".", "..")
    return names.is_dns_label(name) if kind.kind == "Namespace" else names.is_dns_subdomain(name)


def _map_problems(metadata: Object) -> list[FieldError]:
    found = []
    for field in ("labels", "annotations"):
        entries = metadata.get(field)
        if entries is None:
            continue
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            found.append(FieldError("must map strings to strings (quote numbers and booleans)", f"metadata.{field}"))
            continue
        for name, value in entries.items():
            # Annotations' keys may have upper case before the slash; their values are free.
            problem = selectors.label_key_problem(name.lower() if field == "annotations" else name)
            if problem is None and field == "labels":
                problem = selectors.label_value_problem(value)
            if problem:
                found.append(FieldError(f"Invalid value: {problem}", f"metadata.{field}"))
        if (
            field == "annotations"
            and sum(len(name) + len(value) for name, value in entries.items()) > _ANNOTATIONS_LIMIT
        ):
            found.append(
                FieldError(f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes", "metadata.annotations")
            )
    return found


def _owner_problems(metadata: Object) -> list[FieldError]:
    owners = metadata.get("ownerReferences") or []
    if not isinstance(owners, list) or not all(isinstance(owner, dict) for owner in owners):
        return [FieldError("must be a list of references", "metadata.ownerReferences")]
    found = [
        FieldError("Required value", f"metadata.ownerReferences[{index}].{field}")
        for index, owner in enumerate(owners)
        for field in _OWNER_FIELDS
        if not isinstance(owner.get(field), str) or not owner[field]
    ]
    if sum(owner.get("controller") is True for owner in owners) > 1:
        found.append(FieldError("only one reference can have controller set to true", "metadata.ownerReferences"))
    return found
