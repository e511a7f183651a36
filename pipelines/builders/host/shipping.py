"""From a function's directory to its image in a registry: what the CLI and the step of a Task both do.

Law: layers that the image's last version in the registry has are not made again; only what is missing is pushed.
IO: as the builder and the registry client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import NotFound
from funcs.oci import model, transfer
from funcs.oci.layer import Layer
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Manifest
from funcs.oci.reference import Reference
from funcs.oci.registry import Registry
from funcs.oci.transfer import Progress, Push

from ..port import Built, Plan, Report, Source
from .builder import HostBuilder, HostSettings
from .foundation import Foundation, in_thread, registry_foundation
from .image import known_layers
from .installer import InstallSettings
from .interpreter import this_target
from .keyed import KeyedLayers
from .requirements import index_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Where to and with what. `base` None is this machine's own Python; `layout` None is the one in the cache."""

    name: str
    target: Reference
    base: Reference | None
    cache: Path
    environ: Mapping[str, str]
    now_ns: Callable[[], int]
    layout: Path | None = None
    push: bool = True


async def ship(
    registry: Registry, source: Source, shipment: Shipment, built: Report, pushed: Callable[[Progress], None]
) -> Built:
    """Build, and push if asked to. Raises Invalid, Conflict, Unavailable, Unauthorized."""
    layout = Layout(shipment.layout or shipment.cache / "images")
    install = InstallSettings(environ=shipment.environ, index=index_settings(shipment.environ))
    settings = HostSettings(cache=shipment.cache, install=install, now_ns=shipment.now_ns)
    plan = Plan(
        name=shipment.name,
        repository=shipment.target.repository,
        tag=shipment.target.tag,
        known=await _known(registry, shipment.target) if shipment.push else {},
    )
    standing = _Standing(registry, shipment.base)
    image = await HostBuilder(layout, settings, standing).build(source, plan, built)
    if shipment.push:
        push = Push(mounts=_mounts(image, shipment.base), report=pushed)
        await transfer.push(registry, layout, image.descriptor, shipment.target, push)
    return image


@dataclass(frozen=True, slots=True)
class _Standing:
    """Finds what the image stands on."""

    registry: Registry
    base: Reference | None

    async def __call__(self, layers: KeyedLayers) -> Foundation:
        if self.base is None:
            return await in_thread(layers)
        return await registry_foundation(self.registry, self.base, this_target().platform)


def _mounts(built: Built, base: Reference | None) -> dict[str, str]:
    """Blobs that the registry has under the base's name."""
    if base is None:
        return {}
    layers = [layer.layer.descriptor.digest for layer in built.layers if layer.name == "base"]
    return dict.fromkeys(layers, base.repository)


async def _known(registry: Registry, target: Reference) -> dict[str, Layer]:
    """The layers of the image's last version."""
    try:
        descriptor, data = await registry.manifest(target)
    except NotFound:
        return {}
    if descriptor.media_type not in model.MANIFESTS:
        return {}
    manifest = model.decode(data, Manifest, str(target))
    async with registry.blob(target, manifest.config) as chunks:
        config = b"".join([chunk async for chunk in chunks])
    return known_layers(manifest, model.decode(config, Configuration, f"the configuration of {target}"))
