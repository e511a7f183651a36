"""A function's log: those of its pods, as they come.

Law: a pod that starts while we follow is followed too; lines are never cut in two. IO: through the Client port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import Client, EventType, LogOptions, Selection
from funcs.errors import BadRequest, NotFound

from .functions import service_of

_QUEUED = 1024


async def stream(
    client: Client, name: str, namespace: str, *, follow: bool = False, tail: int | None = None
) -> AsyncIterator[bytes]:
    """Chunks of whole lines; ends when every pod's log has, or never when following. Raises NotFound."""
    await service_of(client, name, namespace)
    selection = Selection(namespace=namespace, labels=f"serving.knative.dev/service={name}")
    options = LogOptions(follow=follow, tail_lines=tail)
    if not follow:
        for pod in (await client.list(core.POD, selection)).items:
            async for chunk in _lines(client, pod, options):
                yield chunk
        return
    chunks: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow_all(client, selection, options, chunks, tasks))
        while True:
            yield await chunks.get()


async def _follow_all(
    client: Client, selection: Selection, options: LogOptions, chunks: asyncio.Queue[bytes], tasks: asyncio.TaskGroup
) -> None:
    followed: set[str] = set()
    while True:
        async for event in client.watch(core.POD, selection):
            if event.type is not EventType.DELETED and _has_started(event.object):
                uid = meta.uid(event.object)
                if uid not in followed:
                    followed.add(uid)
                    tasks.create_task(_follow(client, event.object, options, chunks))


async def _follow(client: Client, pod: Object, options: LogOptions, chunks: asyncio.Queue[bytes]) -> None:
    async for chunk in _lines(client, pod, options):
        await chunks.put(chunk)


async def _lines(client: Client, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
    """A pod that is gone, or has not begun to write, has no lines."""
    rest = b""
    with suppress(NotFound, BadRequest):
        async for chunk in client.stream_log(meta.name(pod), meta.namespace(pod), options):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield whole + newline
    if rest:
        yield rest + b"\n"


def _has_started(pod: Object) -> bool:
    return any(
        "running" in (found.get("state") or {}) or "terminated" in (found.get("state") or {})
        for found in meta.status(pod).get("containerStatuses") or []
    )
