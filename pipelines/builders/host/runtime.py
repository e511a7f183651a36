"""The runtime layer: the part of this installation that runs functions, and the wheels that it needs.

Law: copied from the running installation, never fetched by name; importable only under `funcs` (the shared plumbing
goes to `funcs._runtime`), so nothing of the user's is hidden; its wheels come last on the path, after the user's own.
IO: reads the installation.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import funcs
from funcs.errors import NotFound
from funcs.oci import layer
from funcs.oci.layer import Entry

from .bytecode import with_bytecode
from .interpreter import Target
from .keyed import key_of

PLACE = "opt/funcs/runtime"
WHEELS_PLACE = "opt/funcs/lib"
WHEELS = ("httptools", "msgspec", "uvloop")
_MODULES = ("__init__.py", "errors.py", "version.py", "py.typed")
_PACKAGES = ("api", "sdk")
_MOVED = ("http", "function")
_VOLATILE = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})


def wheel_versions() -> dict[str, str]:
    """The versions of the runtime's wheels in this installation: images get the same."""
    return {name: _distribution(name).version for name in WHEELS}


def key(target: Target) -> str:
    stamps = []
    for entry in _sources():
        found = entry.content.stat() if isinstance(entry.content, Path) else None
        stamps.append(f"{entry.path}:{found.st_size}:{found.st_mtime_ns}" if found else entry.path)
    return key_of("runtime", *sorted(stamps), str(wheel_versions()), str(target), target.libc)


def entries(target: Target) -> Iterator[Entry]:
    """The runtime itself, and its wheels where the target can use those of this installation."""
    yield from with_bytecode(_sources(), target.cache_tag)
    if target.is_this:
        for name in WHEELS:
            yield from with_bytecode(installed(name, WHEELS_PLACE), target.cache_tag)


def installed(name: str, under: str, *, without: frozenset[str] = _VOLATILE) -> Iterator[Entry]:
    """The files of an installed distribution, as they would be in `under`. Raises NotFound."""
    distribution = _distribution(name)
    if distribution.files is None:
        raise NotFound(f"{name} has no list of its files here", hint="Install funcs-platform again.")
    for file in distribution.files:
        parts = file.parts
        if ".." in parts or "__pycache__" in parts or file.suffix == ".pyc" or file.name in without:
            continue
        place = Path(str(distribution.locate_file(file)))
        if place.is_file():
            yield layer.file(f"{under}/{file.as_posix()}", place, executable=file.suffix == ".so")


def package(root: Path, under: str) -> Iterator[Entry]:
    """A package's own files."""
    for entry in layer.tree(root, under, skip=frozenset({"__pycache__"})):
        if not entry.path.endswith(".pyc"):
            yield entry


def location(name: str) -> Path:
    """The directory of a package of this installation. Raises NotFound."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NotFound(f"the package {name} is not part of this installation", hint="Install funcs-platform again.")
    return Path(spec.submodule_search_locations[0])


def _sources() -> Iterator[Entry]:
    root = Path(funcs.__file__).parent
    for name in _MODULES:
        yield layer.file(f"{PLACE}/funcs/{name}", root / name)
    for name in _PACKAGES:
        yield from package(root / name, f"{PLACE}/funcs/{name}")
    runtimes = location("runtimes")
    yield layer.file(f"{PLACE}/funcs/_runtime/__init__.py", b"")
    for name in _MOVED:
        yield from package(runtimes / name, f"{PLACE}/funcs/_runtime/{name}")


def _distribution(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFound(f"{name} is not installed beside funcs", hint="Install funcs-platform again.") from error
