"""Collection: images that no tag, no object of the cluster and no recent wish keeps are removed.

Law: an image is in use while any object anywhere names its digest: a pod's status, a revision at zero, a run that has
ended. So nothing is asked of those who use images, and whoever asks for one by digest has an hour to name it in an
object. Images of other registries keep the tag they were pulled by. IO: the Client, the layout.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

import msgspec

from funcs.api.kinds import Kind
from funcs.control.client import Client
from funcs.oci.layout import Layout

KEPT = 3600.0
_LEASE = "named-by-objects"
_DIGEST = re.compile(rb"sha256:[a-f0-9]{64}")


async def collect(client: Client, kinds: Iterable[Kind], layout: Layout, now: float) -> list[str]:
    """One collection; the digests removed. `now` is Unix seconds. Raises FuncsError, having removed nothing."""
    named = {digest for kind in kinds for digest in await _named(client, kind)}
    known = {found.digest for repository in layout.repositories() for found in layout.manifests(repository)}
    layout.lease(_LEASE, sorted(named & known))
    return await asyncio.to_thread(layout.collect, now - KEPT)


async def _named(client: Client, kind: Kind) -> set[str]:
    listed = await client.list(kind)
    return {found.decode() for item in listed.items for found in _DIGEST.findall(msgspec.json.encode(item))}
