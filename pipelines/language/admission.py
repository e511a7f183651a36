"""The whole admission of Tekton's kinds: the structural rules, then what the language says.

Law: the language is only asked about an object whose structure is right. `RULES` replaces
`funcs.api.pipeline.RULES` wherever this package is installed. No IO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from funcs.api import meta, pipeline
from funcs.api.admission import Request, Rules
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.errors import FieldError

from . import validation


def _task(spec: Object) -> Iterable[FieldError]:
    return validation.task_spec(spec, "spec", embedded=False)


def _pipeline(spec: Object) -> Iterable[FieldError]:
    return validation.pipeline_spec(spec, "spec", embedded=False)


def _task_run(spec: Object) -> Iterable[FieldError]:
    embedded = spec.get("taskSpec")
    return validation.task_spec(embedded, "spec.taskSpec", embedded=True) if embedded else ()


def _pipeline_run(spec: Object) -> Iterable[FieldError]:
    embedded = spec.get("pipelineSpec")
    return validation.pipeline_spec(embedded, "spec.pipelineSpec", embedded=True) if embedded else ()


def _with(rules: Rules, language: Callable[[Object], Iterable[FieldError]]) -> Rules:
    def validate(request: Request) -> list[FieldError]:
        problems = rules.validate(request)
        if problems or request.subresource or meta.is_deleting(request.object):
            return problems
        return list(language(meta.spec(request.object)))

    return Rules(default=rules.default, validate=validate, warn=rules.warn)


RULES: Mapping[Kind, Rules] = {
    pipeline.TASK: _with(pipeline.RULES[pipeline.TASK], _task),
    pipeline.PIPELINE: _with(pipeline.RULES[pipeline.PIPELINE], _pipeline),
    pipeline.TASK_RUN: _with(pipeline.RULES[pipeline.TASK_RUN], _task_run),
    pipeline.PIPELINE_RUN: _with(pipeline.RULES[pipeline.PIPELINE_RUN], _pipeline_run),
}
