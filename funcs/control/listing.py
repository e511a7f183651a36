"""Lists: selection, order and pages over one shelf.

Law: all pages of one list show the state of the first; a page asked for after that state is forgotten is Expired. Items
are ordered by namespace and name. No IO.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from funcs.api import selectors
from funcs.api.kinds import Kind
from funcs.api.meta import Key
from funcs.errors import BadRequest

from .client import ObjectList, Selection
from .shelf import Entry, Shelf

_DECODER = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Filter:
    """A selection, parsed."""

    namespace: str | None
    labels: selectors.LabelSelector
    fields: selectors.FieldSelector

    def takes(self, entry: Entry) -> bool:
        if self.namespace is not None and entry.key.namespace != self.namespace:
            return False
        if not self.labels.matches(entry.labels):
            return False
        return not self.fields.requirements or self.fields.matches(_DECODER.decode(entry.data))


class _Cursor(msgspec.Struct):
    """What a continue token says."""

    version: int
    namespace: str
    name: str


def parsed(kind: Kind, selection: Selection) -> Filter:
    """Raises BadRequest."""
    return Filter(
        namespace=(selection.namespace or None) if kind.namespaced else None,
        labels=selectors.parse_labels(selection.labels),
        fields=selectors.parse_fields(selection.fields, kind),
    )


def page(shelf: Shelf, kind: Kind, selection: Selection, version: int) -> ObjectList:
    """Raises BadRequest, Expired."""
    wanted = parsed(kind, selection)
    candidates: Iterable[Entry]
    after = None
    if selection.continue_token:
        cursor = _cursor(selection.continue_token)
        version, after = cursor.version, Key(cursor.namespace, cursor.name)
        candidates = shelf.at(version).values()
    else:
        candidates = shelf.candidates(wanted.labels)
    found = sorted((entry for entry in candidates if wanted.takes(entry)), key=lambda entry: entry.key)
    if after is not None:
        found = [entry for entry in found if entry.key > after]
    limit = selection.limit if 0 < selection.limit < len(found) else len(found)
    rest = len(found) - limit
    return ObjectList(
        items=[_decoded(entry) for entry in found[:limit]],
        resource_version=str(version),
        continue_token=_token(version, found[limit - 1].key) if rest else "",
        remaining=rest if rest and not (selection.labels or selection.fields) else None,
    )


def _decoded(entry: Entry) -> Any:
    return _DECODER.decode(entry.data)


def _token(version: int, last: Key) -> str:
    cursor = msgspec.json.encode(_Cursor(version, last.namespace, last.name))
    return base64.urlsafe_b64encode(cursor).decode()


def _cursor(token: str) -> _Cursor:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=_Cursor)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("the continue token is not one of ours", hint="List from the start.") from error
