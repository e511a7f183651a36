"""A Route's traffic: which revisions, how much each, under which names.

Law: pure. Targets of a configuration resolve to its latest ready revision; a target that does not resolve fails the
whole assignment, so that traffic never goes where nobody asked. Source: rules R1 to R3 of Knative Serving. No IO.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.conditions import Condition, find
from funcs.api.meta import Object, Objects

from . import names
from .settings import ServingSettings

ASSIGNED = "AllTrafficAssigned"
Find = Callable[[str], Object | None]


@dataclass(frozen=True, slots=True)
class Assignment:
    """`targets` is status.traffic: flattened, each with a revision. None where the spec could not be met."""

    condition: Condition
    targets: Objects | None = None


def assign(route: Object, configuration: Find, revision: Find, settings: ServingSettings) -> Assignment:
    """`configuration` and `revision` find objects of the route's namespace by name."""
    targets: Objects = []
    for target in meta.spec(route).get("traffic") or []:
        found = _resolve(target, configuration, revision)
        if isinstance(found, Condition):
            return Assignment(found)
        targets.append(_rendered(route, target, found, settings))
    return Assignment(Condition(ASSIGNED, "True"), targets)


def is_local(route: Object) -> bool:
    """Whether it is served inside the cluster only."""
    return meta.labels(route).get(keys.VISIBILITY) == keys.CLUSTER_LOCAL


def _resolve(target: Object, configuration: Find, revision: Find) -> str | Condition:
    """The name of a revision, or why there is none."""
    pinned = target.get("revisionName")
    if pinned:
        found = revision(pinned)
        if found is None or meta.is_deleting(found):
            return _missing("Revision", pinned)
        return pinned if _usable(found) else _not_ready("Revision", pinned, found)
    name = target.get("configurationName") or ""
    found = configuration(name)
    if found is None:
        return _missing("Configuration", name)
    latest = meta.status(found).get("latestReadyRevisionName")
    if latest:
        return str(latest)
    return _not_ready("Configuration", name, found)


def _usable(revision: Object) -> bool:
    ready = find(revision, "Ready")
    return ready is not None and ready.status == "True"


def _missing(kind: str, name: str) -> Condition:
    return Condition(ASSIGNED, "False", f"{kind}Missing", f'{kind} "{name}" referenced in traffic not found.')


def _not_ready(kind: str, name: str, found: Object) -> Condition:
    """Unknown while it may still come up, False once it has failed."""
    ready = find(found, "Ready")
    failed = ready is not None and ready.status == "False"
    if kind == "Configuration":
        reason, text = "RevisionMissing", f'Configuration "{name}" does not have any ready Revision.'
    else:
        reason, text = "RevisionMissing", f'Revision "{name}" is not yet ready.'
        if failed:
            text = f'Revision "{name}" failed to become ready.'
    return Condition(ASSIGNED, "False" if failed else "Unknown", reason, text)


def _rendered(route: Object, target: Object, revision: str, settings: ServingSettings) -> Object:
    made: Object = {"revisionName": revision, "latestRevision": bool(target.get("latestRevision"))}
    if target.get("percent") is not None:
        made["percent"] = target["percent"]
    tag = target.get("tag")
    if tag:
        made["tag"] = tag
        label = names.tagged(meta.name(route), tag)
        made["url"] = names.url(label, meta.namespace(route), settings, local=is_local(route))
    return made
