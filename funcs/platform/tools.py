"""The tools image of a cluster: made from this installation and pushed to the cluster's registry.

Law: a process of its own, because it compiles and compresses while the control part must answer; it is run by the hub
after each start and does nothing when the image is there. It ends with the one that started it: standard input stays
open as long as that lives. IO: the build cache, the registry; prints the digest.

    python -m funcs.platform.tools --registry localhost:7500 --cache DIR        (the token is in FUNCS_REGISTRY_TOKEN)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from pathlib import Path

from funcs.oci import reference, transfer
from funcs.oci.layout import Layout
from funcs.oci.transfer import Push
from pipelines.builders.host.tools import BASE_REPOSITORY, TAG, TOOLS_REPOSITORY, build_base_image, build_tools_image
from pipelines.builders.push import registry_for


def main(argv: list[str]) -> int:
    arguments = argparse.ArgumentParser(prog="python -m funcs.platform.tools")
    arguments.add_argument("--registry", required=True)
    arguments.add_argument("--cache", type=Path, required=True)
    given = arguments.parse_args(argv)
    os.nice(10)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(asyncio.run(_make(given.registry, given.cache)))
    return 0


def _end_with_parent() -> None:
    """However it dies: the kernel closes its end of the pipe."""
    os.read(0, 1)
    os._exit(1)


async def _make(registry_name: str, cache: Path) -> str:
    layout = Layout(cache / "images")
    base = build_base_image(layout, cache)
    tools = build_tools_image(layout, cache)
    for repository, built in ((BASE_REPOSITORY, base), (TOOLS_REPOSITORY, tools)):
        target = reference.parse(f"{registry_name}/{repository}:{TAG}")
        async with registry_for(target, insecure=False, environ=os.environ) as registry:
            await transfer.push(registry, layout, built.descriptor, target, Push())
    return tools.digest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
