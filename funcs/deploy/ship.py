"""Build a function's image and push it to the cluster's registry; what comes back is its name by digest.

Law: one builder, the same that a Task's step runs. IO: the build cache, the package index, the registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import FuncsError
from funcs.oci import reference
from funcs.oci.transfer import Progress
from funcs.project import funcfile
from pipelines.builders.host.shipping import Shipment, ship
from pipelines.builders.port import BuiltLayer, Source
from pipelines.builders.push import TOKEN_VARIABLE, registry_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """`image` is where to push, without a digest; `token` is what the registry wants to see."""

    image: str
    cache: Path
    environ: Mapping[str, str]
    token: str = ""


async def build_and_push(directory: Path, to: Destination, report: Callable[[str], None], *, push: bool = True) -> str:
    """Raises Invalid for a func.yaml, a handler or a dependency that is wrong; reason BuildFailed for the rest."""
    described = funcfile.read(directory)
    for warning in described.warnings:
        report(f"warning: {warning}")
    target = reference.parse(to.image)
    target = target.tagged(target.tag or "latest")
    base = described.function.build.base_image or "host"
    shipment = Shipment(
        name=described.function.name,
        target=target,
        base=None if base == "host" else reference.parse(base),
        cache=to.cache,
        environ=to.environ,
        now_ns=time.time_ns,
        push=push,
    )

    def built(layer: BuiltLayer) -> None:
        size = layer.layer.descriptor.size / 1e6
        report(f"  {layer.name:<13} {size:7.1f} MB  {'cached' if layer.cached else 'made'}")

    def pushed(progress: Progress) -> None:
        if progress.moved:
            report(f"  pushed {progress.descriptor.digest[7:19]} {progress.descriptor.size / 1e6:7.1f} MB")

    environ = {**to.environ, TOKEN_VARIABLE: to.token} if to.token else to.environ
    async with registry_for(target, insecure=False, environ=environ) as registry:
        try:
            image = await ship(registry, Source(directory), shipment, built, pushed)
        except FuncsError as error:
            error.reason = error.reason if error.reason not in ("Invalid", "Conflict") else "BuildFailed"
            raise
    return f"{target.name}@{image.digest}"
