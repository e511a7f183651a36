"""Blobs on their way in over several requests.

Law: at most `most` at a time; one that nobody touched for `idle` seconds is dropped. They do not survive the process:
a client starts anew. IO: through the layout's ingests, in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from funcs.errors import BadRequest, NotFound, Unavailable
from funcs.oci.layout import Ingest, Layout

_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSettings:
    """Bytes and seconds."""

    most: int = 64
    idle: float = 3600.0
    largest: int = 32 * 1024**3


@dataclass(slots=True)
class Upload:
    """One blob in the making; `busy` is held while a request writes to it."""

    id: str
    repository: str
    ingest: Ingest
    touched: float
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """All of a registry's. `now` is in seconds, monotonic; `new_id` makes ids nobody can guess."""

    def __init__(
        self, layout: Layout, settings: UploadSettings, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._now = now
        self._new_id = new_id
        self._open: dict[str, Upload] = {}

    def start(self, repository: str) -> Upload:
        """Raises Unavailable when too many are under way."""
        self._drop_idle()
        if len(self._open) >= self._settings.most:
            raise Unavailable(f"{self._settings.most} uploads are under way", reason="TooManyRequests")
        upload = Upload(self._new_id(), repository, self._layout.ingest(), self._now())
        self._open[upload.id] = upload
        return upload

    def find(self, repository: str, id: str) -> Upload:
        """Raises NotFound, for another repository's too."""
        upload = self._open.get(id)
        if upload is None or upload.repository != repository:
            raise NotFound("no such upload", reason="BlobUploadUnknown", hint="Start the upload anew.")
        upload.touched = self._now()
        return upload

    async def append(self, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        """Raises BadRequest when the blob becomes larger than is taken."""
        held = bytearray()
        async for chunk in chunks:
            held += chunk
            if upload.ingest.size + len(held) > self._settings.largest:
                raise BadRequest(f"a blob may have {self._settings.largest} bytes", reason="SizeInvalid")
            if len(held) >= _BUFFER:
                await asyncio.to_thread(upload.ingest.write, bytes(held))
                held.clear()
        if held:
            await asyncio.to_thread(upload.ingest.write, bytes(held))
        upload.touched = self._now()

    async def finish(self, upload: Upload, digest: str) -> None:
        """The blob is in place, or (Invalid) the upload is gone."""
        try:
            await asyncio.to_thread(upload.ingest.commit, digest)
        finally:
            self.cancel(upload)

    def cancel(self, upload: Upload) -> None:
        self._open.pop(upload.id, None)
        upload.ingest.drop()

    def close(self) -> None:
        for upload in list(self._open.values()):
            self.cancel(upload)

    def _drop_idle(self) -> None:
        oldest = self._now() - self._settings.idle
        for upload in [upload for upload in self._open.values() if upload.touched < oldest]:
            if not upload.busy.locked():
                self.cancel(upload)
