"""`python -m pipelines.builders.push`: an image from an OCI layout to a registry, as a step of a Task.

Law: what was pushed is said by digest, in the files named by `--result-…`, verbatim. Credentials come from docker's
files or FUNCS_REGISTRY_TOKEN, never from arguments. IO: layout, registry, result files; a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from funcs.errors import FuncsError, NotFound
from funcs.oci import reference, transfer
from funcs.oci.credentials import Credential, Credentials, default_files
from funcs.oci.layout import Layout
from funcs.oci.model import Descriptor
from funcs.oci.reference import Reference
from funcs.oci.registry import Delays, Registry, RegistrySettings, connect
from funcs.oci.transfer import Push

TOKEN_VARIABLE = "FUNCS_REGISTRY_TOKEN"  # noqa: S105  (a name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.builders.push", description="Push an image.")
    parser.add_argument("--layout", type=Path, required=True, help="the OCI layout's directory")
    add_target_arguments(parser)
    given = parser.parse_args()
    return report_errors(lambda: _push(given))


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", required=True, help="registry/name:tag")
    parser.add_argument("--insecure", action="store_true", help="do not verify the registry's TLS certificate")
    parser.add_argument("--result-digest", type=Path, help="file to write the digest to")
    parser.add_argument("--result-url", type=Path, help="file to write the image's name to")


def report_errors(work: Callable[[], Coroutine[object, object, None]]) -> int:
    """Run it; 0, or 1 with the error and its remedy on standard error."""
    try:
        asyncio.run(work())
    except FuncsError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return 1
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


@asynccontextmanager
async def registry_for(target: Reference, *, insecure: bool, environ: Mapping[str, str]) -> AsyncGenerator[Registry]:
    """A registry client with the credentials that a process of ours has."""
    token = environ.get(TOKEN_VARIABLE, "")
    given = {target.registry: Credential("funcs", token)} if token else {}
    home = Path(environ.get("HOME", "/nonexistent"))
    delays = Delays(asyncio.sleep, random.SystemRandom().random)
    settings = RegistrySettings(insecure=insecure)
    async with connect(Credentials(default_files(environ, home), given), delays, settings) as registry:
        yield registry


def write_results(given: argparse.Namespace, target: Reference, image: Descriptor) -> None:
    """Verbatim, without a line's end."""
    if given.result_digest is not None:
        given.result_digest.write_text(image.digest)
    if given.result_url is not None:
        given.result_url.write_text(str(target))


def said(progress: transfer.Progress) -> None:
    size = progress.descriptor.size / 1e6
    sys.stdout.write(f"  {'pushed' if progress.moved else 'there '} {progress.descriptor.digest[:19]} {size:8.1f} MB\n")
    sys.stdout.flush()


async def _push(given: argparse.Namespace) -> None:
    target = _tagged(reference.parse(given.image))
    layout = Layout(given.layout)
    image = _image_in(layout, target)
    async with registry_for(target, insecure=given.insecure, environ=os.environ) as registry:
        pushed = await transfer.push(registry, layout, image, target, Push(report=said))
    write_results(given, target, pushed)
    sys.stdout.write(f"{target.name}@{pushed.digest}\n")


def _image_in(layout: Layout, target: Reference) -> Descriptor:
    """The image that the layout names like the target, else the only one it has."""
    named = layout.resolve(target.repository, target.locator)
    if named is not None:
        return named
    held = {found.digest: found for repository in layout.repositories() for found in layout.manifests(repository)}
    if len(held) != 1:
        raise NotFound(
            f"{layout.root} has {len(held)} images and none is named {target.repository}:{target.locator}",
            hint="Build it first, with the same --image.",
        )
    return next(iter(held.values()))


def _tagged(target: Reference) -> Reference:
    return target.tagged(target.tag or "latest")


if __name__ == "__main__":
    sys.exit(main())
