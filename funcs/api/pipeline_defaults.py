"""Defaults of Tekton's kinds, applied at admission, and the normal form of a param's value.

Law: what is given is kept; what is absent becomes what Tekton (or the config map `config-defaults`) says.
Source: Tekton Pipelines' pkg/apis/pipeline/v1 (defaults, ParamValue). No IO.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import duration
from .admission import Request
from .meta import Object

MANAGED_BY = "app.kubernetes.io/managed-by"
DEFAULT_TIMEOUT = "1h0m0s"


def default_task(request: Request) -> None:
    _drop_nulls(request.object.get("spec"))
    _default_task_spec(request.object.get("spec"))


def default_pipeline(request: Request) -> None:
    _drop_nulls(request.object.get("spec"))
    _default_pipeline_spec(request.object.get("spec"))


def default_task_run(request: Request) -> None:
    spec = _mapping(request.object, "spec")
    _drop_nulls(spec)
    _default_run(request.object, spec, request)
    if "timeout" not in spec:
        spec["timeout"] = _default_timeout(request)
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = _config(request).get("default-service-account", "default")
    _default_reference(spec.get("taskRef"), "Task")
    _default_task_spec(spec.get("taskSpec"))


def default_pipeline_run(request: Request) -> None:
    spec = _mapping(request.object, "spec")
    _drop_nulls(spec)
    _default_run(request.object, spec, request)
    timeouts = _mapping(spec, "timeouts")
    if "pipeline" not in timeouts:
        timeouts["pipeline"] = _default_timeout(request)
    template = _mapping(spec, "taskRunTemplate")
    if not template.get("serviceAccountName"):
        template["serviceAccountName"] = _config(request).get("default-service-account", "default")
    _default_pipeline_spec(spec.get("pipelineSpec"))


def _default_run(obj: Object, spec: Object, request: Request) -> None:
    _normalise_values(spec.get("params"), "value")
    if request.operation == "CREATE":
        labels = _mapping(_mapping(obj, "metadata"), "labels")
        labels.setdefault(MANAGED_BY, _config(request).get("default-managed-by-label-value", "tekton-pipelines"))


def _default_task_spec(spec: Any) -> None:
    if not isinstance(spec, dict):
        return
    for param in _objects(spec.get("params")):
        _default_param_spec(param)
    for result in _objects(spec.get("results")):
        if not result.get("type"):
            result["type"] = "object" if result.get("properties") else "string"


def _default_pipeline_spec(spec: Any) -> None:
    if not isinstance(spec, dict):
        return
    for param in _objects(spec.get("params")):
        _default_param_spec(param)
    for task in (*_objects(spec.get("tasks")), *_objects(spec.get("finally"))):
        _normalise_values(task.get("params"), "value")
        _default_reference(task.get("taskRef"), "Task")
        _default_task_spec(task.get("taskSpec"))
    _normalise_values(spec.get("results"), "value")


def _default_param_spec(param: Object) -> None:
    if "default" in param:
        param["default"] = normal_value(param["default"])
    if not param.get("type"):
        param["type"] = "object" if param.get("properties") else type_of(param.get("default", ""))
    properties = param.get("properties")
    for prop in properties.values() if isinstance(properties, dict) else ():
        if isinstance(prop, dict) and not prop.get("type"):
            prop["type"] = "string"


def _default_reference(reference: Any, kind: str) -> None:
    if isinstance(reference, dict) and not reference.get("kind") and not reference.get("resolver"):
        reference["kind"] = kind


def _default_timeout(request: Request) -> str:
    minutes = _config(request).get("default-timeout-minutes", "60")
    return duration.render(int(minutes) * 60) if minutes.isdigit() else DEFAULT_TIMEOUT


def _config(request: Request) -> Mapping[str, str]:
    return request.config.get("config-defaults", {})


def normal_value(value: Any) -> str | list[str] | dict[str, str]:
    """A param's value as Tekton reads JSON: a string, a list of strings or a mapping of strings; all else its text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return value
    if isinstance(value, dict) and all(isinstance(element, str) for element in value.values()):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"))


def type_of(value: Any) -> str:
    """string, array or object."""
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "string"


def _normalise_values(items: Any, field: str) -> None:
    for item in _objects(items):
        if field in item:
            item[field] = normal_value(item[field])


def _drop_nulls(found: Any) -> None:
    """A null is a field that was not given, as in Go."""
    if isinstance(found, dict):
        for field in [field for field, value in found.items() if value is None]:
            del found[field]
    for value in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        _drop_nulls(value)


def _mapping(obj: Object, field: str) -> Object:
    """`obj[field]`, made if it is absent; a value of another type is left for the validator, and stood in for here."""
    found = obj.get(field)
    if found is None:
        found = obj[field] = {}
    return found if isinstance(found, dict) else {}


def _objects(items: Any) -> list[Object]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
