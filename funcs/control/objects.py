"""The object core: what create, update, patch, apply and delete do to one object.

Law: pure. An object, its predecessor and a `Moment` (time, fresh ids, house rules) go in, an `Outcome` comes out; the
store gives it a resourceVersion. Arguments belong to the function, which may change them. A write that changes nothing
says so, and costs nothing. Source: k8s.io/apiserver `registry/rest` and the API conventions. No IO.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from funcs.api import admission, apply, lists, meta, names, patch, strategic
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.control.client import WRITE, DeleteOptions, PatchType, WriteOptions
from funcs.errors import BadRequest, Conflict, FieldError, Invalid, NotFound, UnsupportedMediaType

from . import envelope

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POD_GRACE = 30  # seconds, `terminationGracePeriodSeconds` by default

# What only the store writes; whatever a client sends is replaced by what was.
_SYSTEM = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a write is given beside its objects: `now` in Unix seconds, a fresh `uid` and `suffix` (generateName)."""

    now: float
    uid: str
    suffix: str
    options: WriteOptions = WRITE
    rules: Mapping[Kind, admission.Rules] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`object` as it is to be stored (or, if `gone`, as it was when it went); `changed` False: nothing to store."""

    object: Object
    changed: bool = True
    gone: bool = False
    warnings: tuple[str, ...] = ()


def create(kind: Kind, obj: Object, moment: Moment) -> Outcome:
    """Raises BadRequest, Invalid."""
    obj = envelope.enveloped(kind, obj)
    if meta.resource_version(obj):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    if kind.status:
        obj.pop("status", None)
    return _born(kind, obj, moment, "Update", {})


def seeded(kind: Kind, obj: Object, moment: Moment) -> Object:
    """An object put in place whole, status and all, past admission: how a test sets its scene."""
    obj = envelope.enveloped(kind, obj)
    _name(obj["metadata"], moment)
    system = {"uid": moment.uid, "creationTimestamp": meta.timestamp(moment.now), "generation": 1}
    obj["metadata"] = {**system, **obj["metadata"]}
    _refuse(kind, obj, envelope.problems(kind, obj))
    return obj


def update(kind: Kind, old: Object, new: Object, moment: Moment, subresource: str = "") -> Outcome:
    """Replace all but status, or with subresource="status" only the status. Raises BadRequest, Conflict, Invalid."""
    new = envelope.enveloped(kind, new)
    _refuse_stale(kind, old, new)
    return _finish(kind, old, _successor(kind, old, new, subresource), moment, subresource)


def patched(kind: Kind, old: Object, body: Any, type: PatchType, moment: Moment, subresource: str = "") -> Outcome:
    """JSON, merge or strategic merge patch. Raises BadRequest, Conflict, Invalid, UnsupportedMediaType."""
    return update(kind, old, patched_document(kind, old, body, type), moment, subresource)


def patched_document(kind: Kind, document: Object, body: Any, type: PatchType) -> Any:
    """The document that a patch asks for. Raises BadRequest, Invalid, UnsupportedMediaType."""
    match type:
        case PatchType.JSON:
            return patch.apply_json(document, body)
        case PatchType.MERGE:
            return patch.merge(document, _mapping(body))
        case PatchType.STRATEGIC:
            if not lists.is_native(kind):
                raise UnsupportedMediaType(
                    f"{type} is not supported for {kind.resource}", hint="Use a merge patch (--type=merge)."
                )
            return strategic.merge(document, _mapping(body))
        case PatchType.APPLY:
            raise BadRequest("an apply patch goes through apply")


def applied(
    kind: Kind, old: Object | None, config: Object, moment: Moment, *, force: bool, subresource: str = ""
) -> Outcome:
    """Server-side apply; creates if there is no `old`. Raises BadRequest, Conflict, Invalid, NotFound."""
    config = envelope.enveloped(kind, config)
    if config["metadata"].pop("managedFields", None):
        raise BadRequest("metadata.managedFields must be nil")
    for name in _SYSTEM:
        if name not in ("uid", "resourceVersion"):
            config["metadata"].pop(name, None)
    if subresource:
        config = {
            name: value for name, value in config.items() if name in ("apiVersion", "kind", "metadata", subresource)
        }
        config["metadata"] = {
            name: config["metadata"].get(name) for name in ("name", "namespace", "uid", "resourceVersion")
        }
    elif kind.status:
        config.pop("status", None)
    if old is None:
        if subresource:
            raise NotFound(f'{kind.resource} "{meta.name(config)}" not found')
        if meta.resource_version(config):
            raise Conflict(f'{kind.resource} "{meta.name(config)}" is gone, and a resourceVersion was given')
        return _born(kind, config, moment, "Apply", apply.fields_of(config, lists.is_native(kind)))
    _refuse_stale(kind, old, config)
    writer = _writer(kind, moment, "Apply", subresource)
    new = copy.deepcopy(apply.applied(old, config, writer, force=force))
    owners: Objects = new["metadata"].get("managedFields") or []
    return _finish(kind, old, _successor(kind, old, new, subresource), moment, subresource, owners=owners)


def deleted(kind: Kind, old: Object, options: DeleteOptions, now: float) -> Outcome:
    """Gone at once, or marked and lingering for finalizers, children (Foreground) or a pod's grace. Raises Conflict."""
    _refuse_precondition(kind, old, options)
    new = copy.deepcopy(old)
    metadata = new["metadata"]
    finalizers = _propagated(meta.finalizers(old), options.propagation)
    grace = _grace(kind, old, options)
    if not finalizers and grace == 0:
        return Outcome(object=new, gone=True)
    if finalizers != meta.finalizers(old):
        metadata["finalizers"] = finalizers
    if not meta.is_deleting(old):
        metadata["deletionTimestamp"] = meta.timestamp(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        metadata["generation"] = meta.generation(old) + 1
    elif grace < int(metadata.get("deletionGracePeriodSeconds") or 0):
        metadata["deletionTimestamp"] = meta.timestamp(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    return Outcome(object=new, changed=new != old)


def _born(
    kind: Kind, obj: Object, moment: Moment, operation: Literal["Apply", "Update"], owned: apply.Fields
) -> Outcome:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _SYSTEM}
    _name(metadata, moment)
    obj["metadata"] = metadata
    _refuse(kind, obj, envelope.problems(kind, obj))
    warnings = admission.admit(_request(kind, "CREATE", obj, None, moment), moment.rules)
    metadata = obj["metadata"]
    metadata |= {"uid": moment.uid, "creationTimestamp": meta.timestamp(moment.now), "generation": 1}
    writer = _writer(kind, moment, operation, "")
    if operation == "Apply":
        metadata["managedFields"] = [_first_entry(writer, owned)] if owned else []
        return Outcome(object=obj, warnings=tuple(warnings))
    return Outcome(object=apply.updated({}, obj, writer), warnings=tuple(warnings))


def _first_entry(writer: apply.Writer, owned: apply.Fields) -> Object:
    return {
        "manager": writer.manager,
        "operation": writer.operation,
        "apiVersion": writer.api_version,
        "time": writer.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }


def _successor(kind: Kind, old: Object, new: Object, subresource: str) -> Object:
    """`new` as far as this door lets it through; the rest, and all that only the store writes, from `old`."""
    if subresource:
        successor = copy.deepcopy(old)
        _keep(successor, new, subresource)
        return successor
    for name in ("name", "namespace"):
        if new["metadata"].get(name) != old["metadata"].get(name):
            raise BadRequest(f'metadata.{name}: cannot change from "{old["metadata"].get(name)}"')
    if kind.status:
        _keep(new, old, "status")
    for name in _SYSTEM:
        _keep(new["metadata"], old["metadata"], name)
    return new


def _keep(target: Object, source: Object, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _finish(
    kind: Kind, old: Object, new: Object, moment: Moment, subresource: str, owners: Objects | None = None
) -> Outcome:
    """Admission, generation, ownership; then: changed, unchanged, or gone with its last finalizer."""
    _refuse(kind, new, [*envelope.problems(kind, new), *_finalizer_problems(old, new)])
    warnings = tuple(admission.admit(_request(kind, "UPDATE", new, old, moment, subresource), moment.rules))
    if not subresource and _desired(new) != _desired(old):
        new["metadata"]["generation"] = meta.generation(old) + 1
    if owners is not None:
        new["metadata"]["managedFields"] = owners
    elif _differs(new, old):
        new = apply.updated(old, new, _writer(kind, moment, "Update", subresource))
    gone = meta.is_deleting(new) and not meta.finalizers(new) and not _has_grace(new)
    return Outcome(object=new, changed=gone or _differs(new, old), gone=gone, warnings=warnings)


def _differs(new: Object, old: Object) -> bool:
    return new != old or not patch.same(new, old)


def _desired(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _has_grace(obj: Object) -> bool:
    return int(meta.metadata(obj).get("deletionGracePeriodSeconds") or 0) > 0


def _name(metadata: Object, moment: Moment) -> None:
    prefix = metadata.get("generateName")
    if not metadata.get("name") and isinstance(prefix, str) and prefix:
        metadata["name"] = names.generated(prefix, moment.suffix)


def _propagated(finalizers: list[str], propagation: str) -> list[str]:
    kept = [name for name in finalizers if name not in (FOREGROUND, ORPHAN)]
    asked = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(propagation, [])
    return kept + asked


def _grace(kind: Kind, old: Object, options: DeleteOptions) -> int:
    """Seconds that the object stays for its own sake: only pods that are on a node and still running have them."""
    if (kind.group, kind.kind) != ("", "Pod"):
        return 0
    if not meta.spec(old).get("nodeName") or meta.status(old).get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_seconds is not None:
        if options.grace_seconds < 0:
            raise BadRequest("gracePeriodSeconds must not be negative")
        return options.grace_seconds
    asked = meta.spec(old).get("terminationGracePeriodSeconds")
    return _POD_GRACE if asked is None else int(asked)


def _writer(kind: Kind, moment: Moment, operation: Literal["Apply", "Update"], subresource: str) -> apply.Writer:
    return apply.Writer(
        manager=moment.options.manager,
        operation=operation,
        api_version=kind.api_version,
        subresource=subresource,
        time=meta.timestamp(moment.now),
        native=lists.is_native(kind),
    )


def _request(
    kind: Kind,
    operation: admission.Operation,
    obj: Object,
    old: Object | None,
    moment: Moment,
    subresource: str = "",
) -> admission.Request:
    return admission.Request(
        kind=kind,
        operation=operation,
        object=obj,
        old=old,
        user=moment.options.user,
        subresource=subresource,
        config=moment.config,
    )


def _mapping(body: Any) -> Object:
    if not isinstance(body, dict):
        raise BadRequest(f"this kind of patch is a mapping, not {type(body).__name__}")
    return body


def _refuse(kind: Kind, obj: Object, problems: list[FieldError]) -> None:
    if problems:
        shown = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        raise Invalid(f'{kind.group_kind} "{meta.name(obj)}" is invalid: {shown}', causes=problems)


def _refuse_stale(kind: Kind, old: Object, new: Object) -> None:
    version, uid = meta.resource_version(new), meta.uid(new)
    if uid and uid != meta.uid(old):
        raise Conflict(
            _cannot(kind, old, f"Precondition failed: UID in precondition: {uid}, in object: {meta.uid(old)}")
        )
    if version and version != meta.resource_version(old):
        raise Conflict(
            _cannot(
                kind,
                old,
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        )


def _refuse_precondition(kind: Kind, old: Object, options: DeleteOptions) -> None:
    for wanted, found, word in (
        (options.uid, meta.uid(old), "UID"),
        (options.resource_version, meta.resource_version(old), "ResourceVersion"),
    ):
        if wanted is not None and wanted != found:
            raise Conflict(
                _cannot(kind, old, f"Precondition failed: {word} in precondition: {wanted}, in object: {found}")
            )


def _cannot(kind: Kind, old: Object, why: str) -> str:
    return f'Operation cannot be fulfilled on {kind.resource} "{meta.name(old)}": {why}'


def _finalizer_problems(old: Object, new: Object) -> list[FieldError]:
    added = set(meta.finalizers(new)) - set(meta.finalizers(old)) if isinstance(meta.finalizers(new), list) else set()
    if meta.is_deleting(old) and added:
        shown = ", ".join(sorted(map(str, added)))
        return [
            FieldError(f"Forbidden: no new finalizers can be added ({shown}): being deleted", "metadata.finalizers")
        ]
    return []
