"""Where things are in a Kubernetes API: URL paths and query parameters.

Law: pure; every name is escaped, so that none can leave its segment. Source: Kubernetes API concepts, "Resource URIs".
No IO.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import DeleteOptions, LogOptions, Selection, WriteOptions

Query = dict[str, str]


def collection(kind: Kind, namespace: str | None) -> str:
    """All objects of a kind, in one namespace or (None) everywhere."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"/namespaces/{_segment(namespace)}" if kind.namespaced and namespace else ""
    return f"{root}{inside}/{kind.plural}"


def item(kind: Kind, name: str, namespace: str, subresource: str = "") -> str:
    path = f"{collection(kind, namespace)}/{_segment(name)}"
    return f"{path}/{_segment(subresource)}" if subresource else path


def log(namespace: str, pod: str) -> str:
    return f"/api/v1/namespaces/{_segment(namespace)}/pods/{_segment(pod)}/log"


def url(server: str, path: str, query: Query) -> str:
    return f"{server}{path}?{urlencode(query)}" if query else f"{server}{path}"


def of_selection(selection: Selection) -> Query:
    return _given(
        labelSelector=selection.labels,
        fieldSelector=selection.fields,
        limit=str(selection.limit) if selection.limit else "",
        **{"continue": selection.continue_token},
    )


def of_write(options: WriteOptions) -> Query:
    return _given(
        fieldManager=options.manager,
        dryRun="All" if options.dry_run else "",
        fieldValidation=options.field_validation,
    )


def of_log(options: LogOptions) -> Query:
    return _given(
        container=options.container,
        follow="true" if options.follow else "",
        previous="true" if options.previous else "",
        timestamps="true" if options.timestamps else "",
        tailLines="" if options.tail_lines is None else str(options.tail_lines),
        sinceSeconds="" if options.since_seconds is None else str(max(1, round(options.since_seconds))),
        limitBytes="" if options.limit_bytes is None else str(options.limit_bytes),
    )


def delete_body(options: DeleteOptions) -> Object:
    body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": options.propagation}
    if options.grace_seconds is not None:
        body["gracePeriodSeconds"] = options.grace_seconds
    preconditions = _given(uid=options.uid or "", resourceVersion=options.resource_version or "")
    if preconditions:
        body["preconditions"] = preconditions
    if options.dry_run:
        body["dryRun"] = ["All"]
    return body


def _given(**values: str) -> Query:
    return {name: value for name, value in values.items() if value}


def _segment(name: str | None) -> str:
    escaped = quote(name or "", safe="")
    return {".": "%2E", "..": "%2E%2E"}.get(escaped, escaped)
