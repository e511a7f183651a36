"""Build a function's image and push it to the cluster's registry; what comes back is its name by digest.

Law: one builder, the same that a Task's step runs. IO: the build cache, the package index, the registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from funcs.errors import FuncsError, Invalid
from funcs.oci import reference
from funcs.oci.transfer import Progress
from pipelines.builders.host.publish import Request, publish
from pipelines.builders.port import BuiltLayer
from pipelines.builders.push import TOKEN_VARIABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """`image` is where to push, without a digest; `token` is what the registry wants to see."""

    image: str
    cache: Path
    environ: Mapping[str, str]
    token: str = ""


async def build_and_push(directory: Path, to: Destination, report: Callable[[str], None], *, push: bool = True) -> str:
    """The image by digest. Raises FuncsError with the reason BuildFailed for source that cannot be built."""

    def made(layer: BuiltLayer) -> None:
        size = layer.layer.descriptor.size / 1e6
        report(f"  {layer.name:<13} {size:7.1f} MB  {'cached' if layer.cached else 'made'}")

    def moved(progress: Progress) -> None:
        if progress.moved:
            report(f"  pushed {progress.descriptor.digest[7:19]} {progress.descriptor.size / 1e6:7.1f} MB")

    request = Request(
        source=directory,
        image=reference.parse(to.image),
        cache=to.cache,
        environ={**to.environ, TOKEN_VARIABLE: to.token} if to.token else to.environ,
        now_ns=time.time_ns,
        push=push,
        warn=lambda text: report(f"warning: {text}"),
        made=made,
        moved=moved,
    )
    try:
        image = await publish(request)
    except Invalid as error:
        raise FuncsError(error.message, reason="BuildFailed", hint=error.hint, causes=error.causes) from error
    return f"{request.target.name}@{image.digest}"
