"""The dependencies layer: what a function needs, installed once per set of requirements, index, Python and platform.

Law: the key is what was asked for, so the same question is answered offline; the layer holds nothing that depends on
who installed it, when or where. Names that belong to the runtime are refused. IO: the installer, a scratch directory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from funcs.errors import Conflict
from funcs.oci import layer
from funcs.oci.layer import Entry

from .bytecode import with_bytecode
from .installer import InstallSettings, install
from .interpreter import Target
from .keyed import key_of
from .requirements import Requirements

PLACE = "opt/funcs/deps"
RESERVED = frozenset({"funcs", "funcs.py"})
_VOLATILE = frozenset({"__pycache__", "INSTALLER", "RECORD", "REQUESTED", "direct_url.json", ".lock", "uv_cache.json"})


def key(wanted: Requirements, target: Target, settings: InstallSettings) -> str:
    return key_of(
        "dependencies",
        "\n".join(wanted.lines),
        "\n".join(wanted.constraints),
        "\n".join([*settings.index.options, *wanted.options]),
        str(target),
        target.libc,
    )


class Installed:
    """Wheels in a scratch directory, as entries of a layer; a context manager that removes the directory."""

    def __init__(self, target: Target, place: str) -> None:
        self._target = target
        self._place = place
        self._scratch = tempfile.TemporaryDirectory(prefix="funcs-deps-")
        self.root = Path(self._scratch.name) / "lib"

    async def install(self, wanted: Requirements, settings: InstallSettings) -> None:
        """Raises Conflict for a distribution that would hide the runtime, and what the installer raises."""
        self.root.mkdir()
        await install(wanted, self._target, self.root, settings)
        for path in self.root.iterdir():
            if path.name in RESERVED:
                raise Conflict(
                    f"a dependency brings a package of its own named {path.name!r}, which belongs to the runtime",
                    reason="DependencyConflict",
                    hint="Remove that dependency: `funcs` is there without being asked for.",
                )

    def entries(self) -> Iterator[Entry]:
        found = layer.tree(self.root, self._place, skip=_VOLATILE | {"bin"})
        return with_bytecode(found, self._target.cache_tag)

    def __enter__(self) -> Installed:
        return self

    def __exit__(self, *exc: object) -> None:
        self._scratch.cleanup()
