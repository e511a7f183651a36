"""Every kind that funcs knows, by name and by path.

Law: the one list; a kind that is not here is not served. No IO.
"""

from __future__ import annotations

from collections.abc import Mapping

from funcs.errors import NotFound

from . import core, eventing, pipeline, serving, triggers
from .kinds import Kind
from .meta import Object

KINDS: tuple[Kind, ...] = (*core.KINDS, *serving.KINDS, *eventing.KINDS, *pipeline.KINDS, *triggers.KINDS)
BY_IDENTITY: Mapping[tuple[str, str, str], Kind] = {kind.identity: kind for kind in KINDS}
BY_RESOURCE: Mapping[tuple[str, str, str], Kind] = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


def kind_of(obj: Object) -> Kind:
    """The kind that an object's apiVersion and kind name. Raises NotFound."""
    return kind_named(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))


def kind_named(api_version: str, kind: str) -> Kind:
    """Raises NotFound."""
    group, _, version = api_version.rpartition("/")
    found = BY_IDENTITY.get((group, version, kind))
    if found is None:
        raise NotFound(
            f'no matches for kind "{kind}" in version "{api_version}"',
            hint="See `kubectl api-resources` for the kinds that are served.",
        )
    return found
