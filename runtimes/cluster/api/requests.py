"""What a request asks for, read from its method, path and query, as Kubernetes' RequestInfo does.

Law: pure; every segment is percent-decoded once and refused when it could be a path of another meaning. Options of
the query are parsed here and nowhere else. Source: k8s.io/apiserver/pkg/endpoints/request. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args
from urllib.parse import unquote

from funcs.control.client import DeleteOptions, FieldValidation, LogOptions, Propagation, WriteOptions
from funcs.errors import BadRequest

_SUBRESOURCES_OF_NAMESPACES = ("status", "finalize")
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PLURAL_VERBS = {"get": "list", "delete": "deletecollection"}
_TRUE = ("1", "true", "t", "T", "TRUE", "True")
_FALSE = ("", "0", "false", "f", "F", "FALSE", "False")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """`is_resource` is false for /version, discovery and the like; then only `path` and `verb` mean something."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    rest: str = ""

    @property
    def scoped(self) -> str | None:
        """The namespace for the Client port: None for cluster-scoped resources and for all namespaces."""
        return self.namespace or None

    @property
    def resource_path(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def group_resource(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


def read_info(method: str, raw_path: str, query: Mapping[str, str]) -> RequestInfo:
    """Raises BadRequest for a path that no client of good will sends."""
    path = unquote(raw_path)
    segments = [unquote(segment) for segment in raw_path.strip("/").split("/")]
    if any(segment in (".", "..") or "/" in segment or "\x00" in segment for segment in segments):
        raise BadRequest("the path is not a path of this API")
    verb = _VERBS.get(method, method.lower())
    if segments[0] == "api" and len(segments) > 2:
        return _resource_info(path, verb, ("", segments[1]), segments[2:], query)
    if segments[0] == "apis" and len(segments) > 3:
        return _resource_info(path, verb, (segments[1], segments[2]), segments[3:], query)
    return RequestInfo(path=path, verb=verb)


def _resource_info(
    path: str, verb: str, group_version: tuple[str, str], segments: list[str], query: Mapping[str, str]
) -> RequestInfo:
    namespace = ""
    if segments[0] == "namespaces" and len(segments) > 1:
        namespace = segments[1]
        if len(segments) > 2 and segments[2] not in _SUBRESOURCES_OF_NAMESPACES:
            segments = segments[2:]
    resource, name, subresource, *rest = [*segments, "", "", ""][: max(3, len(segments))]
    if not name:
        verb = _PLURAL_VERBS.get(verb, verb)
    if verb in ("list", "get") and is_true(query, "watch") and not subresource:
        verb = "watch"
    group, version = group_version
    return RequestInfo(
        path=path, verb=verb, is_resource=True, group=group, version=version, namespace=namespace,
        resource=resource, subresource=subresource, name=name, rest="/".join(rest),
    )  # fmt: skip


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query; given without a value it is false, as Go's conversion has it. Raises BadRequest."""
    value = query.get(name, "")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadRequest(f'invalid query parameter "{name}": "{value[:64]}" is not a boolean')


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query that is not negative. Raises BadRequest."""
    value = query.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise BadRequest(f'invalid query parameter "{name}": "{value[:64]}" is not a number that is 0 or more')
    return int(value)


def write_options(query: Mapping[str, str], user: str, agent: str) -> WriteOptions:
    """Raises BadRequest for values that Kubernetes refuses too."""
    return WriteOptions(
        manager=_manager(query, agent),
        dry_run=dry_run([query["dryRun"]] if query.get("dryRun") else []),
        field_validation=field_validation(query),
        user=user,
    )


def field_validation(query: Mapping[str, str]) -> FieldValidation:
    value = query.get("fieldValidation") or "Warn"
    if value in get_args(FieldValidation):
        return cast(FieldValidation, value)
    raise BadRequest(
        f'fieldValidation: Unsupported value: "{value[:64]}": supported values: "Ignore", "Warn", "Strict"'
    )


def dry_run(values: list[str]) -> bool:
    if not values:
        return False
    if values != ["All"]:
        raise BadRequest('dryRun: Unsupported value: supported values: "All"')
    return True


def delete_options(query: Mapping[str, str], body: Mapping[str, object]) -> DeleteOptions:
    """Options of the body win over those of the query, as they do on Kubernetes."""
    preconditions = body.get("preconditions")
    demanded = preconditions if isinstance(preconditions, dict) else {}
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool) or grace < 0):
        raise BadRequest("gracePeriodSeconds must be a whole number that is 0 or more")
    dry = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    return DeleteOptions(
        propagation=_propagation(query, body),
        grace_seconds=grace,
        uid=_text(demanded.get("uid")),
        resource_version=_text(demanded.get("resourceVersion")),
        dry_run=dry_run(list(dry) if isinstance(dry, list) else ["?"]),
    )


def log_options(query: Mapping[str, str]) -> LogOptions:
    since = number(query, "sinceSeconds")
    return LogOptions(
        container=query.get("container", ""),
        follow=is_true(query, "follow"),
        previous=is_true(query, "previous"),
        timestamps=is_true(query, "timestamps"),
        tail_lines=number(query, "tailLines"),
        since_seconds=float(since) if since is not None else None,
        limit_bytes=number(query, "limitBytes"),
    )


def _manager(query: Mapping[str, str], agent: str) -> str:
    """`fieldManager`, else the first word of the user agent, as managedFields records it. Raises BadRequest."""
    named = query.get("fieldManager", "")
    if len(named) > 128 or not named.isprintable():
        raise BadRequest("fieldManager: must be printable and at most 128 characters")
    return named or agent.split("/", 1)[0].strip()[:128] or "unknown"


def _propagation(query: Mapping[str, str], body: Mapping[str, object]) -> Propagation:
    value = body.get("propagationPolicy") or query.get("propagationPolicy")
    orphan = body.get("orphanDependents", is_true(query, "orphanDependents") if "orphanDependents" in query else None)
    if value is None or value == "":
        return "Orphan" if orphan is True else "Background"
    if value in get_args(Propagation):
        return cast(Propagation, value)
    known = ", ".join(f'"{policy}"' for policy in get_args(Propagation))
    raise BadRequest(f'propagationPolicy: Unsupported value: "{str(value)[:64]}": supported values: {known}')


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
