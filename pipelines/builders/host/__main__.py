"""`python -m pipelines.builders.host`: build a function's image as a step of a Task, and push it.

Law: parse, load, build, push, print. Layers that the image's last version in the registry has are not made again.
IO: as the builder and the registry client; a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from funcs.oci import reference
from funcs.oci.reference import Reference
from funcs.project import funcfile

from ..port import BuiltLayer, Source
from ..push import add_target_arguments, registry_for, report_errors, said, write_results
from .shipping import Shipment, ship
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


async def _build(given: argparse.Namespace) -> None:
    described = funcfile.read(given.source)
    for warning in described.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    target = reference.parse(given.image)
    target = target.tagged(target.tag or "latest")
    shipment = Shipment(
        name=described.function.name,
        target=target,
        base=_base(given.base or described.function.build.base_image or "", target),
        cache=given.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funcs",
        environ=os.environ,
        now_ns=time.time_ns,
        layout=given.layout,
        push=given.push,
    )
    async with registry_for(target, insecure=given.insecure, environ=os.environ) as registry:
        built = await ship(registry, Source(given.source, given.revision, given.url), shipment, _said, said)
    write_results(given, target, built.descriptor)
    sys.stdout.write(f"{target.name}@{built.digest}\n")


def _base(wanted: str, target: Reference) -> Reference | None:
    """What is asked for; else, in a tools container, the base it says the target's registry has; else the host."""
    if wanted and wanted != "host":
        return reference.parse(wanted)
    beside = os.environ.get(BASE_VARIABLE, "")
    return reference.parse(f"{target.registry}/{beside}") if beside else None


def _said(built: BuiltLayer) -> None:
    size = built.layer.descriptor.size / 1e6
    sys.stdout.write(f"  {'cached' if built.cached else 'made  '} {built.name:<13} {size:8.1f} MB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
