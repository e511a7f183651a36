"""Whole images between a layout and a registry.

Law: blobs before what names them, and only those that are missing; several at a time, never more than `parallel`.
A manifest is named only when all of it is in place. IO: through the layout and the registry given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from funcs.errors import NotFound

from . import model
from .layout import Layout
from .model import Descriptor, Index, Platform
from .reference import Reference
from .registry import Registry

PARALLEL = 4
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """One blob done. `moved` is False if it was there already."""

    descriptor: Descriptor
    moved: bool


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True, slots=True)
class Push:
    """How an image is pushed. `mounts`: digest → repository of the same registry that may have it already."""

    mounts: Mapping[str, str] = field(default_factory=dict)
    report: Report = silent


async def push(
    registry: Registry, layout: Layout, image: Descriptor, target: Reference, how: Push | None = None
) -> Descriptor:
    """Push an image (or an index with all below it), named by the target's tag, else by its digest.

    Blobs that the target has need not be in the layout; raises NotFound for one that is nowhere.
    """
    how = how or Push()
    data = layout.read(image.digest)
    below = model.children(data, image.media_type, image.digest)
    for child in [child for child in below if child.media_type in model.MANIFESTS | model.INDEXES]:
        await push(registry, layout, child, Reference(target.registry, target.repository), how)
    blobs = [child for child in below if child.media_type not in model.MANIFESTS | model.INDEXES]
    await _each(blobs, lambda blob: _push_blob(registry, layout, blob, target, how))
    return await registry.put_manifest(target, data, image.media_type)


async def pull(
    registry: Registry, layout: Layout, source: Reference, platform: Platform, report: Report = silent
) -> Descriptor:
    """Fetch the image of a platform into the layout; its manifest. Raises NotFound if there is none.

    It has no name in the layout: tag it or lease it before a collection could come.
    """
    descriptor, data = await registry.manifest(source)
    if descriptor.media_type in model.INDEXES:
        chosen = choose(model.decode(data, Index, str(source)), platform, source)
        descriptor, data = await registry.manifest(source.at(chosen.digest))
    blobs = model.children(data, descriptor.media_type, str(source))
    await _each(blobs, lambda blob: fetch(registry, layout, source, blob, report))
    layout.put(data)
    return descriptor


async def fetch(
    registry: Registry, layout: Layout, source: Reference, blob: Descriptor, report: Report = silent
) -> None:
    """One blob into the layout, unless it is there."""
    if await asyncio.to_thread(layout.renew, blob.digest):
        report(Progress(blob, moved=False))
        return
    with layout.ingest() as ingest:
        async with registry.blob(source, blob) as chunks:
            async for chunk in chunks:
                await asyncio.to_thread(ingest.write, chunk)
        await asyncio.to_thread(ingest.commit, blob.digest)
    report(Progress(blob, moved=True))


def choose(index: Index, platform: Platform, source: Reference) -> Descriptor:
    """The index's manifest for a platform. Raises NotFound, naming those that it has."""
    for entry in index.manifests:
        if entry.platform is not None and entry.platform.suits(platform):
            return entry
    offered = sorted({str(entry.platform) for entry in index.manifests if entry.platform is not None})
    raise NotFound(f"{source} has no image for {platform}; it has {', '.join(offered) or 'none'}", reason="NoPlatform")


async def _push_blob(registry: Registry, layout: Layout, blob: Descriptor, target: Reference, how: Push) -> None:
    moved = False
    if not await registry.has_blob(target, blob.digest, write=True):
        source = how.mounts.get(blob.digest, "")
        moved = await registry.push_blob(target, blob, _reader(layout, blob), mount_from=source)
    how.report(Progress(blob, moved=moved))


def _reader(layout: Layout, blob: Descriptor) -> Callable[[], AsyncIterator[bytes]]:
    path = layout.blob_path(blob.digest)

    def read() -> AsyncIterator[bytes]:
        if not path.is_file():
            raise NotFound(f"the blob {blob.digest} is neither here nor in the registry", reason="BlobUnknown")
        return _chunks(path)

    return read


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def _each(blobs: Iterable[Descriptor], work: Callable[[Descriptor], Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(PARALLEL)

    async def one(blob: Descriptor) -> None:
        async with slots:
            await work(blob)

    try:
        async with asyncio.TaskGroup() as group:
            for blob in {blob.digest: blob for blob in blobs}.values():
                group.create_task(one(blob))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
