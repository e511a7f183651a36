"""A function's directory to an image in a registry, or in a layout only: what `funcs deploy` and a build step both do.

Law: layers that the image's last version in the registry has are not made again, and not even fetched. In a tools
container the base is the one that the target's registry holds. IO: func.yaml, builder, registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.api.function import Function
from funcs.errors import Invalid, NotFound, Unauthorized
from funcs.oci import model, reference, transfer
from funcs.oci.layer import Layer
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Manifest
from funcs.oci.reference import Reference
from funcs.oci.registry import Registry
from funcs.oci.transfer import Progress, Push
from funcs.project import funcfile

from ..port import Built, BuiltLayer, Plan, Source
from ..push import registry_for
from .builder import HostBuilder, HostSettings
from .foundation import Foundation, in_thread, registry_foundation
from .image import known_layers
from .installer import InstallSettings
from .interpreter import this_target
from .keyed import KeyedLayers
from .requirements import index_settings
from .tools import BASE_VARIABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to build and where to put it. `base` "" is func.yaml's, else the host's; `layout` None is in the cache.

    `warn`, `made` and `moved` are told of a doubtful field, a layer, a pushed blob.
    """

    source: Path
    image: Reference
    cache: Path
    environ: Mapping[str, str]
    now_ns: Callable[[], int]
    layout: Path | None = None
    base: str = ""
    push: bool = True
    insecure: bool = False
    revision: str = ""
    url: str = ""
    warn: Callable[[str], object] = lambda warning: None
    made: Callable[[BuiltLayer], None] = lambda layer: None
    moved: Callable[[Progress], None] = transfer.silent

    @property
    def target(self) -> Reference:
        """The image by tag."""
        return self.image.tagged(self.image.tag or "latest")


async def publish(request: Request) -> Built:
    """Raises what the builder and the registry raise; nothing is named in the registry unless all of it is there."""
    described = funcfile.read(request.source)
    for warning in described.warnings:
        request.warn(warning)
    _check(described.function)
    target, layout = request.target, Layout(request.layout or request.cache / "images")
    install = InstallSettings(environ=request.environ, index=index_settings(request.environ))
    settings = HostSettings(cache=request.cache, install=install, now_ns=request.now_ns)
    async with registry_for(target, insecure=request.insecure, environ=request.environ) as registry:
        standing = _Standing(registry, _base(request, described.function.build.base_image or ""))
        reads_registry = request.push or BASE_VARIABLE in request.environ
        plan = Plan(
            name=described.function.name,
            repository=target.repository,
            tag=target.tag,
            known=await _known(registry, target) if reads_registry else {},
        )
        source = Source(request.source, request.revision, request.url)
        built = await HostBuilder(layout, settings, standing).build(source, plan, request.made)
        if request.push:
            push = Push(mounts=_mounts(built, standing), report=request.moved)
            await transfer.push(registry, layout, built.descriptor, target, push)
    return built


def _check(function: Function) -> None:
    """Raises Invalid for what this builder does not build."""
    if function.runtime != "python":
        hint = "Set `runtime: python`, or build the image elsewhere and deploy it with --image NAME@DIGEST."
        raise Invalid(f"functions in {function.runtime!r} are not built here, only in python", hint=hint)
    if function.build.builder not in (None, "", "host"):
        hint = "Set `build.builder: host`, or leave it out."
        raise Invalid(f"the builder {function.build.builder!r} is not here, only host", hint=hint)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Finds what the image stands on."""

    registry: Registry
    base: Reference | None

    async def __call__(self, layers: KeyedLayers) -> Foundation:
        if self.base is None:
            return await in_thread(layers)
        return await registry_foundation(self.registry, self.base, this_target().platform)


def _base(request: Request, described: str) -> Reference | None:
    """What is asked for; else, in a tools container, the base it says the target's registry has; else the host."""
    wanted = request.base or described
    if wanted and wanted != "host":
        return reference.parse(wanted)
    beside = request.environ.get(BASE_VARIABLE, "")
    return reference.parse(f"{request.target.registry}/{beside}") if beside else None


def _mounts(built: Built, standing: _Standing) -> dict[str, str]:
    if standing.base is None:
        return {}
    layers = [layer.layer.descriptor.digest for layer in built.layers if layer.name == "base"]
    return dict.fromkeys(layers, standing.base.repository)


async def _known(registry: Registry, target: Reference) -> dict[str, Layer]:
    """The layers of the image's last version, if there is one that we may read."""
    try:
        descriptor, data = await registry.manifest(target)
    except (NotFound, Unauthorized):
        return {}
    if descriptor.media_type not in model.MANIFESTS:
        return {}
    manifest = model.decode(data, Manifest, str(target))
    async with registry.blob(target, manifest.config) as chunks:
        config = b"".join([chunk async for chunk in chunks])
    return known_layers(manifest, model.decode(config, Configuration, f"the configuration of {target}"))
