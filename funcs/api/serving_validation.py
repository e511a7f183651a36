"""Validation of Serving's resources.

Law: names everything that is wrong, in upstream's words, with the path of the field. Sources: knative.dev/serving,
packages apis/serving and apis/serving/v1. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from funcs.errors import FieldError, Invalid

from . import autoscaling, duration, meta
from .admission import Request
from .meta import Object
from .names import is_dns_1035
from .serving_defaults import MAX_CONTAINER_CONCURRENCY, MAX_TIMEOUT_SECONDS
from .serving_keys import (
    AUTOSCALING,
    CLUSTER_LOCAL,
    CONFIGURATION,
    CREATOR,
    GROUP,
    LAST_MODIFIER,
    LAST_PINNED,
    NO_GC,
    PROGRESS_DEADLINE,
    ROLLOUT_DURATION,
    ROUTES,
    ROUTING_STATE_MODIFIED,
    SERVICE,
    VISIBILITY,
    first,
)
from .serving_podspec import under, validate_pod

_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_OWN_ANNOTATIONS = frozenset({
    CREATOR, LAST_MODIFIER, LAST_PINNED, NO_GC, ROUTES, ROUTING_STATE_MODIFIED, *ROLLOUT_DURATION, *PROGRESS_DEADLINE,
    GROUP + "forceUpgrade",
})  # fmt: skip


def validate_service(request: Request) -> list[FieldError]:
    if request.subresource:
        return []
    spec = meta.spec(request.object)
    problems = _metadata(request, duration_keys=ROLLOUT_DURATION) + _template(request, spec)
    problems += under("spec", _traffic(spec.get("traffic"), of_service=True))
    return problems + _user_annotations(request)


def validate_configuration(request: Request) -> list[FieldError]:
    if request.subresource:
        return []
    problems = _metadata(request) + _template(request, meta.spec(request.object))
    return problems + _owned(request, SERVICE, "Service") + _user_annotations(request)


def validate_route(request: Request) -> list[FieldError]:
    if request.subresource:
        return []
    problems = _metadata(request, duration_keys=ROLLOUT_DURATION) + _owned(request, SERVICE, "Service")
    problems += under("spec", _traffic(meta.spec(request.object).get("traffic"), of_service=False))
    return problems + _user_annotations(request)


def validate_revision(request: Request) -> list[FieldError]:
    """S8: a revision's spec never changes."""
    if request.subresource:
        return []
    spec = meta.spec(request.object)
    problems = _owned(request, CONFIGURATION, "Configuration")
    annotations = meta.annotations(request.object)
    problems += under(
        "metadata.annotations", autoscaling.validate(annotations, request.config.get("config-autoscaler", {}))
    )
    if request.operation == "UPDATE" and request.old is not None:
        changes = differences(meta.spec(request.old), spec)
        return [*problems, FieldError("Immutable fields changed (-old +new)", "spec", changes)] if changes else problems
    return problems + under("spec", _revision_spec(spec, request))


def differences(old: Any, new: Any, path: str = "") -> str:
    """What differs, one line a side: `-{path}: old` and `+{path}: new`; "" if nothing does."""
    if old == new:
        return ""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new}, key=str)
        found = (differences(old.get(key), new.get(key), f"{path}.{key}".lstrip(".")) for key in keys)
        return "\n".join(line for line in found if line)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        found = (
            differences(before, after, f"{path}[{index}]")
            for index, (before, after) in enumerate(zip(old, new, strict=True))
        )
        return "\n".join(line for line in found if line)
    return f"-{{{path}}}: {old!r:.200}\n+{{{path}}}: {new!r:.200}"


def _metadata(request: Request, duration_keys: tuple[str, ...] = ()) -> list[FieldError]:
    obj, problems = request.object, []
    name = meta.name(obj)
    if name and not is_dns_1035(name):
        problems.append(FieldError(f"not a DNS 1035 label: {_WHY_1035}", "metadata.name"))
    annotations = meta.annotations(obj)
    for key in sorted(annotations):
        if key.startswith(AUTOSCALING):
            why = 'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'
            problems.append(FieldError(f'invalid key name "{key}"', "metadata.annotations", why))
        elif key.startswith(GROUP) and key not in _OWN_ANNOTATIONS:
            problems.append(FieldError(f'invalid key name "{key}"', "metadata.annotations"))
    problems += under("metadata.annotations", _durations(annotations, duration_keys))
    visibility = meta.labels(obj).get(VISIBILITY)
    if visibility not in (None, CLUSTER_LOCAL):
        problems.append(FieldError(f"invalid value: {visibility}", f"metadata.labels.{VISIBILITY}"))
    return problems


_WHY_1035 = (
    "[a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (at most 63 characters)]"
)


def _durations(annotations: Mapping[str, str], keys: tuple[str, ...]) -> list[FieldError]:
    named = first(annotations, keys) if keys else None
    if named is None or not named[1]:
        return []
    key, text = named
    try:
        value = duration.parse(text)
    except Invalid:
        return [FieldError(f"invalid value: {text}", key)]
    if value != int(value):
        return [FieldError(f"rollout-duration={text} is not at second precision", key)]
    return [FieldError(f"rollout-duration={text} must be positive", key)] if value < 0 else []


def _progress_deadline(annotations: Mapping[str, str]) -> list[FieldError]:
    named = first(annotations, PROGRESS_DEADLINE)
    if named is None:
        return []
    key, text = named
    try:
        value = duration.parse(text)
    except Invalid:
        return [FieldError(f"invalid value: {text}", key)]
    if value != int(value):
        return [FieldError(f"progress-deadline={text} is not at second precision", key)]
    return [FieldError(f"progress-deadline={text} must be positive", key)] if value <= 0 else []


def _template(request: Request, spec: Object) -> list[FieldError]:
    template = spec.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return [FieldError("missing field(s)", "spec.template.spec.containers")]
    annotations = meta.annotations(template)
    problems = under("spec", _revision_spec(template["spec"], request))
    limits = request.config.get("config-autoscaler", {})
    problems += under(
        "metadata.annotations", autoscaling.validate(annotations, limits) + _progress_deadline(annotations)
    )
    problems += _revision_name(request, meta.metadata(template))
    if request.operation == "UPDATE" and request.old is not None:
        problems += _changed_without_a_new_name(template, meta.spec(request.old).get("template") or {})
    return under("spec.template", problems)


def _revision_name(request: Request, template: Object) -> list[FieldError]:
    """S6: a name of one's own starts with the parent's."""
    name = template.get("name") or ""
    if not name:
        return []
    parent = meta.metadata(request.object)
    if not is_dns_1035(str(name)):
        return [FieldError(f"invalid value: not a DNS 1035 label: {_WHY_1035}", "metadata.name")]
    if not parent.get("name") and parent.get("generateName"):
        return [FieldError("must not set the field(s)", "metadata.name")]
    prefix = f"{parent.get('name', '')}-"
    if not name.startswith(prefix):
        return [FieldError(f'invalid value: "{name}" must have prefix "{prefix}"', "metadata.name")]
    return []


def _changed_without_a_new_name(template: Object, old: Object) -> list[FieldError]:
    name = meta.name(template)
    if not name or name != meta.name(old):
        return []
    changes = differences(old, template)
    message = "Saw the following changes without a name change (-old +new)"
    return [FieldError(message, "metadata.name", changes)] if changes else []


def _revision_spec(spec: Object, request: Request) -> list[FieldError]:
    defaults = request.config.get("config-defaults", {})
    problems = validate_pod(spec, request.config.get("config-features", {}))
    longest = int(defaults.get("max-revision-timeout-seconds") or MAX_TIMEOUT_SECONDS)
    problems += _bounded(spec, "timeoutSeconds", 0, longest)
    least = 1 if defaults.get("allow-container-concurrency-zero", "true") == "false" else 0
    most = int(defaults.get("container-concurrency-max-limit") or MAX_CONTAINER_CONCURRENCY)
    return problems + _bounded(spec, "containerConcurrency", least, most)


def _bounded(spec: Object, field: str, least: int, most: int) -> list[FieldError]:
    value = spec.get(field)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int):
        return [FieldError(f"invalid value: {value}", field)]
    return [] if least <= value <= most else [FieldError(f"expected {least} <= {value} <= {most}", field)]


def _traffic(traffic: Any, *, of_service: bool) -> list[FieldError]:
    """R1, R2."""
    if not isinstance(traffic, list) or not all(isinstance(target, dict) for target in traffic):
        return (
            [FieldError("invalid value: expected a list of objects", "traffic")]
            if traffic is not None
            else [FieldError("Traffic targets sum to 0, want 100", "traffic")]
        )
    problems: list[FieldError] = []
    for index, target in enumerate(traffic):
        problems += under(f"traffic[{index}]", _target(target, of_service=of_service))
    problems += _tags(traffic)
    percents = [target.get("percent") or 0 for target in traffic]
    total = sum(value for value in percents if isinstance(value, int))
    if total != 100:
        problems.append(FieldError(f"Traffic targets sum to {total}, want 100", "traffic"))
    return problems


def _target(target: Object, *, of_service: bool) -> list[FieldError]:
    revision, configuration = target.get("revisionName") or "", target.get("configurationName") or ""
    latest, problems = target.get("latestRevision"), []
    if latest is not None and bool(revision) == latest:
        text = f'may not set revisionName "{revision}" when latestRevision is {str(latest).lower()}'
        problems.append(FieldError(text, "latestRevision"))
    if of_service and configuration:
        problems.append(FieldError("must not set the field(s)", "configurationName"))
    elif revision and configuration:
        problems.append(FieldError("expected exactly one, got both", "configurationName, revisionName"))
    elif not of_service and not revision and not configuration:
        problems.append(FieldError("expected exactly one, got neither", "configurationName, revisionName"))
    for field, value in (("revisionName", revision), ("configurationName", configuration)):
        if value and (len(str(value)) > 63 or not _QUALIFIED.fullmatch(str(value))):
            problems.append(FieldError(f'invalid key name "{value}"', field))
    problems += _bounded(target, "percent", 0, 100)
    return [*problems, FieldError("must not set the field(s)", "url")] if target.get("url") else problems


def _tags(traffic: list[Object]) -> list[FieldError]:
    problems, seen = [], dict[str, int]()
    for index, target in enumerate(traffic):
        tag = str(target.get("tag") or "")
        if not tag:
            continue
        if not is_dns_1035(tag):
            problems.append(FieldError(f"invalid value: not a DNS 1035 label: {_WHY_1035}", f"traffic.tag[{index}]"))
        if tag in seen:
            where = f"traffic[{index}].tag, traffic[{seen[tag]}].tag"
            problems.append(FieldError(f'Multiple definitions for "{tag}"', where))
        seen.setdefault(tag, index)
    return problems


def _owned(request: Request, label: str, kind: str) -> list[FieldError]:
    """A label that names a parent must agree with the ownerReference."""
    value = meta.labels(request.object).get(label)
    if value is None:
        return []
    owners = meta.metadata(request.object).get("ownerReferences") or []
    if any(owner.get("kind") == kind and owner.get("name") == value for owner in owners):
        return []
    return [FieldError("missing field(s)", f"metadata.labels.{label}")]


def _user_annotations(request: Request) -> list[FieldError]:
    """S10: the creator never changes, and lastModifier only with the spec."""
    if request.operation != "UPDATE" or request.old is None or meta.metadata(request.object).get("ownerReferences"):
        return []
    old, new, problems = meta.annotations(request.old), meta.annotations(request.object), []
    if CREATOR in old and new.get(CREATOR) != old[CREATOR]:
        problems.append(FieldError("annotation value is immutable", f"metadata.annotations.{CREATOR}"))
    unchanged = meta.spec(request.old) == meta.spec(request.object)
    if unchanged and LAST_MODIFIER in old and new.get(LAST_MODIFIER) != old[LAST_MODIFIER]:
        problems.append(
            FieldError(f"invalid value: {new.get(LAST_MODIFIER, '')}", f"metadata.annotations.{LAST_MODIFIER}")
        )
    return problems
