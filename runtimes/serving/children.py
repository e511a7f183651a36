"""The children of a Service and of a Configuration.

Law: pure and deterministic: the same parent gives the same child. Metadata flows from Service to Configuration and
Route, but only a template's metadata reaches a Revision (rules S1 to S9 of Knative's object tree). No IO.
"""

from __future__ import annotations

from funcs.api import meta
from funcs.api import serving_keys as keys
from funcs.api.meta import Object
from funcs.api.serving import CONFIGURATION, REVISION, ROUTE, SERVICE

from . import names


def configuration_for(service: Object) -> Object:
    annotations = _without(meta.annotations(service), keys.LAST_APPLIED, *keys.ROLLOUT_DURATION)
    labels = {
        **meta.labels(service),
        keys.SERVICE: meta.name(service),
        keys.SERVICE_UID: meta.uid(service),
    }
    return {
        "apiVersion": CONFIGURATION.api_version,
        "kind": CONFIGURATION.kind,
        # Stamped before the Route exists, so that the first revision is born active.
        "metadata": _metadata(service, labels, {**annotations, keys.ROUTES: meta.name(service)}),
        "spec": {"template": meta.spec(service).get("template") or {}},
    }


def route_for(service: Object) -> Object:
    return {
        "apiVersion": ROUTE.api_version,
        "kind": ROUTE.kind,
        "metadata": _metadata(
            service,
            {**meta.labels(service), keys.SERVICE: meta.name(service)},
            _without(meta.annotations(service), keys.LAST_APPLIED),
        ),
        "spec": {
            "traffic": [_target(meta.name(service), target) for target in meta.spec(service).get("traffic") or []]
        },
    }


def revision_name(configuration: Object) -> str:
    """The name its present template makes: the author's own, or one numbered by generation."""
    template = meta.spec(configuration).get("template") or {}
    return meta.name(template) or names.revision(meta.name(configuration), meta.generation(configuration))


def revision_for(configuration: Object, timestamp: str) -> Object:
    """`timestamp` is now, RFC 3339."""
    template: Object = meta.spec(configuration).get("template") or {}
    inherited, routes = meta.labels(configuration), meta.annotations(configuration).get(keys.ROUTES, "")
    labels = {
        **meta.labels(template),
        **{key: inherited[key] for key in (keys.SERVICE, keys.SERVICE_UID) if key in inherited},
        keys.CONFIGURATION: meta.name(configuration),
        keys.CONFIGURATION_UID: meta.uid(configuration),
        keys.CONFIGURATION_GENERATION: str(meta.generation(configuration)),
        keys.ROUTING_STATE: "active" if routes else "pending",
    }
    annotations = {**meta.annotations(template), keys.ROUTING_STATE_MODIFIED: timestamp}
    if routes:
        annotations[keys.ROUTES] = routes
    creator = meta.annotations(configuration).get(keys.LAST_MODIFIER)
    if creator:
        annotations[keys.CREATOR] = creator
    return {
        "apiVersion": REVISION.api_version,
        "kind": REVISION.kind,
        "metadata": {
            "name": revision_name(configuration),
            "namespace": meta.namespace(configuration),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [meta.controller_reference(configuration, CONFIGURATION)],
        },
        "spec": meta.spec(template),
    }


def claims(configuration: Object, revision: Object) -> bool:
    """Whether `revision`, which has the name that the template makes, is of this configuration and this template."""
    template: Object = meta.spec(configuration).get("template") or {}
    named = meta.labels(revision).get(keys.CONFIGURATION) == meta.name(configuration)
    return named and (not meta.name(template) or meta.spec(revision) == meta.spec(template))


def _metadata(service: Object, labels: dict[str, str], annotations: dict[str, str]) -> Object:
    return {
        "name": meta.name(service),
        "namespace": meta.namespace(service),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [meta.controller_reference(service, SERVICE)],
    }


def _target(configuration: str, target: Object) -> Object:
    return target if target.get("revisionName") else {**target, "configurationName": configuration}


def _without(values: dict[str, str], *dropped: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in dropped}
