"""How the engine writes: what is not there is made, a status only as far as it changed, and only over what was seen.

Law: every write may be repeated. A status patch carries the resource version that the decision was made on, so that a
decision on old news meets Conflict and is made again. IO: the Client.
"""

from __future__ import annotations

from contextlib import suppress

from funcs.api import meta, patch
from funcs.api.kinds import Kind
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.errors import AlreadyExists, NotFound


async def ensure(client: Client, kind: Kind, obj: Object) -> None:
    """Create it, unless one of that name is there."""
    with suppress(AlreadyExists):
        await client.create(kind, obj)


async def remove(client: Client, kind: Kind, name: str, namespace: str) -> None:
    with suppress(NotFound):
        await client.delete(kind, name, namespace)


async def write_status(client: Client, kind: Kind, seen: Object, status: Object) -> None:
    """Raises Conflict if the object is no longer as it was `seen`."""
    difference = patch.difference(meta.status(seen), status)
    if not difference:
        return
    body = {"metadata": {"resourceVersion": meta.resource_version(seen)}, "status": difference}
    await client.patch(kind, meta.name(seen), body, meta.namespace(seen), subresource="status")
