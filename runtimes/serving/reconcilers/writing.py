"""How reconcilers write: a child that should be, a status that should be said.

Law: a settled world costs no write. Children of our own kinds are made exactly as wanted, removals included; foreign
ones only hold what is wanted, because others write there too. The IO is the Client's.
"""

from __future__ import annotations

from typing import Any

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.errors import Conflict


class NotOwned(Conflict):
    """The child's name belongs to somebody else."""

    default_reason = "NotOwned"


async def ensure(client: Client, kind: Kind, wanted: Object, found: Object | None, *, exact: bool) -> Object:
    """The child as it is after writing what was missing. Raises NotOwned; AlreadyExists when the cache is behind."""
    if found is None:
        return await client.create(kind, wanted)
    owner = meta.controller(wanted)
    present = meta.controller(found)
    if owner is not None and (present is None or present.get("uid") != owner["uid"]):
        raise NotOwned(
            f'{kind.kind} "{meta.name(wanted)}" exists and is not owned by {owner["kind"]} "{owner["name"]}"'
        )
    patch = drift(found, wanted, exact=exact)
    if not patch:
        return found
    return await client.patch(kind, meta.name(wanted), patch, meta.namespace(wanted))


async def say(client: Client, kind: Kind, obj: Object, status: Object) -> None:
    """Make `status` the object's status, if it is not."""
    change = difference(meta.status(obj), status, exact=True)
    if change:
        await client.patch_status(kind, meta.name(obj), change, meta.namespace(obj))


def drift(found: Object, wanted: Object, *, exact: bool) -> Object:
    """The merge patch of labels, annotations and spec that makes `found` as `wanted`; {} if it is so."""
    patch: Object = {}
    metadata = {
        field: change
        for field in ("labels", "annotations")
        if (
            change := difference(
                meta.metadata(found).get(field) or {}, wanted["metadata"].get(field) or {}, exact=exact
            )
        )
    }
    if metadata:
        patch["metadata"] = metadata
    change = difference(meta.spec(found), meta.spec(wanted), exact=exact)
    if change:
        patch["spec"] = change
    return patch


def difference(found: Object, wanted: Object, *, exact: bool) -> Object:
    """The merge patch from `found` to `wanted` (RFC 7386); with `exact`, what is not wanted is removed."""
    patch: Object = {}
    for field, value in wanted.items():
        present = found.get(field)
        if isinstance(value, dict) and isinstance(present, dict):
            inner = difference(present, value, exact=exact)
            if inner:
                patch[field] = inner
        elif field not in found or not _same(present, value, exact):
            patch[field] = value
    if exact:
        patch.update({field: None for field in found if field not in wanted})
    return patch


def _same(found: Any, wanted: Any, exact: bool) -> bool:
    if exact or found == wanted:
        return bool(found == wanted)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(field in found and _same(found[field], value, exact) for field, value in wanted.items())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(
            _same(one, other, exact) for one, other in zip(found, wanted, strict=True)
        )
    return False
