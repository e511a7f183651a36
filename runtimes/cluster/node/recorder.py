"""Core Events: what `kubectl describe pod` shows.

Law: best effort and never in the way: written behind the work, at most `_MOST` waiting, the same words again raise a
count. IO: the Client.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from funcs.api import core, meta
from funcs.api.meta import Object
from funcs.control.client import Client
from funcs.control.clock import Clock
from funcs.errors import FuncsError, NotFound

_MOST = 256
_REMEMBERED = 1024


class Recorder:
    """`run` writes what `record` has been told; when too much is waiting, the newest is dropped."""

    def __init__(self, client: Client, node: str, clock: Clock) -> None:
        self._client, self._node, self._clock = client, node, clock
        self._queue: asyncio.Queue[tuple[Object, str, str, str, str]] = asyncio.Queue(_MOST)
        self._counts: OrderedDict[str, int] = OrderedDict()

    def record(self, pod: Object, reason: str, message: str, *, container: str = "", warning: bool = False) -> None:
        field_path = f"spec.containers{{{container}}}" if container else ""
        try:
            self._queue.put_nowait((pod, "Warning" if warning else "Normal", reason, message[:1024], field_path))
        except asyncio.QueueFull:
            return

    async def run(self) -> None:
        while True:
            entry = await self._queue.get()
            try:
                await self._write(*entry)
            except FuncsError:
                continue  # an Event that cannot be written is not worth a second try

    async def _write(self, pod: Object, type: str, reason: str, message: str, field_path: str) -> None:
        digest = hashlib.sha256(f"{meta.uid(pod)}|{reason}|{message}|{field_path}".encode()).hexdigest()[:16]
        name = f"{meta.name(pod)[:200]}.{digest}"
        now = meta.timestamp(self._clock.now())
        count = self._counts[name] = self._counts.pop(name, 0) + 1
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        if count > 1:
            try:
                await self._client.patch(core.EVENT, name, {"count": count, "lastTimestamp": now}, meta.namespace(pod))
            except NotFound:
                self._counts[name] = 0
            return
        await self._client.create(core.EVENT, self._event(pod, name, now, (type, reason, message, field_path)))

    def _event(self, pod: Object, name: str, now: str, words: tuple[str, str, str, str]) -> Object:
        severity, reason, message, field_path = words
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": meta.name(pod),
            "namespace": meta.namespace(pod),
            "uid": meta.uid(pod),
            "resourceVersion": meta.resource_version(pod),
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta.namespace(pod)},
            "involvedObject": involved | ({"fieldPath": field_path} if field_path else {}),
            "type": severity,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
