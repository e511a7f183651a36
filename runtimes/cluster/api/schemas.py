"""The schema of every served kind, and what a body must keep of it.

Law: pure; native kinds have Kubernetes' shapes, our kinds those of their views, and a kind with neither is left open
below its metadata. A wrong type is never stored. No IO (but native shapes are read once from the package).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from funcs.api import core, schema
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import FieldValidation
from funcs.errors import BadRequest, FieldError, Invalid

from . import native


class Schemas:
    """`views` are the typed views of our own kinds."""

    def __init__(self, views: Mapping[Kind, type[msgspec.Struct]]) -> None:
        self._views = views
        self._made: dict[Kind, Object] = {}

    def of(self, kind: Kind) -> Object:
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = native.schema(kind) or self._own(kind)
        return made

    def crd(self, kind: Kind) -> Object:
        return schema.crd(kind, self._views.get(kind))

    def checked(self, kind: Kind, body: Object, validation: FieldValidation) -> tuple[Object, list[str]]:
        """The body without what no schema names, and warnings. Raises BadRequest, Invalid.

        A status is its controller's own, and stays as it is: a write of the whole does not store it anyway.
        """
        found = self.of(kind)
        whole = {name: value for name, value in body.items() if name != "status"}
        warnings = self._unknown(kind, whole, validation)
        self._refuse(kind, body, schema.problems(found, body))
        kept = schema.pruned(found, whole)
        return (kept | {"status": body["status"]} if "status" in body else kept), warnings

    def checked_patch(self, kind: Kind, patch: Object, validation: FieldValidation) -> tuple[Object, list[str]]:
        """As `checked`, for a part of an object: nothing is missing in it, and `$` opens a directive."""
        whole = {name: value for name, value in patch.items() if name != "status"}
        warnings = self._unknown(kind, whole, validation)
        problems = [problem for problem in schema.problems(self.of(kind), patch) if not _is_missing(problem)]
        self._refuse(kind, patch, problems)
        if kind in native.KINDS:
            return patch, warnings
        kept = schema.pruned(self.of(kind), whole)
        return (kept | {"status": patch["status"]} if "status" in patch else kept), warnings

    def _own(self, kind: Kind) -> Object:
        made = schema.of_kind(kind, self._views.get(kind))
        namespace = native.schema(core.NAMESPACE) or {}
        made["properties"]["metadata"] = namespace["properties"]["metadata"]
        return made

    def _unknown(self, kind: Kind, body: Object, validation: FieldValidation) -> list[str]:
        if validation == "Ignore":
            return []
        found = [f'unknown field "{path}"' for path in schema.unknown_fields(self.of(kind), body) if "$" not in path]
        if found and validation == "Strict":
            raise BadRequest(f"{_cannot(kind)}: strict decoding error: {', '.join(found)}")
        return found

    def _refuse(self, kind: Kind, body: Object, problems: list[FieldError]) -> None:
        """A native kind that does not decode is no request; a custom one is an invalid object. As on Kubernetes."""
        if kind in native.KINDS:
            mistyped = [problem for problem in problems if not _is_missing(problem)]
            if mistyped:
                raise BadRequest(f"{_cannot(kind)}: " + "; ".join(_shown(problem) for problem in mistyped))
        elif problems:
            shown = "; ".join(_shown(problem) for problem in problems)
            name = (body.get("metadata") or {}).get("name", "") if isinstance(body.get("metadata"), dict) else ""
            raise Invalid(f'{kind.group_kind} "{name}" is invalid: {shown}', causes=problems)


def _cannot(kind: Kind) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'


def _shown(problem: FieldError) -> str:
    return f"{problem.path}: {problem.message}" + (f": {problem.details}" if problem.details else "")


def _is_missing(problem: FieldError) -> bool:
    return problem.message == "Required value"
