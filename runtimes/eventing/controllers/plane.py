"""What the controllers ask of the data plane, and how a status is written."""

from __future__ import annotations

from typing import Protocol

from funcs.api import meta
from funcs.api.kinds import Kind
from funcs.api.meta import Key, Object
from funcs.control.client import Client

from ..delivery import Subscription


class DataPlane(Protocol):
    """The broker process, as far as its controllers program it. `broker` is `namespace/name`."""

    def address(self, broker: str) -> str: ...

    def open(self, broker: str) -> None:
        """Accept events for it."""
        ...

    def close(self, broker: str) -> None: ...

    async def program(self, trigger: Key, subscription: Subscription) -> None:
        """When it returns, every event accepted from now on will be delivered. Raises Unavailable."""
        ...

    def suspend(self, trigger: Key) -> None:
        """Keep its events, deliver nothing."""
        ...

    async def remove(self, trigger: Key) -> None: ...


async def write_status(client: Client, kind: Kind, obj: Object, wanted: Object) -> None:
    """Patch the fields of `wanted` that differ; None takes a field away. A status that is right costs nothing."""
    present = meta.status(obj)
    changed = {name: value for name, value in wanted.items() if present.get(name) != value}
    if changed:
        await client.patch_status(kind, meta.name(obj), changed, meta.namespace(obj))
