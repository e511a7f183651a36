"""`python -m pipelines.builders.host`: build a function's image as a step of a Task, and push it.

Law: parse, build, write results, print. IO: as the publisher's; a process of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from funcs.oci import reference

from ..port import BuiltLayer
from ..push import add_target_arguments, report_errors, said, write_results
from .publish import Request, publish


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
    request = Request(
        source=given.source,
        image=reference.parse(given.image),
        cache=given.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "funcs",
        environ=os.environ,
        now_ns=time.time_ns,
        layout=given.layout,
        base=given.base,
        push=given.push,
        insecure=given.insecure,
        revision=given.revision,
        url=given.url,
        warn=lambda warning: sys.stderr.write(f"warning: {warning}\n"),
        made=_said,
        moved=said,
    )
    built = await publish(request)
    write_results(given, request.target, built.descriptor)
    sys.stdout.write(f"{request.target.name}@{built.digest}\n")


def _said(built: BuiltLayer) -> None:
    size = built.layer.descriptor.size / 1e6
    sys.stdout.write(f"  {'cached' if built.cached else 'made  '} {built.name:<13} {size:8.1f} MB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
