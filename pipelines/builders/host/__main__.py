"""`python -m pipelines.builders.host`: build a function's image as a step of a Task, and push it.

Law: parse, load, build, push, print. Layers that the image's last version in the registry has are not made again.
IO: as the builder and the registry client; a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import NotFound
from funcs.oci import model, reference, transfer
from funcs.oci.layer import Layer
from funcs.oci.layout import Layout
from funcs.oci.model import Configuration, Manifest
from funcs.oci.reference import Reference
from funcs.oci.registry import Registry
from funcs.oci.transfer import Push
from funcs.project import funcfile

from ..port import Built, BuiltLayer, Plan, Source
from ..push import add_target_arguments, registry_for, report_errors, said, write_results
from .builder import HostBuilder, HostSettings
from .foundation import Foundation, in_thread, registry_foundation
from .image import known_layers
from .installer import InstallSettings
from .interpreter import this_target
from .keyed import KeyedLayers
from .requirements import index_settings
from .tools import BASE_VARIABLE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.builders.host", description="Build a function's image.")
    parser.add_argument("--source", type=Path, required=True, help="the function's directory")
    parser.add_argument("--base", default="", help="an image with Python (default: this machine's own Python)")
    parser.add_argument("--layout", type=Path, help="the OCI layout to build into (default: in the cache)")
    parser.add_argument("--cache", type=Path, help="default: $XDG_CACHE_HOME/funcs")
    parser.add_argument("--push", action="store_true", help="push the image to its registry")
    parser.add_argument("--revision", default="", help="the source's revision, for the image's labels")
    parser.add_argument("--url", default="", help="the source's address, for the image's labels")
    add_target_arguments(parser)
    given = parser.parse_args()
    return report_errors(lambda: _build(given))


@dataclass(frozen=True, slots=True)
class _Standing:
    """Finds what the image stands on, and remembers where its blobs may be mounted from."""

    registry: Registry
    base: Reference | None

    async def __call__(self, layers: KeyedLayers) -> Foundation:
        if self.base is None:
            return await in_thread(layers)
        return await registry_foundation(self.registry, self.base, this_target().platform)


async def _build(given: argparse.Namespace) -> None:
    described = funcfile.read(given.source)
    for warning in described.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    target = reference.parse(given.image)
    target = target.tagged(target.tag or "latest")
    cache = given.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funcs"
    layout = Layout(given.layout or cache / "images")
    install = InstallSettings(environ=os.environ, index=index_settings(os.environ))
    settings = HostSettings(cache=cache, install=install, now_ns=time.time_ns)
    async with registry_for(target, insecure=given.insecure, environ=os.environ) as registry:
        standing = _Standing(registry, _base(given.base or described.function.build.base_image or "", target))
        plan = Plan(
            name=described.function.name,
            repository=target.repository,
            tag=target.tag,
            known=await _known(registry, target) if given.push else {},
        )
        source = Source(given.source, given.revision, given.url)
        built = await HostBuilder(layout, settings, standing).build(source, plan, _said)
        if given.push:
            push = Push(mounts=_mounts(built, standing), report=said)
            await transfer.push(registry, layout, built.descriptor, target, push)
    write_results(given, target, built.descriptor)
    sys.stdout.write(f"{target.name}@{built.digest}\n")


def _base(wanted: str, target: Reference) -> Reference | None:
    """What is asked for; else, in a tools container, the base it says the target's registry has; else the host."""
    if wanted and wanted != "host":
        return reference.parse(wanted)
    beside = os.environ.get(BASE_VARIABLE, "")
    return reference.parse(f"{target.registry}/{beside}") if beside else None


def _mounts(built: Built, standing: _Standing) -> dict[str, str]:
    if standing.base is None:
        return {}
    layers = [layer.layer.descriptor.digest for layer in built.layers if layer.name == "base"]
    return dict.fromkeys(layers, standing.base.repository)


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


def _said(built: BuiltLayer) -> None:
    size = built.layer.descriptor.size / 1e6
    sys.stdout.write(f"  {'cached' if built.cached else 'made  '} {built.name:<13} {size:8.1f} MB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
