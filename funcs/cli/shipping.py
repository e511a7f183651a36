"""Where a function's image goes, as flags, func.yaml and the cluster say.

Law: flag, then func.yaml, then the cluster's own registry; our token goes to our registry only. IO: reads func.yaml and
the cluster's tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .choosing import chosen
from .wiring import Wiring

if TYPE_CHECKING:
    from funcs.deploy.ship import Destination


def destination(wiring: Wiring, directory: Path, namespace: str, image: str) -> Destination:
    """Raises NotFound without a func.yaml, or without a cluster when nothing else says where."""
    from funcs.deploy.ship import Destination
    from funcs.platform import credentials
    from funcs.platform.places import cache_root
    from funcs.project import funcfile

    name, place = chosen("", namespace, directory)
    wanted = image or funcfile.read(directory).function.image_name()
    ours = wanted == "" or wanted.startswith(f"{wiring.record.registry}/")
    return Destination(
        image=wanted or f"{wiring.record.registry}/{place}/{name}",
        cache=cache_root(wiring.environ),
        environ=wiring.environ,
        token=credentials.ensure(wiring.places).admin if ours else "",
    )
